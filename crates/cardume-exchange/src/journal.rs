//! Fetches that go on by themselves after the node was stopped or killed.
use std::{path::PathBuf, sync::Arc, time::Duration};

use cardume_content::Cid;
use cardume_origin::Address;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::{Destination, FetchRequest};

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("exchange_fetches");
/// Rows read at the start; a database with more has been written by something else.
const MAX_ROWS: usize = 4096;
/// How long a fetch that goes on by itself looks for somebody who has it.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// One fetch, as it is written down.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    version: u8,
    cid: Cid,
    path: Vec<String>,
    peers: Vec<String>,
    /// Bytes of the destination; none for the store.
    destination: Option<PathBuf>,
    force: bool,
    only: Vec<String>,
    name: Option<String>,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    allow: Option<Vec<String>>,
}

/// The table of fetches to go on with. Every method blocks on the disk.
#[derive(Clone)]
pub(crate) struct Journal {
    database: Arc<Database>,
}

impl Journal {
    pub(crate) const fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Writes a fetch down under the next free number, durably.
    pub(crate) fn add(&self, request: &FetchRequest) -> Result<u64, redb::Error> {
        let row = Row::of(request);
        let row =
            serde_ipld_dagcbor::to_vec(&row).map_err(|error| redb::Error::Corrupted(error.to_string()))?;
        let mut write = self.database.begin_write()?;
        write.set_quick_repair(true);
        let key = {
            let mut table = write.open_table(TABLE)?;
            let last = table.last()?.map_or(0, |(key, _)| key.value());
            table.insert(last + 1, row.as_slice())?;
            last + 1
        };
        write.commit()?;
        Ok(key)
    }

    /// Takes a fetch off the list.
    pub(crate) fn remove(&self, key: u64) -> Result<(), redb::Error> {
        let mut write = self.database.begin_write()?;
        write.set_quick_repair(true);
        write.open_table(TABLE)?.remove(key)?;
        write.commit()?;
        Ok(())
    }

    /// Reads what was not finished; rows that cannot be read are left out.
    pub(crate) fn load(&self) -> Result<Vec<(u64, FetchRequest)>, redb::Error> {
        let read = self.database.begin_read()?;
        let table = match read.open_table(TABLE) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut requests = Vec::new();
        for row in table.iter()?.take(MAX_ROWS) {
            let (key, row) = row?;
            match serde_ipld_dagcbor::from_slice::<Row>(row.value()) {
                Ok(row) => requests.push((key.value(), row.into_request())),
                Err(error) => tracing::warn!(%error, "an unfinished fetch cannot be read and is left"),
            }
        }
        Ok(requests)
    }
}

impl Row {
    fn of(request: &FetchRequest) -> Self {
        let (destination, force) = match &request.destination {
            Destination::Store => (None, false),
            Destination::Path { path, force } => (Some(path.clone()), *force),
        };
        Self {
            version: 1,
            cid: request.cid,
            path: request.path.clone(),
            peers: request.peers.iter().map(ToString::to_string).collect(),
            destination,
            force,
            only: request.only.clone(),
            name: request.name.clone(),
            origins: request.origins.iter().map(Address::to_text).collect(),
            allow: request.allow.clone(),
        }
    }

    fn into_request(self) -> FetchRequest {
        FetchRequest {
            cid: self.cid,
            path: self.path,
            peers: self.peers.iter().filter_map(|peer| peer.parse().ok()).collect(),
            destination: match self.destination {
                None => Destination::Store,
                Some(path) => Destination::Path {
                    path,
                    force: self.force,
                },
            },
            origins: self
                .origins
                .iter()
                .filter_map(|origin| origin.parse().ok())
                .collect(),
            link_within: None,
            only: self.only,
            name: self.name,
            allow: self.allow,
            deadline: Some(PATIENCE),
            persist: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use cardume_content::Hash;

    use super::*;

    #[test]
    fn what_was_written_down_is_found_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let database = Arc::new(Database::create(dir.path().join("db")).unwrap());
        let journal = Journal::new(database);
        assert!(journal.load().unwrap().is_empty());
        let destination = Destination::Path {
            path: "/tmp/x".into(),
            force: true,
        };
        let mut request = FetchRequest::new(Cid::blob(Hash::of(b"x")), destination);
        request.only = vec!["*.mkv".into()];
        request.allow = Some(vec!["group:family".into()]);
        request.persist = true;
        let key = journal.add(&request).unwrap();
        let other = journal.add(&request).unwrap();
        assert_ne!(key, other);
        journal.remove(other).unwrap();
        request.deadline = Some(PATIENCE);
        assert_eq!(journal.load().unwrap(), vec![(key, request)]);
    }
}
