//! Places on the disk where some content is to be.
//!
//! What is there already is read, and taken in if it is right. What is something else is never overwritten.

use std::{
    collections::hash_map::RandomState,
    fs::Metadata,
    hash::BuildHasher,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_content::{Cid, Link};
use cardume_exchange::{FetchError, FetchRequest, Fetched, Progress};
use cardume_store::{Adopted, Root, Store, WriteError};
use tokio_util::sync::CancellationToken;

use crate::care::Until;

/// Pause after a failure; doubled up to the last, and a quarter more or less, so that a fleet does not ask in step.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(crate) const LAST_PAUSE: Duration = Duration::from_secs(60);
/// Time between two looks at whether a place is still as it was.
pub(crate) const LOOK: Duration = Duration::from_secs(10);
/// Time after which a place is looked through whole, though it looks as it was.
pub(crate) const LOOK_THROUGH: Duration = Duration::from_secs(3_600);

/// Looks at places and fills them.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) store: Store,
    pub(crate) exchange: cardume_exchange::Handle,
    pub(crate) stop: CancellationToken,
}

/// One thing that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Want {
    pub(crate) link: Link,
    pub(crate) to: PathBuf,
    /// Who may have it; everybody if not set.
    pub(crate) allow: Option<Vec<String>>,
}

/// What is at the place of something wanted.
pub(crate) enum There {
    Nothing,
    /// All of it, with so many bytes.
    Right(u64),
    /// Something else: what.
    Wrong(String),
    /// It cannot be told: why.
    Unsure(String),
}

/// What a file or a directory looks like from outside.
pub(crate) type Look = Option<(u64, u64, i64, i64)>;

impl Places {
    /// Looks at what is there, and takes it in if it is right.
    pub(crate) async fn there(&self, want: &Want) -> There {
        if look(&want.to).await.is_none() {
            return There::Nothing;
        }
        let unsure = |error: FetchError| {
            let to = want.to.display();
            There::Unsure(format!(
                "{to} is there, and what it should be is not known: {error}"
            ))
        };
        let link = &want.link;
        let mut cid = link.cid;
        if !link.path.is_empty() {
            match self.resolve(link, Path::new("")).await {
                Ok(found) => cid = found,
                Err(error) => return unsure(error),
            }
        }
        let mut asked = None;
        loop {
            let (path, what) = match self.adopt(cid, want).await {
                Ok(Adopted::All { size, .. }) => return There::Right(size),
                Ok(Adopted::Unknown(path)) if asked.as_ref() != Some(&path) => {
                    // Reading a directory of the tree keeps it.
                    if let Err(error) = self.resolve(link, &path).await {
                        return unsure(error);
                    }
                    asked = Some(path);
                    continue;
                }
                Ok(Adopted::Unknown(path)) => (path, "cannot be read"),
                Ok(Adopted::Other(path)) => (path, "has other content"),
                Ok(Adopted::Missing(path)) => (path, "is missing"),
                Err(error) => return There::Unsure(error.to_string()),
            };
            let path = path.display();
            return There::Wrong(format!(
                "{path} {what}, and nothing is overwritten; move it away, or mend what was fetched before: \
                 cardume file repair {cid}"
            ));
        }
    }

    /// What is at a path below that of the link.
    async fn resolve(&self, link: &Link, below: &Path) -> Result<Cid, FetchError> {
        let names = names(&link.path, below);
        let found = self.exchange.resolve(link.cid, names, link.peers.clone(), None);
        Ok(found.await?.cid)
    }

    /// Takes in what is there, and keeps it as a root, if it is right.
    async fn adopt(&self, cid: Cid, want: &Want) -> Result<Adopted, WriteError> {
        let (to, until) = (want.to.clone(), Until(self.stop.clone()));
        let (name, allow) = (want.link.name.clone(), want.allow.clone());
        let store = match allow.clone() {
            Some(allow) => self.store.guarding_for(cid, allow),
            None => self.store.clone(),
        };
        let adopt = move || -> Result<(Adopted, bool), WriteError> {
            let adopted = store.adopt(cid, &to, &until)?;
            let Adopted::All { size, files } = adopted else {
                return Ok((adopted, false));
            };
            let before = store.root(cid)?;
            if let Some(root) = before.filter(|root| root.path.as_deref() == Some(&to)) {
                store.settle()?;
                if root.allow == allow || !store.is_fetched(cid)? {
                    return Ok((adopted, root.announce));
                }
                // Nothing but this configuration gives what was fetched a list, or takes it away.
                let announce = allow.is_none();
                store.set_allow(cid, allow, announce)?;
                return Ok((adopted, announce));
            }
            let of_path = to.file_name().map(|name| name.to_string_lossy().into_owned());
            store.add_fetched(Root {
                cid,
                name: name.or(of_path).unwrap_or_else(|| cid.to_string()),
                size,
                files,
                path: Some(to),
                pinned: false,
                announce: allow.is_none(),
                allow,
                added: now(),
            })?;
            // What is shared as well is announced or not as that says.
            let announce = store.root(cid)?.is_some_and(|root| root.announce);
            Ok((adopted, announce))
        };
        let (adopted, announce) = tokio::task::spawn_blocking(adopt)
            .await
            .expect("adopting files does not panic")?;
        if announce {
            self.exchange.announce(cid);
        }
        Ok(adopted)
    }

    /// Fetches it to its end, and tells how far it is.
    pub(crate) async fn fetch(
        &self,
        request: FetchRequest,
        mut told: impl FnMut(&Progress),
    ) -> Result<Fetched, FetchError> {
        let mut fetch = self.exchange.fetch(request);
        let mut progress = fetch.progress();
        loop {
            tokio::select! {
                biased;
                ended = fetch.ended() => return ended,
                Ok(()) = progress.changed() => told(&progress.borrow_and_update()),
            }
        }
    }
}

/// The names of a path below that of a link.
fn names(path: &[String], below: &Path) -> Vec<String> {
    let below = below.iter().map(|name| name.to_string_lossy().into_owned());
    path.iter().cloned().chain(below).collect()
}

/// What is at a path, if anything is.
pub(crate) async fn look(path: &Path) -> Look {
    let seen = |found: Metadata| (found.ino(), found.size(), found.mtime(), found.mtime_nsec());
    tokio::fs::symlink_metadata(path).await.ok().map(seen)
}

/// A quarter more or less.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1_000;
    pause.mul_f64(0.75 + random as f64 / 2_000.0)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
