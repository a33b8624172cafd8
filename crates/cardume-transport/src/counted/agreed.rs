//! The protocol that one side of a stream agrees to, read in passing.
//!
//! <https://github.com/multiformats/multistream-select>: messages of a length in a varint, a text and a line feed, until
//! one names the protocol. Before it come the name of the handshake itself, and `na` for what is not spoken.

/// The longest name that is read; none that is counted by its name is as long.
const MAX_NAME: usize = 128;
/// Messages before the one that names the protocol; more are no negotiation.
const MAX_MESSAGES: u32 = 32;

const HANDSHAKE: &[u8] = b"/multistream/1.0.0\n";
const UNKNOWN: &[u8] = b"na\n";

/// What was read of the messages so far.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// The length of the message that is being read, as far as it is read.
    length: u32,
    shift: u32,
    is_length_read: bool,
    message: Vec<u8>,
    messages: u32,
}

impl Agreement {
    /// Reads on; the name when it is there, and an empty one for what is no negotiation.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<&str> {
        for byte in bytes {
            if !self.is_length_read {
                if self.shift > 14 {
                    return Some("");
                }
                self.length |= u32::from(byte & 0x7f) << self.shift;
                self.shift += 7;
                self.is_length_read = byte & 0x80 == 0;
                if self.is_length_read && self.length as usize > MAX_NAME {
                    return Some("");
                }
                continue;
            }
            self.message.push(*byte);
            if self.message.len() < self.length as usize {
                continue;
            }
            if self.message != HANDSHAKE && self.message != UNKNOWN {
                let name = std::str::from_utf8(&self.message).unwrap_or_default();
                return Some(name.strip_suffix('\n').unwrap_or_default());
            }
            self.messages += 1;
            if self.messages == MAX_MESSAGES {
                return Some("");
            }
            self.message.clear();
            (self.length, self.shift, self.is_length_read) = (0, 0, false);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Vec<u8> {
        let mut message = vec![text.len() as u8 + 1];
        message.extend_from_slice(text.as_bytes());
        message.push(b'\n');
        message
    }

    #[test]
    fn the_name_is_found_however_the_bytes_are_cut_and_whatever_follows() {
        let texts = ["/multistream/1.0.0", "na", "/ipfs/ping/1.0.0"];
        let mut bytes: Vec<u8> = texts.iter().flat_map(|text| message(text)).collect();
        bytes.extend_from_slice(&[0xff; 100]);
        for size in [1, 2, 7, bytes.len()] {
            let mut agreement = Agreement::default();
            let name = bytes
                .chunks(size)
                .find_map(|part| agreement.read(part).map(str::to_owned));
            assert_eq!(name.as_deref(), Some("/ipfs/ping/1.0.0"), "{size}");
        }
    }

    #[test]
    fn what_is_no_negotiation_has_no_name_and_takes_no_memory() {
        let na = message("na").repeat(MAX_MESSAGES as usize);
        for bytes in [
            &[0xff; 5][..],
            &[0xff, 0x7f, b'/'],
            &[3, 0xff, 0xfe, b'\n'],
            &[2, b'/', b'a'],
            &na,
        ] {
            let mut agreement = Agreement::default();
            assert_eq!(agreement.read(bytes), Some(""), "{bytes:?}");
        }
        assert_eq!(Agreement::default().read(&[0xff]), None);
    }
}
