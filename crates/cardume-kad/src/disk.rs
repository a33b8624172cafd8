//! The rows of the DHT in the node's database.
//!
//! Two tables, each row a version byte and a CBOR value. Times are wall-clock seconds, because no other
//! clock survives a restart; they are turned back into instants, at most 48 h ahead, when read.
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p_identity::PeerId;
use libp2p_kad::{ProviderRecord, Record, RecordKey as Key};
use multiaddr::Multiaddr;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    config::{MAX_KEY, MAX_VALUE, TTL},
    journal::Change,
    records::{Held, Limits, MAX_ADDRESSES},
};

/// Key → version, [`ValueRow`].
const VALUES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("kad_values");

/// Key and provider → version, [`ProviderRow`].
const PROVIDERS: TableDefinition<'_, (&[u8], &[u8]), &[u8]> = TableDefinition::new("kad_providers");

/// The first byte of every row; a row of another version is dropped, which costs a hint.
const VERSION: u8 = 1;

/// The longest row that was ever written: a value and the words around it.
const MAX_ROW: usize = MAX_VALUE + 4096;

#[derive(Serialize, Deserialize)]
struct ValueRow {
    value: ByteBuf,
    publisher: Option<ByteBuf>,
    source: ByteBuf,
    expires: u64,
}

#[derive(Serialize, Deserialize)]
struct ProviderRow {
    addresses: Vec<ByteBuf>,
    expires: u64,
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
}

/// What an earlier run has kept.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) values: Vec<Held>,
    pub(crate) providers: Vec<ProviderRecord>,
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
        for change in changes {
            match change {
                Change::PutValue(held) => {
                    values.insert(held.record.key.as_ref(), value_row(held, &clock).as_slice())?;
                }
                Change::DropValue(key) => {
                    values.remove(key.as_ref())?;
                }
                Change::PutProvider(record) => {
                    let peer = record.provider.to_bytes();
                    let id = (record.key.as_ref(), peer.as_slice());
                    providers.insert(id, provider_row(record, &clock).as_slice())?;
                }
                Change::DropProvider(key, peer) => {
                    providers.remove((key.as_ref(), peer.to_bytes().as_slice()))?;
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
        for row in rows {
            match row {
                RowId::Value(key) => {
                    values.remove(key.as_slice())?;
                }
                RowId::Provider(key, peer) => {
                    providers.remove((key.as_slice(), peer.as_slice()))?;
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
    let source = peer(&row.source)?;
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
) -> Result<Option<ProviderRecord>, Damaged> {
    let row: ProviderRow = decode(key, row)?;
    let provider = peer(provider)?;
    let addresses = row.addresses.into_iter().take(MAX_ADDRESSES);
    let addresses = addresses
        .map(|bytes| Multiaddr::try_from(bytes.into_vec()).map_err(|_| Damaged))
        .collect::<Result<_, _>>()?;
    Ok(clock.instant(row.expires).map(|expires| ProviderRecord {
        key: Key::new(&key),
        provider,
        expires: Some(expires),
        addresses,
    }))
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
        source: ByteBuf::from(held.source.to_bytes()),
        expires: clock.seconds(held.record.expires),
    })
}

fn provider_row(record: &ProviderRecord, clock: &Clock) -> Vec<u8> {
    encode(&ProviderRow {
        addresses: record
            .addresses
            .iter()
            .map(|a| ByteBuf::from(a.to_vec()))
            .collect(),
        expires: clock.seconds(record.expires),
    })
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
