//! What a channel is called everywhere: its public key.
use std::{fmt, str::FromStr};

use libp2p_identity::ed25519;
use multibase::Base;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Before the key in binary: CID version 1, codec `libp2p-key`, identity multihash of 36 bytes, and the head of
/// libp2p's protobuf `PublicKey` with an Ed25519 key of 32 bytes.
const HEAD: [u8; 8] = [0x01, 0x72, 0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The id of a channel: an Ed25519 public key.
///
/// Its text is a CIDv1 of the codec `libp2p-key` in base36, 62 characters that begin with `k51`, as of IPNS names. So
/// it is told from content (`bafk…`, `bafy…`) and from peers (`12D3Koo…`), and never taken for one of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 32]);

impl Id {
    /// Bytes of an id in binary.
    pub const LEN: usize = 32;

    /// The id of a key's channel.
    pub fn of(key: &ed25519::PublicKey) -> Self {
        Self(key.to_bytes())
    }

    /// Reads the 32 bytes of a public key; none if they are no key.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let key = ed25519::PublicKey::try_from_bytes(bytes).ok()?;
        Some(Self::of(&key))
    }

    /// The public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the channel's key has signed `message`.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        ed25519::PublicKey::try_from_bytes(&self.0).is_ok_and(|key| key.verify(message, signature))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = HEAD.iter().chain(&self.0).copied().collect();
        f.pad(&multibase::encode(Base::Base36Lower, bytes))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

/// A text that is no channel id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no channel id; one has 62 characters and begins with k51")]
pub struct ParseIdError(String);

impl FromStr for Id {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError(text.chars().take(80).collect());
        // Base36 in upper case is the same number, and would be a second text for one channel.
        if text.len() != 62 || !text.starts_with('k') {
            return Err(error());
        }
        let (_, bytes) = multibase::decode(text).map_err(|_| error())?;
        let key = bytes.strip_prefix(&HEAD).ok_or_else(error)?;
        let id = Self::from_bytes(key).ok_or_else(error)?;
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(error())
        }
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardume_content::Cid;
    use libp2p_identity::PeerId;

    #[test]
    fn an_id_is_its_text_and_nothing_else_is() {
        let id = Id::of(&ed25519::Keypair::generate().public());
        let text = id.to_string();
        assert!(text.starts_with("k51") && text.len() == 62, "{text}");
        assert_eq!(text.parse(), Ok(id));
        let upper = text.to_uppercase();
        let longer = format!("{text}0");
        for wrong in ["", "k51", &upper, &longer, "bafkr4i", "ключ"] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_channel_is_taken_for_neither_content_nor_a_peer() {
        let key = ed25519::Keypair::generate().public();
        let text = Id::of(&key).to_string();
        assert!(text.parse::<Cid>().is_err());
        assert!(text.parse::<PeerId>().is_err());
        let peer = PeerId::from_public_key(&key.into()).to_string();
        assert!(peer.parse::<Id>().is_err());
    }
}
