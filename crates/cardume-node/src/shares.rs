//! What configuration shares: brought in line with `[share.*]` at every start.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use cardume_content::Cid;
use cardume_store::{Mode, Root, Store};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tokio_util::sync::CancellationToken;

use crate::config::Share;

/// Name of the share to the binary CID of its root: what was shared for it last time.
const SHARES: TableDefinition<&str, &[u8]> = TableDefinition::new("node_shares");

/// Shares what configuration names, and stops sharing what it names no longer.
pub(crate) struct Shares {
    pub(crate) wanted: BTreeMap<String, Share>,
    pub(crate) mode: Mode,
    pub(crate) store: Store,
    pub(crate) exchange: cardume_exchange::Handle,
    pub(crate) database: Arc<Database>,
    pub(crate) stop: CancellationToken,
}

impl Shares {
    /// Works through all of them once; what fails is logged with its name, and the others go on.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        let before = this.clone().blocking(|this| this.load()).await;
        for (name, cid) in before.iter().filter(|(name, _)| !this.wanted.contains_key(*name)) {
            tracing::info!(share = name, %cid, "no longer configured; not shared any more");
            this.forget(name, *cid).await;
        }
        for (name, share) in &this.wanted {
            if this.stop.is_cancelled() {
                return;
            }
            match this.take_in(name, share).await {
                Ok(cid) => {
                    if let Some(old) = before.get(name).filter(|old| **old != cid) {
                        this.forget_root(*old).await;
                    }
                    tracing::info!(share = name, %cid, path = %share.path.display(), "shared");
                }
                Err(error) => {
                    tracing::error!(share = name, path = %share.path.display(), error, "cannot be shared")
                }
            }
        }
    }

    async fn take_in(self: &Arc<Self>, name: &str, share: &Share) -> Result<Cid, String> {
        let (name, given) = (name.to_owned(), share.clone());
        let cid = self
            .clone()
            .blocking(move |this| this.import(&name, given))
            .await?;
        if share.announce {
            self.exchange.announce(cid);
        } else {
            // It may have been announced until the configuration changed.
            self.exchange.withdraw(cid);
        }
        Ok(cid)
    }

    fn import(&self, name: &str, Share { path, announce }: Share) -> Result<Cid, String> {
        let until = Until(self.stop.clone());
        let imported = self
            .store
            .import(&path, self.mode, &until)
            .map_err(|error| error.to_string())?;
        for (path, reason) in imported.skipped.iter().take(10) {
            tracing::warn!(share = name, path = %path.display(), reason, "left out");
        }
        let added = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        let root = Root {
            cid: imported.cid,
            name: path
                .file_name()
                .map_or_else(|| name.to_owned(), |file| file.to_string_lossy().into_owned()),
            size: imported.size,
            files: imported.files,
            path: (self.mode == Mode::InPlace).then_some(path),
            pinned: true,
            announce,
            added,
        };
        self.store.add_root(root).map_err(|error| error.to_string())?;
        self.remember(name, Some(imported.cid))
            .map_err(|error| error.to_string())?;
        Ok(imported.cid)
    }

    async fn forget(self: &Arc<Self>, name: &str, cid: Cid) {
        self.forget_root(cid).await;
        let name = name.to_owned();
        if let Err(error) = self
            .clone()
            .blocking(move |this| this.remember(&name, None))
            .await
        {
            tracing::warn!(%error, "the list of configured shares could not be written");
        }
    }

    async fn forget_root(self: &Arc<Self>, cid: Cid) {
        self.exchange.withdraw(cid);
        if let Err(error) = self
            .clone()
            .blocking(move |this| this.store.remove_root(cid))
            .await
        {
            tracing::warn!(%cid, %error, "a share could not be forgotten");
        }
    }

    /// What was shared last time; nothing, if that cannot be read.
    fn load(&self) -> BTreeMap<String, Cid> {
        let read = || -> Result<BTreeMap<String, Cid>, redb::Error> {
            let transaction = self.database.begin_read()?;
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
        };
        read().unwrap_or_else(|error| {
            tracing::warn!(%error, "the list of configured shares could not be read");
            BTreeMap::new()
        })
    }

    fn remember(&self, name: &str, cid: Option<Cid>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(SHARES)?;
            match cid {
                Some(cid) => drop(table.insert(name, cid.to_bytes().as_slice())?),
                None => drop(table.remove(name)?),
            }
        }
        Ok(transaction.commit()?)
    }

    async fn blocking<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        tokio::task::spawn_blocking(move || work(&self))
            .await
            .expect("taking in a share does not panic")
    }
}

/// An import that ends when the node does.
struct Until(CancellationToken);

impl cardume_store::Progress for Until {
    fn advance(&self, _: u64, _: u64) -> bool {
        !self.0.is_cancelled()
    }
}
