//! Secrets: made, shown once, and known by their hash.
use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Bits enough that a plain hash protects them: there is nothing to guess.
const BYTES: usize = 32;

/// Makes a secret of 256 random bits, as text for a header, a cookie or a URL.
pub(crate) fn random(prefix: &str) -> std::io::Result<String> {
    let mut bytes = [0; BYTES];
    let mut filled = 0;
    while filled < BYTES {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(format!("{prefix}{}", BASE64.encode(bytes)))
}

/// What is kept of a secret.
#[derive(Clone, Copy)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    pub(crate) fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Compares in a time that tells nothing.
    pub(crate) fn is(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash")
    }
}

impl serde::Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(self.0))
    }
}

impl<'de> serde::Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(deserializer)?;
        let bytes = BASE64.decode(text).map_err(serde::de::Error::custom)?;
        let bytes = bytes
            .try_into()
            .map_err(|_| serde::de::Error::custom("a hash has 32 bytes"))?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_new_each_time_and_known_by_its_hash() {
        let (a, b) = (random("c_").unwrap(), random("c_").unwrap());
        assert_eq!((a.len(), a != b), (2 + 43, true));
        assert!(bool::from(Hash::of(&a).is(&Hash::of(&a))));
        assert!(!bool::from(Hash::of(&a).is(&Hash::of(&b))));
        let text = serde_json::to_string(&Hash::of(&a)).unwrap();
        let back: Hash = serde_json::from_str(&text).unwrap();
        assert!(bool::from(back.is(&Hash::of(&a))));
        assert!(serde_json::from_str::<Hash>("\"AAAA\"").is_err());
    }
}
