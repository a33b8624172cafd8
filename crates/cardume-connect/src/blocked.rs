//! Peers that the operator has blocked, in a file of their own: a peer id a line.
//!
//! The address book would not do: what it loses costs nothing, and a block that is lost lets somebody in.
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardume_behaviour::Closed;
use libp2p_identity::PeerId;
use tokio::task::spawn_blocking;

use crate::{replace::replace, text::tame};

/// Peers blocked at once. Ids cost nothing to make, so blocking more of them helps nobody: that takes a closed network.
pub(crate) const MAX_BLOCKED: usize = 4096;
/// A longer file was not written by us: as many ids with their line ends take a quarter of it.
const MAX_BYTES: u64 = 1 << 20;
/// The first line, for who opens the file.
const HEAD: &str = "# Peers that this node refuses, one id a line. Change it with `cardume peer block` and `unblock`,\n\
                    # or by hand while the node is stopped.\n";

/// Why a peer is not blocked, or still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The node is stopping.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// There are too many.
    #[error("{MAX_BLOCKED} peers are blocked already; unblock some")]
    Full,
    /// The file cannot be written.
    #[error("{}: {source}; the change lasts only until the node stops", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The blocked peers, and where they are kept.
#[derive(Debug)]
pub(crate) struct Blocked {
    path: PathBuf,
    peers: Mutex<BTreeSet<PeerId>>,
    /// Those refused until restart only, which no operator asked for.
    refused: Mutex<BTreeSet<PeerId>>,
    /// Held while the file is written.
    writing: Mutex<()>,
}

impl Blocked {
    /// Reads the file at `path`; without one, nobody is blocked.
    ///
    /// # Errors
    /// With the line, when it cannot be read: to start without it would let blocked peers in.
    pub(crate) fn load(path: PathBuf) -> Result<Self, String> {
        let peers = read(&path)
            .map_err(|reason| format!("{reason}; correct it, or move the file away to unblock everybody"))?;
        Ok(Self {
            path,
            peers: Mutex::new(peers),
            refused: Mutex::default(),
            writing: Mutex::new(()),
        })
    }

    pub(crate) fn all(&self) -> BTreeSet<PeerId> {
        lock(&self.peers).clone()
    }

    pub(crate) fn refused(&self) -> BTreeSet<PeerId> {
        lock(&self.refused).clone()
    }

    pub(crate) fn has(&self, peer: &PeerId) -> bool {
        lock(&self.peers).contains(peer) || lock(&self.refused).contains(peer)
    }

    /// Notes a peer that is refused until restart.
    pub(crate) fn refuse(&self, peer: PeerId) {
        let mut refused = lock(&self.refused);
        if refused.len() < MAX_BLOCKED {
            refused.insert(peer);
        }
    }

    /// Forgets that a peer was refused; whether it was.
    pub(crate) fn forgive(&self, peer: &PeerId) -> bool {
        lock(&self.refused).remove(peer)
    }

    /// Whether one more can be blocked.
    pub(crate) fn has_room_for(&self, peer: &PeerId) -> bool {
        let peers = lock(&self.peers);
        peers.contains(peer) || peers.len() < MAX_BLOCKED
    }

    /// Adds or takes away one peer; whether that changed anything. It is on the disk when this returns.
    ///
    /// # Cancel safety
    /// The change is made whether this is waited for or not.
    pub(crate) async fn change(self: Arc<Self>, peer: PeerId, block: bool) -> Result<bool, BlockError> {
        spawn_blocking(move || self.write(peer, block))
            .await
            .unwrap_or_else(|_| Err(Closed.into()))
    }

    fn write(&self, peer: PeerId, block: bool) -> Result<bool, BlockError> {
        let _writing = lock(&self.writing);
        let peers = {
            let mut peers = lock(&self.peers);
            let changed = if block {
                peers.insert(peer)
            } else {
                peers.remove(&peer)
            };
            if !changed {
                return Ok(false);
            }
            peers.clone()
        };
        let lines = peers.iter().map(|peer| format!("{peer}\n"));
        let text = HEAD.to_owned() + &lines.collect::<String>();
        replace(&self.path, |file| file.write_all(text.as_bytes())).map_err(|source| BlockError::Io {
            path: self.path.clone(),
            source,
        })?;
        Ok(true)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read(path: &Path) -> Result<BTreeSet<PeerId>, String> {
    let mut text = String::new();
    let taken = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    match taken {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
        Ok(_) => {}
    }
    let mut peers = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = || format!("{}:{}", path.display(), index + 1);
        let peer = line
            .parse()
            .map_err(|_| format!("{}: \"{}\" is no peer id", at(), tame(line)))?;
        peers.insert(peer);
        if peers.len() > MAX_BLOCKED {
            return Err(format!("{}: more than {MAX_BLOCKED} peers", at()));
        }
    }
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn who_is_blocked_stays_blocked_until_unblocked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocked");
        let (one, other) = (PeerId::random(), PeerId::random());
        let blocked = Arc::new(Blocked::load(path.clone()).unwrap());
        assert!(!path.exists());
        assert!(blocked.clone().change(one, true).await.unwrap());
        assert!(blocked.clone().change(other, true).await.unwrap());
        assert!(!blocked.clone().change(one, true).await.unwrap(), "it is already");
        let again = Arc::new(Blocked::load(path.clone()).unwrap());
        assert_eq!(again.all(), BTreeSet::from([one, other]));
        assert!(again.clone().change(one, false).await.unwrap());
        assert!(!again.clone().change(one, false).await.unwrap());
        assert_eq!(Blocked::load(path).unwrap().all(), BTreeSet::from([other]));
    }

    #[test]
    fn a_list_that_cannot_be_read_is_told_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blocked");
        let peer = PeerId::random();
        fs::write(&path, format!("# a word\n\n  {peer}\r\n")).unwrap();
        assert!(Blocked::load(path.clone()).unwrap().has(&peer));
        fs::write(&path, format!("{peer}\nno\u{1b}id\n")).unwrap();
        let error = Blocked::load(path.clone()).unwrap_err();
        assert!(
            error.contains("blocked:2: ") && error.contains("move the file away"),
            "{error}"
        );
        assert!(!error.contains('\u{1b}'), "{error:?}");
        fs::write(&path, [0xff]).unwrap();
        Blocked::load(path.clone()).unwrap_err();
        let many: String = (0..=MAX_BLOCKED)
            .map(|_| format!("{}\n", PeerId::random()))
            .collect();
        fs::write(&path, many).unwrap();
        assert!(Blocked::load(path).unwrap_err().contains("more than"));
    }

    #[tokio::test]
    async fn a_block_that_cannot_be_kept_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let blocked = Arc::new(Blocked::load(directory.path().join("gone/blocked")).unwrap());
        let error = blocked.clone().change(PeerId::random(), true).await.unwrap_err();
        assert!(error.to_string().contains("until the node stops"), "{error}");
    }
}
