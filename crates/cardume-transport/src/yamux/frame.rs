//! Headers of frames: twelve bytes, all numbers with the most significant byte first.
//!
//! After the specification at <https://github.com/hashicorp/yamux/blob/master/spec.md>.

/// Bytes of a header.
pub(super) const HEADER: usize = 12;
/// Begins a stream.
pub(super) const SYN: u16 = 1;
/// Says that a stream has been taken.
pub(super) const ACK: u16 = 2;
/// Ends one direction of a stream.
pub(super) const FIN: u16 = 4;
/// Ends a stream at once.
pub(super) const RST: u16 = 8;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Bytes of a stream follow, as many as its length says.
    Data,
    /// The length is added to what may be sent on a stream.
    Window,
    /// The length is a number that comes back.
    Ping,
    /// The connection ends; the length says why.
    GoAway,
}

/// The beginning of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    pub(super) stream: u32,
    pub(super) len: u32,
}

impl Header {
    pub(super) const fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(super) fn encode(&self) -> [u8; HEADER] {
        let [f0, f1] = self.flags.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        let [l0, l1, l2, l3] = self.len.to_be_bytes();
        [0, self.kind as u8, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// None for another version, or a kind that there is not.
    pub(super) const fn decode(bytes: [u8; HEADER]) -> Option<Self> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = bytes;
        let kind = match (version, kind) {
            (0, 0) => Kind::Data,
            (0, 1) => Kind::Window,
            (0, 2) => Kind::Ping,
            (0, 3) => Kind::GoAway,
            _ => return None,
        };
        Some(Self {
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            len: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_as_it_went_and_what_is_none_is_refused() {
        for kind in [Kind::Data, Kind::Window, Kind::Ping, Kind::GoAway] {
            let header = Header {
                kind,
                flags: SYN | RST,
                stream: 0x0102_0304,
                len: 0xfffe_fdfc,
            };
            let bytes = header.encode();
            assert_eq!(Header::decode(bytes), Some(header));
            assert_eq!(bytes[1..], [kind as u8, 0, 9, 1, 2, 3, 4, 0xff, 0xfe, 0xfd, 0xfc]);
        }
        assert_eq!(Header::decode([1; HEADER]), None);
        assert_eq!(Header::decode([0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
