//! What each share was last time.
use std::{collections::BTreeMap, sync::Arc};

use cardume_content::Cid;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

/// Name of the share to the binary CID of its root.
const SHARES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("node_shares");
/// Names of the shares that were file systems of their own.
const MOUNTED: TableDefinition<'_, &str, ()> = TableDefinition::new("node_shares_mounted");

/// A share as it was found last.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) cid: Cid,
    /// Whether a file system was mounted at its path.
    pub(crate) mounted: bool,
}

pub(crate) struct Known(pub(crate) Arc<Database>);

impl Known {
    /// What was shared last time; nothing, if that cannot be read.
    pub(crate) fn load(&self) -> BTreeMap<String, Last> {
        self.read().unwrap_or_else(|error| {
            tracing::warn!(%error, "the list of configured shares could not be read");
            BTreeMap::new()
        })
    }

    fn read(&self) -> Result<BTreeMap<String, Last>, redb::Error> {
        let transaction = self.0.begin_read()?;
        let table = match transaction.open_table(SHARES) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
            table => table?,
        };
        let mounts = match transaction.open_table(MOUNTED) {
            Err(TableError::TableDoesNotExist(_)) => None,
            mounts => Some(mounts?),
        };
        let mut shares = BTreeMap::new();
        for row in table.iter()? {
            let (name, cid) = row?;
            let name = name.value();
            let mounted = match &mounts {
                Some(mounts) => mounts.get(name)?.is_some(),
                None => false,
            };
            if let Ok(cid) = Cid::from_bytes(cid.value()) {
                shares.insert(name.to_owned(), Last { cid, mounted });
            }
        }
        Ok(shares)
    }

    pub(crate) fn remember(&self, name: &str, last: Option<Last>) -> Result<(), redb::Error> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(SHARES)?;
            match last {
                Some(last) => drop(table.insert(name, last.cid.to_bytes().as_slice())?),
                None => drop(table.remove(name)?),
            }
            let mut mounts = transaction.open_table(MOUNTED)?;
            match last.is_some_and(|last| last.mounted) {
                true => drop(mounts.insert(name, ())?),
                false => drop(mounts.remove(name)?),
            }
        }
        Ok(transaction.commit()?)
    }
}
