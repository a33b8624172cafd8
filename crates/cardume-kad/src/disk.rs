//! The rows of the DHT in the node's database.
//!
//! Four tables; each row is a version byte and a CBOR value, or just a time. Times are wall-clock seconds, because no other
//! clock survives a restart; they are turned back into instants, at most 48 h ahead, when read.
use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use libp2p_identity::PeerId;
use libp2p_kad::{ProviderRecord, Record, RecordKey as Key};
use multiaddr::Multiaddr;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    address::Subnet,
    config::{MAX_KEY, MAX_VALUE, TTL},
    journal::Change,
    ledger::Source,
    records::{Announcement, Held, Limits, MAX_ADDRESSES, MAX_PROVIDED},
};

/// Key → version, [`ValueRow`].
const VALUES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("kad_values");

/// Key and provider → version, [`ProviderRow`].
const PROVIDERS: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("kad_providers");

/// Peer of the routing table → version, [`PeerRow`].
const PEERS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("kad_peers");

/// Key of our own → when others were last told of it.
const ANNOUNCED: TableDefinition<'_, &[u8], u64> = TableDefinition::new("kad_announced");

/// Peers of the routing table that come back: a table of a million peers' network has some 300.
const MAX_PEERS: usize = 512;

/// How long ago a peer may have been met and still come back.
const PEER_FORGOTTEN: u64 = 30 * 24 * 3600;

/// The first byte of every row; a row of another version is dropped, which costs a hint.
const VERSION: u8 = 1;

/// The longest row that was ever written: a value and the words around it.
const MAX_ROW: usize = MAX_VALUE + 4096;

#[derive(Serialize, Deserialize)]
struct ValueRow {
    value: ByteBuf,
    publisher: Option<ByteBuf>,
    source: ByteBuf,
    /// A peer of a local network has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<Subnet>,
    expires: u64,
}

#[derive(Serialize, Deserialize)]
struct ProviderRow {
    addresses: Vec<ByteBuf>,
    /// A peer of a local network has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    range: Option<Subnet>,
    expires: u64,
}

#[derive(Serialize, Deserialize)]
struct PeerRow {
    addresses: Vec<ByteBuf>,
    seen: u64,
}

/// Why the tables could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LoadError(Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for LoadError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// Which row.
#[derive(Debug, Clone)]
pub(crate) enum RowId {
    Value(Vec<u8>),
    Provider(Vec<u8>, Vec<u8>),
    Peer(Vec<u8>),
    Announced(Vec<u8>),
}

/// Where an earlier run has left off.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// The routing table: peers that spoke our protocol, and their addresses.
    pub(crate) peers: Vec<(PeerId, Vec<Multiaddr>)>,
    /// Keys of our own, and how long ago others were told of them.
    pub(crate) announced: HashMap<Vec<u8>, Duration>,
}

/// What an earlier run has kept.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) values: Vec<Held>,
    pub(crate) providers: Vec<Announcement>,
    /// What the driver goes on from.
    pub(crate) before: Before,
    /// Rows that are expired, damaged or too many.
    pub(crate) stale: Vec<RowId>,
}

