//! What configuration wants fetched: brought to its place, and brought back when it goes missing.
//!
//! What is there already is read, and taken in if it is right. What is something else is never overwritten.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    fs::Metadata,
    hash::BuildHasher,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_api::{WantedFetch, WantedState};
use cardume_content::{Cid, Link};
use cardume_control::Wanted as Board;
use cardume_exchange::{Destination, FetchError, FetchRequest};
use cardume_store::{Adopted, Root, Store, WriteError};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use crate::{StartError, care::Until, config::Fetch};

/// Pause after a failure; doubled up to the last, and a quarter more or less, so that a fleet does not ask in step.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);
/// Time between two looks at whether a place is still as it was.
const LOOK: Duration = Duration::from_secs(10);
/// Time after which a place is looked through whole, though it looks as it was.
const LOOK_THROUGH: Duration = Duration::from_secs(3_600);

/// All that configuration wants.
pub(crate) struct Fetches {
    wanted: BTreeMap<String, Want>,
    store: Store,
    exchange: cardume_exchange::Handle,
    board: Board,
    stop: CancellationToken,
}

/// One thing that is wanted.
#[derive(Debug, Clone)]
struct Want {
    link: Link,
    to: PathBuf,
}

/// What is at the place of something wanted.
enum There {
    Nothing,
    /// All of it, with so many bytes.
    Right(u64),
    /// Something else: what.
    Wrong(String),
    /// It cannot be told: why.
    Unsure(String),
}

/// What a file or a directory looks like from outside.
type Look = Option<(u64, u64, i64, i64)>;

impl Fetches {
    /// Reads the links.
    ///
    /// # Errors
    /// `Config` for one that is none.
    pub(crate) fn new(
        wanted: &BTreeMap<String, Fetch>,
        store: Store,
        exchange: cardume_exchange::Handle,
        board: Board,
        stop: CancellationToken,
    ) -> Result<Self, StartError> {
        let read = |(name, fetch): (&String, &Fetch)| {
            let link: Link = fetch.from.parse().map_err(|error| StartError::Config {
                key: "fetch",
                reason: format!("{name}.from is no link: {error}"),
            })?;
            let to = fetch.to.clone();
            Ok((name.clone(), Want { link, to }))
        };
        let wanted = wanted.iter().map(read).collect::<Result<_, StartError>>()?;
        Ok(Self {
            wanted,
            store,
            exchange,
            board,
            stop,
        })
    }

    /// Brings everything to its place and keeps it there, until the node stops.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        for (name, want) in &this.wanted {
            this.board.set(WantedFetch {
                name: name.clone(),
                cid: want.link.cid,
                to: want.to.to_string_lossy().into_owned(),
                state: WantedState::Wanted,
                done: 0,
                size: want.link.size.unwrap_or(0),
                problem: None,
            });
        }
        let mut all: FuturesUnordered<_> = this
            .wanted
            .iter()
            .map(|(name, want)| this.converge(name, want))
            .collect();
        tokio::select! {
            () = this.stop.cancelled() => {}
            () = async { while all.next().await.is_some() {} } => {}
        }
    }

    /// Brings one thing to its place again and again.
    async fn converge(&self, name: &str, want: &Want) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = look(&want.to).await;
            let (ended, is_wrong) = match self.there(want).await {
                There::Right(size) => (Ok(size), false),
                There::Wrong(reason) => (Err(reason), true),
                There::Unsure(reason) => (Err(reason), false),
                There::Nothing => match self.fetch(name, want).await {
                    Err(FetchError::Closed) => return,
                    // Somebody was faster: what it is will be seen.
                    Err(FetchError::Exists { .. }) => continue,
                    ended => (ended.map_err(|error| error.to_string()), false),
                },
            };
            match ended {
                Ok(size) => {
                    tracing::info!(fetch = name, cid = %want.link.cid, to = %want.to.display(), "present");
                    self.board.change(name, |row| {
                        (row.state, row.done, row.size, row.problem) =
                            (WantedState::Present, size, size, None);
                    });
                    pause = FIRST_PAUSE;
                    self.changed(&want.to).await;
                }
                Err(reason) => {
                    tracing::warn!(fetch = name, to = %want.to.display(), reason, "not there yet");
                    self.board.change(name, |row| {
                        (row.state, row.problem) = (WantedState::Failed, Some(reason));
                    });
                    if is_wrong && look(&want.to).await == before && before.is_some() {
                        // Reading it again would say the same.
                        self.changed(&want.to).await;
                    } else {
                        tokio::time::sleep(jittered(pause)).await;
                        pause = (pause * 2).min(LAST_PAUSE);
                    }
                }
            }
        }
    }

    /// Waits until a place looks otherwise, or is due to be looked through.
    async fn changed(&self, to: &Path) {
        let before = look(to).await;
        let due = tokio::time::Instant::now() + LOOK_THROUGH;
        while tokio::time::Instant::now() < due {
            tokio::time::sleep(LOOK).await;
            if look(to).await != before {
                return;
            }
        }
    }

    /// Looks at what is there, and takes it in if it is right.
    async fn there(&self, want: &Want) -> There {
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
        let (store, to, until) = (self.store.clone(), want.to.clone(), Until(self.stop.clone()));
        let name = want.link.name.clone();
        let adopt = move || -> Result<(Adopted, bool), WriteError> {
            let adopted = store.adopt(cid, &to, &until)?;
            let Adopted::All { size, files } = adopted else {
                return Ok((adopted, false));
            };
            let before = store.root(cid)?;
            if let Some(root) = before.filter(|root| root.path.as_deref() == Some(&to)) {
                store.settle()?;
                return Ok((adopted, root.announce));
            }
            let of_path = to.file_name().map(|name| name.to_string_lossy().into_owned());
            store.add_fetched(Root {
                cid,
                name: name.or(of_path).unwrap_or_else(|| cid.to_string()),
                size,
                files,
                path: Some(to),
                pinned: false,
                announce: true,
                allow: None,
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

    /// Fetches it, and tells how far it is; how many bytes it has.
    async fn fetch(&self, name: &str, want: &Want) -> Result<u64, FetchError> {
        let parent = want.to.parent().map(Path::to_owned).unwrap_or_default();
        if look(&parent).await.is_none() {
            let reason = "no such directory; make it, or mount what belongs there".into();
            return Err(FetchError::Io { path: parent, reason });
        }
        let link = &want.link;
        let destination = Destination::Path {
            path: want.to.clone(),
            force: false,
        };
        let request = FetchRequest {
            path: link.path.clone(),
            peers: link.peers.clone(),
            origins: cardume_exchange::origins(link),
            name: link.name.clone(),
            ..FetchRequest::new(link.cid, destination)
        };
        let mut fetch = self.exchange.fetch(request);
        let mut progress = fetch.progress();
        loop {
            tokio::select! {
                biased;
                ended = fetch.ended() => return ended.map(|fetched| fetched.size),
                Ok(()) = progress.changed() => {
                    let now = progress.borrow_and_update().clone();
                    self.board.change(name, |row| {
                        if now.size > 0 {
                            (row.state, row.done, row.size) = (WantedState::Fetching, now.done, now.size);
                        }
                    });
                }
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
async fn look(path: &Path) -> Look {
    let seen = |found: Metadata| (found.ino(), found.size(), found.mtime(), found.mtime_nsec());
    tokio::fs::symlink_metadata(path).await.ok().map(seen)
}

/// A quarter more or less.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 1_000;
    pause.mul_f64(0.75 + random as f64 / 2_000.0)
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
