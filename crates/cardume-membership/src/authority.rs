//! Who may say who belongs to a network.
use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libp2p_identity::{Keypair, ed25519};

/// What stands before a key as text, so that nobody takes it for a peer id.
const PREFIX: &str = "ed25519:";

/// The public key of an authority.
///
/// As text it is `ed25519:` and the 32 bytes of the key in base64 for URLs, without padding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Authority(ed25519::PublicKey);

impl Authority {
    /// The authority that signs with `key`; none if that is no Ed25519 key.
    pub fn of(key: &Keypair) -> Option<Self> {
        key.public().try_into_ed25519().ok().map(Self)
    }

    /// Its key.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        ed25519::PublicKey::try_from_bytes(bytes).ok().map(Self)
    }

    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(message, signature)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.0.to_bytes()))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no key of an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no public key of an authority, which is ed25519: and 43 characters")]
pub struct AuthorityError;

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let key = text.trim().strip_prefix(PREFIX).ok_or(AuthorityError)?;
        let bytes = URL_SAFE_NO_PAD.decode(key).map_err(|_| AuthorityError)?;
        Self::from_bytes(&bytes).ok_or(AuthorityError)
    }
}