/// Reads what has not expired, within `limits`.
pub(crate) fn load(database: &Database, limits: Limits) -> Result<Stored, LoadError> {
    let clock = Clock::now();
    let mut stored = Stored::default();
    let mut damaged = 0_usize;
    let transaction = database.begin_read()?;
    if let Some(table) = existing(transaction.open_table(VALUES))? {
        for row in table.iter()? {
            let (key, row) = row?;
            let key = key.value();
            let read = read_value(key, row.value(), &clock);
            damaged += usize::from(read.is_err());
            match read {
                // Ours and others' have the limit each.
                Ok(Some(held)) if stored.values.len() < 2 * limits.records => stored.values.push(held),
                _ => stored.stale.push(RowId::Value(key.to_vec())),
            }
        }
    }
    if let Some(table) = existing(transaction.open_table(PROVIDERS))? {
        for row in table.iter()? {
            let (id, row) = row?;
            let (key, peer) = id.value();
            let read = read_provider(key, peer, row.value(), &clock);
            damaged += usize::from(read.is_err());
            match read {
                Ok(Some(record)) if stored.providers.len() < limits.providers => {
                    stored.providers.push(record)
                }
                _ => stored.stale.push(RowId::Provider(key.to_vec(), peer.to_vec())),
            }
        }
    }
    if let Some(table) = existing(transaction.open_table(PEERS))? {
        for row in table.iter()? {
            let (id, row) = row?;
            let read = read_peer(id.value(), row.value(), &clock);
            damaged += usize::from(read.is_err());
            match read {
                Ok(Some(known)) if stored.before.peers.len() < MAX_PEERS => {
                    stored.before.peers.push(known);
                }
                _ => stored.stale.push(RowId::Peer(id.value().to_vec())),
            }
        }
    }
    if let Some(table) = existing(transaction.open_table(ANNOUNCED))? {
        for row in table.iter()? {
            let (key, at) = row?;
            let key = key.value().to_vec();
            let ago = Duration::from_secs(clock.seconds.saturating_sub(at.value()));
            if ago < TTL && stored.before.announced.len() < MAX_PROVIDED {
                stored.before.announced.insert(key, ago);
            } else {
                stored.stale.push(RowId::Announced(key));
            }
        }
    }
    if damaged > 0 {
        tracing::warn!(rows = damaged, "damaged records of the DHT were left out");
    }
    Ok(stored)
}

