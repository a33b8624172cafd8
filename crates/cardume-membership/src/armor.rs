//! Certificates and lists as text, for files and letters (RFC 7468).
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Certificate, Flaw, RevocationList};

const CERTIFICATE: &str = "CARDUME MEMBER CERTIFICATE";
const LIST: &str = "CARDUME REVOCATION LIST";
/// Characters on a line.
const WIDTH: usize = 64;

/// Something that a file may hold as text.
pub trait Armored: Sized {
    /// What stands between the dashes.
    const LABEL: &'static str;

    /// Its bytes.
    fn to_bytes(&self) -> &[u8];

    /// Reads its bytes, and verifies them.
    ///
    /// # Errors
    /// When they are malformed or forged.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Flaw>;

    /// Writes it as text.
    fn armor(&self) -> String {
        let encoded = STANDARD.encode(self.to_bytes());
        let mut text = format!("-----BEGIN {}-----\n", Self::LABEL);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(WIDTH));
            text += line;
            text.push('\n');
            rest = after;
        }
        text + &format!("-----END {}-----\n", Self::LABEL)
    }

    /// Reads every one in a text; what stands around them is passed over.
    ///
    /// # Errors
    /// When one is malformed or forged.
    fn unarmor(text: &str) -> Result<Vec<Self>, Flaw> {
        let (begin, end) = (
            format!("-----BEGIN {}-----", Self::LABEL),
            format!("-----END {}-----", Self::LABEL),
        );
        let mut found = Vec::new();
        for part in text.split(&begin).skip(1) {
            let (body, _) = part.split_once(&end).ok_or(Flaw::Malformed)?;
            let body: String = body.split_whitespace().collect();
            let bytes = STANDARD.decode(body).map_err(|_| Flaw::Malformed)?;
            found.push(Self::from_bytes(&bytes)?);
        }
        Ok(found)
    }
}

impl Armored for Certificate {
    const LABEL: &'static str = CERTIFICATE;

    fn to_bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Flaw> {
        Self::decode(bytes)
    }
}

impl Armored for RevocationList {
    const LABEL: &'static str = LIST;

    fn to_bytes(&self) -> &[u8] {
        self.bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Flaw> {
        Self::decode(bytes)
    }
}
