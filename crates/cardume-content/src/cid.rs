//! Content ids.
use std::{fmt, str::FromStr};

/// A BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Hashes `bytes` (the root hash of a whole blob).
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
    pub fn to_hex(self) -> String {
        todo!()
    }
}
impl fmt::Display for Hash {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
} // hex
impl fmt::Debug for Hash {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// What a CID's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Any bytes (codec `raw`).
    Blob,
    /// A manifest (codec `dag-cbor`).
    Directory,
}

/// A content id: CIDv1, `raw` or `dag-cbor`, BLAKE3 with 32 bytes.
///
/// Serialized as its base32 text where the format is human-readable, as its 36 bytes elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    kind: Kind,
    hash: Hash,
}

impl Cid {
    pub const fn blob(hash: Hash) -> Self {
        Self {
            kind: Kind::Blob,
            hash,
        }
    }
    pub const fn directory(hash: Hash) -> Self {
        Self {
            kind: Kind::Directory,
            hash,
        }
    }
    pub const fn new(kind: Kind, hash: Hash) -> Self {
        Self { kind, hash }
    }
    pub const fn kind(&self) -> Kind {
        self.kind
    }
    pub const fn hash(&self) -> Hash {
        self.hash
    }
    /// The binary CID: version, codec, multihash code, length, digest.
    pub fn to_bytes(self) -> [u8; 36] {
        todo!()
    }
    pub fn from_bytes(_bytes: &[u8]) -> Result<Self, ParseCidError> {
        todo!()
    }
}
impl fmt::Display for Cid {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
/// Takes a CID in any multibase, or 64 hex digits of BLAKE3 (a blob).
impl FromStr for Cid {
    type Err = ParseCidError;
    fn from_str(_s: &str) -> Result<Self, ParseCidError> {
        todo!()
    }
}
impl serde::Serialize for Cid {
    fn serialize<S: serde::Serializer>(&self, _s: S) -> Result<S::Ok, S::Error> {
        todo!()
    }
}
impl<'de> serde::Deserialize<'de> for Cid {
    fn deserialize<D: serde::Deserializer<'de>>(_d: D) -> Result<Self, D::Error> {
        todo!()
    }
}

/// Why a text or bytes are no CID of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseCidError {
    #[error("not a CID: {0}")]
    Malformed(String),
    #[error("CID version {0} is not supported; only version 1 is")]
    Version(u64),
    #[error("CID codec {0:#x} is not supported; only raw (0x55) and dag-cbor (0x71) are")]
    Codec(u64),
    #[error("multihash {0:#x} is not supported; only blake3 (0x1e) with 32 bytes is")]
    Multihash(u64),
}