fn existing<T>(table: Result<T, TableError>) -> Result<Option<T>, TableError> {
    match table {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the changes in one durable transaction, in their order.
pub(crate) fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    let clock = Clock::now();
    let transaction = database.begin_write()?;
    {
        let mut values = transaction.open_table(VALUES)?;
        let mut providers = transaction.open_table(PROVIDERS)?;
        let mut peers = transaction.open_table(PEERS)?;
        let mut announced = transaction.open_table(ANNOUNCED)?;
        for change in changes {
            match change {
                Change::PutValue(held) => {
                    values.insert(held.record.key.as_ref(), value_row(held, &clock).as_slice())?;
                }
                Change::DropValue(key) => {
                    values.remove(key.as_ref())?;
                }
                Change::PutProvider(one) => {
                    let peer = one.record.provider.to_bytes();
                    let id = (one.record.key.as_ref(), peer.as_slice());
                    providers.insert(id, provider_row(one, &clock).as_slice())?;
                }
                Change::DropProvider(key, peer) => {
                    providers.remove((key.as_ref(), peer.to_bytes().as_slice()))?;
                }
                Change::PutPeer(peer, addresses) => {
                    let row = peer_row(addresses, &clock);
                    peers.insert(peer.to_bytes().as_slice(), row.as_slice())?;
                }
                Change::Announced(keys) => {
                    for key in keys {
                        announced.insert(key.as_ref(), clock.seconds)?;
                    }
                }
                Change::Withdrawn(key) => {
                    announced.remove(key.as_ref())?;
                }
                Change::DropPeer(peer) => {
                    peers.remove(peer.to_bytes().as_slice())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// Removes rows that [`load`] had no use for.
pub(crate) fn remove(database: &Database, rows: &[RowId]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut values = transaction.open_table(VALUES)?;
        let mut providers = transaction.open_table(PROVIDERS)?;
        let mut peers = transaction.open_table(PEERS)?;
        let mut announced = transaction.open_table(ANNOUNCED)?;
        for row in rows {
            match row {
                RowId::Value(key) => {
                    values.remove(key.as_slice())?;
                }
                RowId::Provider(key, peer) => {
                    providers.remove((key.as_slice(), peer.as_slice()))?;
                }
                RowId::Peer(peer) => {
                    peers.remove(peer.as_slice())?;
                }
                RowId::Announced(key) => {
                    announced.remove(key.as_slice())?;
                }
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

/// A row that no version of this program wrote.
struct Damaged;

fn read_value(key: &[u8], row: &[u8], clock: &Clock) -> Result<Option<Held>, Damaged> {
    let row: ValueRow = decode(key, row)?;
    if row.value.len() > MAX_VALUE {
        return Err(Damaged);
    }
    let publisher = row.publisher.map(|bytes| peer(&bytes)).transpose()?;
    let source = Source {
        peer: peer(&row.source)?,
        range: row.range,
    };
    Ok(clock.instant(row.expires).map(|expires| Held {
        record: Record {
            key: Key::new(&key),
            value: row.value.into_vec(),
            publisher,
            expires: Some(expires),
        },
        source,
    }))
}

fn read_provider(
    key: &[u8],
    provider: &[u8],
    row: &[u8],
    clock: &Clock,
) -> Result<Option<Announcement>, Damaged> {
    let row: ProviderRow = decode(key, row)?;
    let provider = peer(provider)?;
    let addresses = read_addresses(row.addresses)?;
    let range = row.range;
    Ok(clock.instant(row.expires).map(|expires| Announcement {
        record: ProviderRecord {
            key: Key::new(&key),
            provider,
            expires: Some(expires),
            addresses,
        },
        range,
    }))
}

fn read_peer(id: &[u8], row: &[u8], clock: &Clock) -> Result<Option<(PeerId, Vec<Multiaddr>)>, Damaged> {
    let row: PeerRow = decode(id, row)?;
    let known = (peer(id)?, read_addresses(row.addresses)?);
    // A clock that was ahead when it was met makes nobody unknown.
    Ok((clock.seconds.saturating_sub(row.seen) < PEER_FORGOTTEN).then_some(known))
}

fn read_addresses(addresses: Vec<ByteBuf>) -> Result<Vec<Multiaddr>, Damaged> {
    let addresses = addresses.into_iter().take(MAX_ADDRESSES);
    addresses
        .map(|bytes| Multiaddr::try_from(bytes.into_vec()).map_err(|_| Damaged))
        .collect()
}

fn decode<'a, T: Deserialize<'a>>(key: &[u8], row: &'a [u8]) -> Result<T, Damaged> {
    match row.split_first() {
        Some((&VERSION, cbor)) if key.len() <= MAX_KEY && row.len() <= MAX_ROW => {
            serde_ipld_dagcbor::from_slice(cbor).map_err(|_| Damaged)
        }
        _ => Err(Damaged),
    }
}

fn peer(bytes: &[u8]) -> Result<PeerId, Damaged> {
    PeerId::from_bytes(bytes).map_err(|_| Damaged)
}

fn value_row(held: &Held, clock: &Clock) -> Vec<u8> {
    encode(&ValueRow {
        value: ByteBuf::from(held.record.value.clone()),
        publisher: held.record.publisher.map(|p| ByteBuf::from(p.to_bytes())),
        source: ByteBuf::from(held.source.peer.to_bytes()),
        range: held.source.range,
        expires: clock.seconds(held.record.expires),
    })
}

fn provider_row(one: &Announcement, clock: &Clock) -> Vec<u8> {
    let record = &one.record;
    encode(&ProviderRow {
        addresses: address_bytes(&record.addresses),
        range: one.range,
        expires: clock.seconds(record.expires),
    })
}

fn peer_row(addresses: &[Multiaddr], clock: &Clock) -> Vec<u8> {
    encode(&PeerRow {
        addresses: address_bytes(addresses),
        seen: clock.seconds,
    })
}

fn address_bytes(addresses: &[Multiaddr]) -> Vec<ByteBuf> {
    addresses.iter().map(|a| ByteBuf::from(a.to_vec())).collect()
}

fn encode(row: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    serde_ipld_dagcbor::to_writer(&mut bytes, row).expect("rows are plain values, and memory takes them all");
    bytes
}

/// Both clocks, read together.
struct Clock {
    instant: Instant,
    seconds: u64,
}

impl Clock {
    fn now() -> Self {
        Self {
            instant: Instant::now(),
            seconds: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        }
    }

    fn seconds(&self, expires: Option<Instant>) -> u64 {
        let left = expires.map_or(TTL, |at| at.saturating_duration_since(self.instant));
        self.seconds.saturating_add(left.as_secs())
    }

    /// The instant of a stored second; nothing when it is over. A clock that was ahead cannot make a row
    /// live longer than any other.
    fn instant(&self, seconds: u64) -> Option<Instant> {
        let left = seconds.checked_sub(self.seconds).filter(|left| *left > 0)?;
        Some(self.instant + Duration::from_secs(left).min(TTL))
    }
}

#[cfg(test)]
mod tests;
