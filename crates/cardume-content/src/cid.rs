//! Content ids.
use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// CID version that everything here has.
const VERSION: u8 = 1;
/// Multicodec of plain bytes.
const RAW: u8 = 0x55;
/// Multicodec of a manifest.
const DAG_CBOR: u8 = 0x71;
/// Multihash code of BLAKE3.
const BLAKE3: u8 = 0x1e;
/// Bytes of a digest.
const DIGEST_LEN: u8 = 32;
/// Longest text looked at. The widest useful base (base2) takes 289 characters; more is no CID of ours.
const MAX_TEXT: usize = 300;

/// A BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Wraps a digest.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Shows the digest.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes `bytes` (the root hash of a whole blob).
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Writes the digest as 64 lower-case hex digits, as `b3sum` does.
    pub fn to_hex(self) -> String {
        self.to_string()
    }

    /// Reads 64 hex digits of either case.
    fn from_hex(text: &str) -> Option<Self> {
        Some(Self(*blake3::Hash::from_hex(text).ok()?.as_bytes()))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
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

impl Kind {
    const fn codec(self) -> u8 {
        match self {
            Self::Blob => RAW,
            Self::Directory => DAG_CBOR,
        }
    }
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
    /// Bytes of a CID in binary.
    pub const LEN: usize = 36;

    /// Names the blob with this hash.
    pub const fn blob(hash: Hash) -> Self {
        Self::new(Kind::Blob, hash)
    }

    /// Names the directory whose manifest has this hash.
    pub const fn directory(hash: Hash) -> Self {
        Self::new(Kind::Directory, hash)
    }

    /// Names content by kind and hash.
    pub const fn new(kind: Kind, hash: Hash) -> Self {
        Self { kind, hash }
    }

    /// Tells what the bytes are.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the BLAKE3 hash of the bytes.
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The binary CID: version, codec, multihash code, length, digest.
    pub fn to_bytes(self) -> [u8; 36] {
        let mut bytes = [0; Self::LEN];
        let (head, digest) = bytes.split_at_mut(4);
        head.copy_from_slice(&[VERSION, self.kind.codec(), BLAKE3, DIGEST_LEN]);
        digest.copy_from_slice(&self.hash.0);
        bytes
    }

    /// Reads a binary CID.
    ///
    /// # Errors
    ///
    /// Fails for anything but the 36 bytes that [`Cid::to_bytes`] writes, and says what differs.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseCidError> {
        let parsed = cid::Cid::try_from(bytes).map_err(malformed)?;
        let ours = Self::try_from(parsed)?;
        if bytes == ours.to_bytes() {
            Ok(ours)
        } else {
            Err(ParseCidError::Malformed("there are bytes after it".to_owned()))
        }
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&cid::Cid::from(*self).to_string())
    }
}

/// Takes a CID in any multibase, or 64 hex digits of BLAKE3 (a blob).
impl FromStr for Cid {
    type Err = ParseCidError;

    fn from_str(s: &str) -> Result<Self, ParseCidError> {
        if let Some(hash) = Hash::from_hex(s) {
            return Ok(Self::blob(hash));
        }
        if s.is_empty() {
            return Err(ParseCidError::Malformed("it is empty".to_owned()));
        }
        if s.len() > MAX_TEXT {
            return Err(ParseCidError::Malformed(format!(
                "{} characters are too many",
                s.len()
            )));
        }
        // Version 0 is base58 without a prefix (CID specification, section "How does it work?").
        if s.len() == 46 && s.starts_with("Qm") {
            return Err(ParseCidError::Version(0));
        }
        let (_, bytes) = cid::multibase::decode(s).map_err(|_| {
            ParseCidError::Malformed(format!("{s:?} does not decode; ours begin bafkr4i or bafyr4i"))
        })?;
        Self::from_bytes(&bytes)
    }
}

impl From<Cid> for cid::Cid {
    fn from(ours: Cid) -> Self {
        let digest = cid::multihash::Multihash::wrap(BLAKE3.into(), &ours.hash.0)
            .expect("a digest of 32 bytes fits a multihash of 64");
        Self::new_v1(ours.kind.codec().into(), digest)
    }
}

impl TryFrom<cid::Cid> for Cid {
    type Error = ParseCidError;

    fn try_from(parsed: cid::Cid) -> Result<Self, ParseCidError> {
        if parsed.version() != cid::Version::V1 {
            return Err(ParseCidError::Version(parsed.version().into()));
        }
        let kind = match u8::try_from(parsed.codec()) {
            Ok(RAW) => Kind::Blob,
            Ok(DAG_CBOR) => Kind::Directory,
            _ => return Err(ParseCidError::Codec(parsed.codec())),
        };
        let multihash = parsed.hash();
        match <[u8; 32]>::try_from(multihash.digest()) {
            Ok(digest) if multihash.code() == u64::from(BLAKE3) => Ok(Self::new(kind, Hash(digest))),
            _ => Err(ParseCidError::Multihash(multihash.code())),
        }
    }
}

impl Serialize for Cid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.to_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Cid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(CidVisitor)
        } else {
            deserializer.deserialize_bytes(CidVisitor)
        }
    }
}

struct CidVisitor;

impl de::Visitor<'_> for CidVisitor {
    type Value = Cid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CID")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Cid, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Cid, E> {
        Cid::from_bytes(bytes).map_err(E::custom)
    }
}

/// Why a text or bytes are no CID of ours.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ParseCidError {
    /// It is no CID at all.
    #[error("not a CID: {0}")]
    Malformed(String),
    /// It is a CID of another version.
    #[error("CID version {0} is not supported; only version 1 is")]
    Version(u64),
    /// It names another kind of content.
    #[error("CID codec {0:#x} is not supported; only raw (0x55) and dag-cbor (0x71) are")]
    Codec(u64),
    /// It names its content by another hash, or by one of another length.
    #[error("multihash {0:#x} is not supported; only blake3 (0x1e) with 32 bytes is")]
    Multihash(u64),
}

fn malformed(error: cid::Error) -> ParseCidError {
    let reason = match error {
        cid::Error::InputTooShort | cid::Error::Io(_) => "it ends too early",
        cid::Error::VarIntDecodeError => "a number in it is malformed",
        cid::Error::InvalidCidVersion => "its version is unknown",
        _ => "its multihash is malformed or cut short",
    };
    ParseCidError::Malformed(reason.to_owned())
}
