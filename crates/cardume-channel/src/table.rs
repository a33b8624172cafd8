//! Records and decisions that survive a restart. Every method blocks on the disk.
use std::sync::Arc;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use crate::{Id, Record};

/// Channel and number, each in its order → the record.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("channel_records");
/// Name of a follow → version, number that is held, number that `on_update` was run for; 0 for none.
const FOLLOWS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("channel_follows");

/// The newest records of a channel that are kept, to go back to.
const KEPT: usize = 32;
/// The first byte of a row of `channel_follows`.
const VERSION: u8 = 1;

/// What was decided about a follow, and what was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FollowRow {
    /// The number it is held at until it is told otherwise.
    pub(crate) held: Option<u64>,
    /// The number that `on_update` was run for last.
    pub(crate) told: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Table(Arc<Database>);

impl Table {
    /// Makes the tables.
    pub(crate) fn open(database: Arc<Database>) -> Result<Self, redb::Error> {
        let write = database.begin_write()?;
        write.open_table(RECORDS)?;
        write.open_table(FOLLOWS)?;
        write.commit()?;
        Ok(Self(database))
    }

    /// The records of a channel that are kept, oldest first. A row that is damaged is left out.
    pub(crate) fn records(&self, channel: Id) -> Result<Vec<Record>, redb::Error> {
        let table = self.0.begin_read()?.open_table(RECORDS)?;
        let (first, last) = (key(channel, 0), key(channel, u64::MAX));
        let mut records = Vec::new();
        for row in table.range(first.as_slice()..=last.as_slice())? {
            let (_, row) = row?;
            match Record::decode(row.value()) {
                Ok(record) if record.channel() == channel => records.push(record),
                _ => tracing::warn!(%channel, "a stored record is damaged and left out"),
            }
        }
        Ok(records)
    }

    /// Keeps a record, durably, and lets go of those that are too many.
    pub(crate) fn keep(&self, record: &Record) -> Result<(), redb::Error> {
        let channel = record.channel();
        let mut write = self.0.begin_write()?;
        write.set_quick_repair(true);
        {
            let mut table = write.open_table(RECORDS)?;
            table.insert(key(channel, record.number()).as_slice(), record.bytes())?;
            let (first, last) = (key(channel, 0), key(channel, u64::MAX));
            let mut keys = Vec::new();
            for row in table.range(first.as_slice()..=last.as_slice())? {
                keys.push(row?.0.value().to_vec());
            }
            let old = keys.len().saturating_sub(KEPT);
            for key in keys.iter().take(old) {
                table.remove(key.as_slice())?;
            }
        }
        write.commit()?;
        Ok(())
    }

    pub(crate) fn follow(&self, name: &str) -> Result<FollowRow, redb::Error> {
        let table = match self.0.begin_read()?.open_table(FOLLOWS) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(FollowRow::default()),
            table => table?,
        };
        let row = table.get(name)?;
        Ok(row.and_then(|row| decode(row.value())).unwrap_or_default())
    }

    /// Writes down what is decided about a follow, durably.
    pub(crate) fn change_follow(
        &self,
        name: &str,
        change: impl FnOnce(&mut FollowRow),
    ) -> Result<FollowRow, redb::Error> {
        let mut write = self.0.begin_write()?;
        write.set_quick_repair(true);
        let row = {
            let mut table = write.open_table(FOLLOWS)?;
            let mut row = table
                .get(name)?
                .and_then(|row| decode(row.value()))
                .unwrap_or_default();
            change(&mut row);
            let mut bytes = vec![VERSION];
            bytes.extend(row.held.unwrap_or(0).to_be_bytes());
            bytes.extend(row.told.unwrap_or(0).to_be_bytes());
            table.insert(name, bytes.as_slice())?;
            row
        };
        write.commit()?;
        Ok(row)
    }
}

fn key(channel: Id, number: u64) -> Vec<u8> {
    let mut key = channel.as_bytes().to_vec();
    key.extend(number.to_be_bytes());
    key
}

fn decode(row: &[u8]) -> Option<FollowRow> {
    let (version, rest) = row.split_first()?;
    let (held, rest) = rest.split_first_chunk::<8>()?;
    let told = rest.first_chunk::<8>()?;
    let number = |bytes: &[u8; 8]| Some(u64::from_be_bytes(*bytes)).filter(|number| *number > 0);
    (*version == VERSION).then(|| FollowRow {
        held: number(held),
        told: number(told),
    })
}
