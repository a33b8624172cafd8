//! `membership/1` on a stream: messages of bounded size, each after its length.
//!
//! ```text
//! message = length (4 bytes, big endian), DAG-CBOR
//!           [refusal, certificate, [[authority, number], …], [list, …]]
//! ```
use std::io;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use serde_bytes::ByteBuf;

use crate::{Authority, Flaw, MAX_CERTIFICATE, config::MAX_AUTHORITIES, revocation::MAX_LIST, sealed};

/// Bytes of a message without lists, which is all that a peer may send before it has shown a certificate.
pub(crate) const MAX_FIRST: usize = MAX_CERTIFICATE + 1024;
/// Bytes of any other message.
pub(crate) const MAX_LATER: usize = MAX_FIRST + MAX_AUTHORITIES * (MAX_LIST + 16);

type Fields = (u64, ByteBuf, Vec<(ByteBuf, u64)>, Vec<ByteBuf>);

/// What one side tells the other. What it does not need is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// What is wrong with the certificate that the other side has shown.
    pub(crate) refusal: Option<Flaw>,
    /// The sender's certificate.
    pub(crate) certificate: Vec<u8>,
    /// The numbers of the lists that the sender has.
    pub(crate) numbers: Vec<(Authority, u64)>,
    /// Lists that are newer than those of the other side.
    pub(crate) lists: Vec<Vec<u8>>,
}

impl Message {
    pub(crate) async fn send(self, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let body = sealed::encode(&self.into_fields());
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&body);
        io.write_all(&bytes).await?;
        io.flush().await
    }

    /// Reads one message of at most `max` bytes; takes no more memory than has come.
    pub(crate) async fn receive(io: &mut (impl AsyncRead + Unpin), max: usize) -> io::Result<Self> {
        let mut length = [0; 4];
        io.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > max {
            return Err(invalid("a message is too long"));
        }
        let mut body = Vec::new();
        io.take(length as u64).read_to_end(&mut body).await?;
        if body.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let fields = sealed::decode(&body).and_then(Self::from_fields);
        fields.ok_or_else(|| invalid("a message has another form"))
    }

    fn into_fields(self) -> Fields {
        (
            self.refusal.map_or(0, code),
            ByteBuf::from(self.certificate),
            self.numbers
                .into_iter()
                .map(|(authority, number)| (ByteBuf::from(authority.to_bytes()), number))
                .collect(),
            self.lists.into_iter().map(ByteBuf::from).collect(),
        )
    }

    fn from_fields((refusal, certificate, numbers, lists): Fields) -> Option<Self> {
        if numbers.len() > MAX_AUTHORITIES || lists.len() > MAX_AUTHORITIES {
            return None;
        }
        let numbers = numbers.iter();
        Some(Self {
            refusal: (refusal != 0).then(|| flaw(refusal)),
            certificate: certificate.into_vec(),
            numbers: numbers
                .map(|(authority, number)| Some((Authority::from_bytes(authority)?, *number)))
                .collect::<Option<_>>()?,
            lists: lists.into_iter().map(ByteBuf::into_vec).collect(),
        })
    }
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn code(flaw: Flaw) -> u64 {
    match flaw {
        Flaw::Malformed => 1,
        Flaw::OtherNetwork => 2,
        Flaw::OtherPeer => 3,
        Flaw::UnknownAuthority => 4,
        Flaw::NotYet => 5,
        Flaw::Expired => 6,
        Flaw::Revoked => 7,
    }
}

/// A reason that a later version may give is none that is known.
fn flaw(code: u64) -> Flaw {
    match code {
        2 => Flaw::OtherNetwork,
        3 => Flaw::OtherPeer,
        4 => Flaw::UnknownAuthority,
        5 => Flaw::NotYet,
        6 => Flaw::Expired,
        7 => Flaw::Revoked,
        _ => Flaw::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Message> {
        block_on(Message::receive(&mut Cursor::new(bytes), MAX_LATER))
    }

    #[test]
    fn what_is_sent_is_received() {
        let key = libp2p_identity::Keypair::generate_ed25519();
        let message = Message {
            refusal: Some(Flaw::Revoked),
            certificate: vec![1; 300],
            numbers: vec![(Authority::of(&key).unwrap(), 7)],
            lists: vec![vec![2; 70_000]],
        };
        let mut bytes = Vec::new();
        block_on(message.clone().send(&mut bytes)).unwrap();
        assert_eq!(read(&bytes).unwrap(), message);
        assert!(read(&bytes[..bytes.len() - 1]).is_err());
        bytes[..4].copy_from_slice(&(MAX_LATER as u32 + 1).to_be_bytes());
        assert!(read(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_peer_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let mut framed = (bytes.len() as u32).to_be_bytes().to_vec();
            framed.extend(&bytes);
            let _ = read(&framed);
            let _ = read(&bytes);
            let _ = crate::Certificate::decode(&bytes);
            let _ = crate::RevocationList::decode(&bytes);
        }
    }
}
