//! Which root each share had last time.
use std::{collections::BTreeMap, sync::Arc};

use cardume_content::Cid;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

/// Name of the share to the binary CID of its root.
const SHARES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("node_shares");

pub(crate) struct Known(pub(crate) Arc<Database>);

impl Known {
    /// What was shared last time; nothing, if that cannot be read.
    pub(crate) fn load(&self) -> BTreeMap<String, Cid> {
        self.read().unwrap_or_else(|error| {
            tracing::warn!(%error, "the list of configured shares could not be read");
            BTreeMap::new()
        })
    }

    fn read(&self) -> Result<BTreeMap<String, Cid>, redb::Error> {
        let transaction = self.0.begin_read()?;
        let table = match transaction.open_table(SHARES) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
            table => table?,
        };
        let mut shares = BTreeMap::new();
        for row in table.iter()? {
            let (name, cid) = row?;
            if let Ok(cid) = Cid::from_bytes(cid.value()) {
                shares.insert(name.value().to_owned(), cid);
            }
        }
        Ok(shares)
    }

    pub(crate) fn remember(&self, name: &str, cid: Option<Cid>) -> Result<(), redb::Error> {
        let transaction = self.0.begin_write()?;
        {
            let mut table = transaction.open_table(SHARES)?;
            match cid {
                Some(cid) => drop(table.insert(name, cid.to_bytes().as_slice())?),
                None => drop(table.remove(name)?),
            }
        }
        Ok(transaction.commit()?)
    }
}
