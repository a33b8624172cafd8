//! What a member shows.
use std::{
    collections::BTreeSet,
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use libp2p_identity::{Keypair, PeerId};
use serde_bytes::ByteBuf;

use crate::{
    Authority,
    sealed::{self, LAST},
};

/// Bytes of a certificate, at most: it is read from peers that have shown nothing yet.
pub const MAX_CERTIFICATE: usize = 2048;
/// Groups in a certificate, at most.
pub const MAX_GROUPS: usize = 32;
/// Bytes of a group's name, at most.
pub const MAX_GROUP: usize = 64;
/// How long a certificate may be valid. A revocation must be kept that long, so it may not be for ever.
pub const MAX_LIFETIME: Duration = Duration::from_secs(10 * 366 * 86_400);
/// How far the clock of a peer may be behind that of an authority: a fresh certificate is good at once.
pub const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// How long before its end a certificate is spoken of.
const SOON: Duration = Duration::from_secs(14 * 86_400);

const CONTEXT: &str = "cardume member certificate 1\n";
const VERSION: u64 = 1;
/// Bytes of a network's id, at most.
const MAX_NETWORK: usize = 32;

/// Version, network, peer, groups, from, until, serial, authority.
type Fields = (u64, String, ByteBuf, Vec<String>, u64, u64, ByteBuf, ByteBuf);

/// The number of a certificate, by which it is revoked. Chosen at random by whoever signs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 8]);

impl Serial {
    /// A new one.
    pub fn random() -> Self {
        Self(rand::random())
    }

    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a serial number has 16 hexadecimal digits")]
pub struct SerialError;

impl FromStr for Serial {
    type Err = SerialError;

    fn from_str(text: &str) -> Result<Self, SerialError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        Ok(Self(number.ok_or(SerialError)?.to_be_bytes()))
    }
}

/// What an authority says of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The network that it belongs to.
    pub network: String,
    /// Who it is.
    pub peer: PeerId,
    /// The groups that it is in.
    pub groups: BTreeSet<String>,
    /// From when on, in seconds since 1970.
    pub from: u64,
    /// Until when, in seconds since 1970; not at that second itself.
    pub until: u64,
    /// The certificate's number.
    pub serial: Serial,
}

/// A certificate whose signature is right, by the authority that it names.
///
/// Whether that authority counts, and the certificate is for whoever shows it, is for [`check`](Self::check).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    terms: Terms,
    authority: Authority,
    bytes: Vec<u8>,
}

/// Why something cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// An RSA or other key.
    #[error("an authority signs with an Ed25519 key; make one with `cardume key gen --authority`")]
    Key,
    /// The network's id could not be one.
    #[error("{0:?} is no network id: 1 to 32 of a-z, 0-9 and -")]
    Network(String),
    /// A group's name could not be one.
    #[error(
        "{0:?} is no group: at most {MAX_GROUP} bytes, without colons, commas, white space and control characters"
    )]
    Group(String),
    /// There are too many groups.
    #[error(
        "a certificate has at most {MAX_GROUPS} groups, and {MAX_CERTIFICATE} bytes in all; leave some out"
    )]
    TooLarge,
    /// It ends before it begins, or lasts too long.
    #[error("a certificate is valid for a second at least, and ten years at most")]
    Lifetime,
    /// Too much is revoked.
    #[error(
        "the list of revocations is full; wait until revoked certificates have expired, or change to a new authority"
    )]
    Full,
}

/// What is wrong with the certificate of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// Its bytes are no certificate, or its signature is wrong.
    #[error("is malformed or forged")]
    Malformed,
    /// It is for another network.
    #[error("is for another network")]
    OtherNetwork,
    /// It is for somebody else.
    #[error("is another peer's")]
    OtherPeer,
    /// Its authority does not count.
    #[error("is signed by an authority that network.authorities does not have")]
    UnknownAuthority,
    /// It begins later.
    #[error("is not valid yet, or the clock is wrong")]
    NotYet,
    /// It has ended.
    #[error("has expired")]
    Expired,
    /// The authority has taken it back.
    #[error("has been revoked")]
    Revoked,
}

