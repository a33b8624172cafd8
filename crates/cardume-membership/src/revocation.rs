//! What an authority has taken back.
use std::{collections::BTreeMap, time::SystemTime};

use libp2p_identity::{Keypair, PeerId};
use serde_bytes::ByteBuf;

use crate::{
    Authority, Certificate, Flaw, MAX_LIFETIME, Serial, SignError,
    certificate::{is_network, seconds},
    sealed::{self, LAST},
};

/// Bytes of a list, at most: room for 4,000 serial numbers or 1,200 peers whose certificates have not expired.
pub const MAX_LIST: usize = 64 * 1024;

const CONTEXT: &str = "cardume revocation list 1\n";
const VERSION: u64 = 1;

/// Version, network, authority, number, serials (serial, until), peers (peer, issued until, until).
type Fields = (
    u64,
    String,
    ByteBuf,
    u64,
    Vec<(ByteBuf, u64)>,
    Vec<(ByteBuf, u64, u64)>,
);

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revoked {
    /// One certificate, of which perhaps only the number is known.
    Serial(Serial),
    /// One certificate; forgotten when it would have expired.
    Certificate(Box<Certificate>),
    /// Every certificate that a peer has been given so far.
    Peer(PeerId),
}

/// All that one authority has revoked in one network, signed by it. Of two, the one with the higher number counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    network: String,
    authority: Authority,
    number: u64,
    /// With the time after which the certificate would have expired anyway.
    serials: BTreeMap<Serial, u64>,
    /// With the time up to which certificates were issued that are revoked, and that after which they have expired.
    peers: BTreeMap<PeerId, (u64, u64)>,
    bytes: Vec<u8>,
}

impl RevocationList {
    /// Signs a list that revokes all that `previous` does and has not expired, and `revoked` besides.
    ///
    /// Its number is the time in seconds since 1970, or one more than that of `previous` if that is not less: a list
    /// that is begun anew because the last one was lost is taken for newer, too.
    ///
    /// # Errors
    /// When the list would be too large, or the key is no authority's.
    pub fn sign(
        network: &str,
        previous: Option<&Self>,
        revoked: &[Revoked],
        key: &Keypair,
        now: SystemTime,
    ) -> Result<Self, SignError> {
        let key = key.clone().try_into_ed25519().map_err(|_| SignError::Key)?;
        let authority = Authority::from_bytes(&key.public().to_bytes()).ok_or(SignError::Key)?;
        if !is_network(network) {
            return Err(SignError::Network(network.to_owned()));
        }
        let now = seconds(now);
        let (mut serials, mut peers) = previous.map_or_else(Default::default, |list| {
            (list.serials.clone(), list.peers.clone())
        });
        let longest = (now + MAX_LIFETIME.as_secs()).min(LAST);
        for one in revoked {
            match one {
                Revoked::Serial(serial) => drop(serials.insert(*serial, longest)),
                Revoked::Certificate(certificate) => {
                    serials.insert(certificate.terms().serial, certificate.terms().until);
                }
                Revoked::Peer(peer) => drop(peers.insert(*peer, (now, longest))),
            }
        }
        serials.retain(|_, until| *until > now);
        peers.retain(|_, (_, until)| *until > now);
        let number = previous.map_or(now, |list| now.max(list.number.saturating_add(1)));
        let mut list = Self {
            network: network.to_owned(),
            authority,
            number,
            serials,
            peers,
            bytes: Vec::new(),
        };
        list.bytes = sealed::seal(CONTEXT, sealed::encode(&list.fields()), &key);
        if list.bytes.len() > MAX_LIST {
            return Err(SignError::Full);
        }
        Ok(list)
    }

    /// Reads a list, and verifies its signature.
    ///
    /// # Errors
    /// [`Flaw::Malformed`] when these are not exactly the bytes that an authority has signed.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        if bytes.len() > MAX_LIST {
            return Err(Flaw::Malformed);
        }
        let (fields, authority) =
            sealed::unseal(CONTEXT, bytes, |fields: &Fields| Authority::from_bytes(&fields.2))
                .ok_or(Flaw::Malformed)?;
        Self::read(fields, authority, bytes).ok_or(Flaw::Malformed)
    }

    /// The list as it goes over the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The network that it is for.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Who has signed it.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its number: of two lists of one authority, the higher counts.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many certificates and peers it names.
    pub fn len(&self) -> usize {
        self.serials.len() + self.peers.len()
    }

    /// Whether it revokes nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The serial numbers that it revokes, in order.
    pub fn serials(&self) -> impl Iterator<Item = Serial> {
        self.serials.keys().copied()
    }

    /// The peers whose certificates it revokes, in order.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
    }

    /// Whether it revokes `certificate`.
    pub fn revokes(&self, certificate: &Certificate) -> bool {
        let terms = certificate.terms();
        *certificate.authority() == self.authority
            && terms.network == self.network
            && (self.serials.contains_key(&terms.serial)
                || self
                    .peers
                    .get(&terms.peer)
                    .is_some_and(|(issued, _)| terms.from <= *issued))
    }

    fn fields(&self) -> Fields {
        let serials = self.serials.iter();
        let peers = self.peers.iter();
        (
            VERSION,
            self.network.clone(),
            ByteBuf::from(self.authority.to_bytes()),
            self.number,
            serials
                .map(|(serial, until)| (ByteBuf::from(serial.to_bytes()), *until))
                .collect(),
            peers
                .map(|(peer, (issued, until))| (ByteBuf::from(peer.to_bytes()), *issued, *until))
                .collect(),
        )
    }

    fn read(fields: Fields, authority: Authority, bytes: &[u8]) -> Option<Self> {
        let serials = fields.4.iter();
        let peers = fields.5.iter();
        let list = Self {
            network: fields.1.clone(),
            authority,
            number: fields.3,
            serials: serials
                .map(|(serial, until)| Some((Serial::from_bytes(serial)?, *until)))
                .collect::<Option<_>>()?,
            peers: peers
                .map(|(peer, issued, until)| Some((PeerId::from_bytes(peer).ok()?, (*issued, *until))))
                .collect::<Option<_>>()?,
            bytes: bytes.to_vec(),
        };
        // In order and without repetition, as the maps are: one list has one encoding.
        (fields.0 == VERSION && is_network(&list.network) && list.fields() == fields).then_some(list)
    }
}
