//! A message, and what its author has signed of it.
use bytes::Bytes;
use libp2p_gossipsub::RawMessage;
use libp2p_identity::{Keypair, PeerId, PublicKey};

use crate::MessageId;

/// What gossipsub puts before a message that is signed.
const PREFIX: &[u8] = b"libp2p-pubsub:";
/// Bytes of a signature or of a key, of whatever kind; RSA with 4,096 bits has 512.
pub(super) const MAX_PROOF: usize = 1024;
/// Bytes of the two lengths at the end of what is attached.
const LENGTHS: usize = 4;

/// What proves a message to be its author's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(super) signature: Bytes,
    /// The author's key, as protobuf; nothing where the author's id holds it.
    pub(super) key: Bytes,
}

/// A message with its proof. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) from: PeerId,
    pub(crate) seqno: u64,
    pub(crate) data: Bytes,
    pub(crate) proof: Proof,
}

impl Signed {
    /// Signs a message; none if the key cannot.
    pub(crate) fn new(key: &Keypair, topic: &str, seqno: u64, data: Bytes) -> Option<Self> {
        let from = key.public().to_peer_id();
        let signature = key.sign(&statement(topic, &from, seqno, &data)).ok()?;
        Some(Self {
            from,
            seqno,
            data,
            proof: Proof {
                signature: signature.into(),
                key: match key_in(&from) {
                    Some(_) => Bytes::new(),
                    None => key.public().encode_protobuf().into(),
                },
            },
        })
    }

    /// Whether its author has signed it, for this topic.
    pub(super) fn is_true(&self, topic: &str) -> bool {
        let key = match self.proof.key.is_empty() {
            true => key_in(&self.from),
            false => PublicKey::try_decode_protobuf(&self.proof.key).ok(),
        };
        let statement = statement(topic, &self.from, self.seqno, &self.data);
        key.is_some_and(|key| key.to_peer_id() == self.from && key.verify(&statement, &self.proof.signature))
    }

    /// Its id: author and number.
    pub(crate) fn id(&self) -> MessageId {
        let mut id = self.from.to_bytes();
        id.extend(self.seqno.to_be_bytes());
        MessageId::new(&id)
    }

    /// Bytes that it takes, more or less.
    pub(super) fn size(&self) -> usize {
        128 + self.data.len() + self.proof.signature.len() + self.proof.key.len()
    }
}

/// The key that a short one's id holds.
fn key_in(peer: &PeerId) -> Option<PublicKey> {
    // The multihash of such an id is the key itself, behind its kind and its length.
    PublicKey::try_decode_protobuf(peer.to_bytes().get(2..)?).ok()
}

/// What the author of a message signs: the protobuf `Message` of gossipsub with author, data, number and topic.
fn statement(topic: &str, from: &PeerId, seqno: u64, data: &[u8]) -> Vec<u8> {
    let mut out = PREFIX.to_vec();
    let (from, seqno) = (from.to_bytes(), seqno.to_be_bytes());
    let fields: [(u8, &[u8]); 4] = [(1, &from), (2, data), (3, &seqno), (4, topic.as_bytes())];
    for (tag, bytes) in fields {
        out.push(tag << 3 | 2);
        let mut length = bytes.len();
        while length >= 0x80 {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(bytes);
    }
    out
}

/// Attaches its proof to the data of a message that libp2p's gossipsub has verified, as it tells nobody later.
pub(crate) fn attach(message: RawMessage) -> Vec<u8> {
    let (signature, key) = (
        message.signature.unwrap_or_default(),
        message.key.unwrap_or_default(),
    );
    let [signature, key] = match signature.len().max(key.len()) <= MAX_PROOF {
        true => [signature, key],
        false => [Vec::new(), Vec::new()],
    };
    let mut data = message.data;
    data.extend_from_slice(&signature);
    data.extend_from_slice(&key);
    for part in [signature, key] {
        let length = u16::try_from(part.len()).unwrap_or_default();
        data.extend(length.to_be_bytes());
    }
    data
}

/// Takes off what was attached; no proof where there was none that can be kept.
pub(crate) fn detach(data: Vec<u8>) -> (Bytes, Option<Proof>) {
    let mut data = Bytes::from(data);
    let Some(end) = data.len().checked_sub(LENGTHS) else {
        return (data, None);
    };
    let lengths = data.split_off(end);
    let length = |at: usize| usize::from(u16::from_be_bytes([lengths[at], lengths[at + 1]]));
    let (signature, key) = (length(0), length(2));
    let Some(end) = data.len().checked_sub(signature + key) else {
        return (data, None);
    };
    let mut signature_and_key = data.split_off(end);
    let key = signature_and_key.split_off(signature);
    let signature = signature_and_key;
    // A message that says nothing may be written in two ways, and which one was signed is not known.
    let is_known = !signature.is_empty() && !data.is_empty();
    (data, is_known.then_some(Proof { signature, key }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_its_author_has_signed_for_the_topic_is_true() {
        let key = Keypair::generate_ed25519();
        let signed = Signed::new(&key, "t", 7, "all is well".into()).unwrap();
        assert!(signed.is_true("t") && signed.proof.key.is_empty());
        assert!(!signed.is_true("u"));
        let lies = [
            Signed {
                seqno: 8,
                ..signed.clone()
            },
            Signed {
                data: "all is lost".into(),
                ..signed.clone()
            },
            Signed {
                from: PeerId::random(),
                ..signed.clone()
            },
            Signed {
                proof: Proof {
                    key: key.public().encode_protobuf().into(),
                    ..signed.proof.clone()
                },
                from: Keypair::generate_ed25519().public().to_peer_id(),
                ..signed.clone()
            },
        ];
        assert!(lies.iter().all(|lie| !lie.is_true("t")));
    }

    #[test]
    fn what_is_attached_comes_off_again() {
        let raw = |data: &[u8], signature: Option<Vec<u8>>| RawMessage {
            source: None,
            data: data.to_vec(),
            sequence_number: None,
            topic: libp2p_gossipsub::TopicHash::from_raw("t"),
            signature,
            key: Some(vec![9; 36]),
            validated: false,
        };
        let (data, proof) = detach(attach(raw(b"hi", Some(vec![7; 64]))));
        assert_eq!(&data[..], b"hi");
        let proof = proof.unwrap();
        assert_eq!(
            (&proof.signature[..], &proof.key[..]),
            (&[7; 64][..], &[9; 36][..])
        );
        for raw in [
            raw(b"hi", None),
            raw(b"", Some(vec![7; 64])),
            raw(b"hi", Some(vec![7; 5000])),
        ] {
            let text = raw.data.clone();
            assert_eq!(detach(attach(raw)), (Bytes::from(text), None));
        }
    }
}