impl Certificate {
    /// Signs `terms` with the key of an authority.
    ///
    /// # Errors
    /// When they could not stand in a certificate.
    pub fn sign(terms: Terms, key: &Keypair) -> Result<Self, SignError> {
        let key = key.clone().try_into_ed25519().map_err(|_| SignError::Key)?;
        let authority = Authority::from_bytes(&key.public().to_bytes()).ok_or(SignError::Key)?;
        terms.check()?;
        let payload = sealed::encode(&terms.fields(&authority));
        let bytes = sealed::seal(CONTEXT, payload, &key);
        if bytes.len() > MAX_CERTIFICATE {
            return Err(SignError::TooLarge);
        }
        Ok(Self {
            terms,
            authority,
            bytes,
        })
    }

    /// Reads a certificate, and verifies its signature.
    ///
    /// # Errors
    /// [`Flaw::Malformed`] when these are not exactly the bytes that an authority has signed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        if bytes.len() > MAX_CERTIFICATE {
            return Err(Flaw::Malformed);
        }
        let (fields, authority) =
            sealed::unseal(CONTEXT, bytes, |fields: &Fields| Authority::from_bytes(&fields.7))
                .ok_or(Flaw::Malformed)?;
        Ok(Self {
            terms: Terms::read(fields).ok_or(Flaw::Malformed)?,
            authority,
            bytes: bytes.to_vec(),
        })
    }

    /// The certificate as it goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Who has signed it.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// When it ends.
    pub fn until(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.terms.until)
    }

    /// Whether it is time to have a new one signed: a third of its time is left, or fourteen days if that is less.
    pub fn ends_soon(&self, now: SystemTime) -> bool {
        let lifetime = Duration::from_secs(self.terms.until - self.terms.from);
        let left = self.until().duration_since(now).unwrap_or_default();
        left < SOON.min(lifetime / 3)
    }

    /// Whether it makes `peer` a member of `network` now, in the eyes of who trusts `authorities`; revocations apart.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(
        &self,
        network: &str,
        peer: &PeerId,
        authorities: &[Authority],
        now: SystemTime,
    ) -> Result<(), Flaw> {
        if !authorities.contains(&self.authority) {
            return Err(Flaw::UnknownAuthority);
        }
        if self.terms.network != network {
            return Err(Flaw::OtherNetwork);
        }
        if self.terms.peer != *peer {
            return Err(Flaw::OtherPeer);
        }
        let now = seconds(now);
        if now + CLOCK_SKEW.as_secs() < self.terms.from {
            return Err(Flaw::NotYet);
        }
        if now >= self.terms.until {
            return Err(Flaw::Expired);
        }
        Ok(())
    }
}

/// Seconds since 1970; a clock before that counts as no seconds, so that nothing is valid yet.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs().min(LAST)
}

impl Terms {
    fn check(&self) -> Result<(), SignError> {
        if !is_network(&self.network) {
            return Err(SignError::Network(self.network.clone()));
        }
        if let Some(group) = self.groups.iter().find(|group| !is_group(group)) {
            return Err(SignError::Group(group.clone()));
        }
        if self.groups.len() > MAX_GROUPS {
            return Err(SignError::TooLarge);
        }
        let longest = self.from.saturating_add(MAX_LIFETIME.as_secs());
        if self.until <= self.from || self.until > longest || self.until > LAST {
            return Err(SignError::Lifetime);
        }
        Ok(())
    }

    fn fields(&self, authority: &Authority) -> Fields {
        (
            VERSION,
            self.network.clone(),
            ByteBuf::from(self.peer.to_bytes()),
            self.groups.iter().cloned().collect(),
            self.from,
            self.until,
            ByteBuf::from(self.serial.to_bytes()),
            ByteBuf::from(authority.to_bytes()),
        )
    }

    fn read(fields: Fields) -> Option<Self> {
        let (version, network, peer, listed, from, until, serial, _) = fields;
        let groups: BTreeSet<_> = listed.iter().cloned().collect();
        let terms = Self {
            network,
            peer: PeerId::from_bytes(&peer).ok()?,
            groups,
            from,
            until,
            serial: Serial::from_bytes(&serial)?,
        };
        // In order and without repetition: one set of groups has one encoding.
        let in_order = terms.groups.iter().eq(&listed);
        (version == VERSION && in_order && terms.check().is_ok()).then_some(terms)
    }
}

pub(crate) fn is_network(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_NETWORK).contains(&id.len()) && id.bytes().all(plain)
}

fn is_group(name: &str) -> bool {
    let odd = |c: char| matches!(c, ':' | ',') || c.is_whitespace() || c.is_control();
    (1..=MAX_GROUP).contains(&name.len()) && !name.contains(odd)
}
