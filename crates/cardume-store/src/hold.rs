//! Roots, and everything else that keeps content from being collected.
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use cardume_content::{Cid, Hash, Kind, manifest::Node};

use crate::{Inner, ReadError, Root, Store, WriteError, lock};

/// How long content that no root has held yet stays: the time between an upload and its becoming a root.
const GRACE: Duration = Duration::from_secs(3_600);
/// Content remembered as fresh. Beyond it the collection may take what is fresh and not held.
const FRESH: usize = 1 << 16;

/// What is kept though no root holds it.
#[derive(Debug, Default)]
pub(crate) struct Held {
    holds: HashMap<Cid, usize>,
    fresh: HashMap<Cid, Instant>,
    /// Moves whenever more may be reachable than before, so that a collection marks again.
    pub(crate) generation: u64,
}

impl Held {
    /// Keeps what has just come in.
    pub(crate) fn touch(&mut self, cid: Cid) {
        if self.fresh.len() >= FRESH {
            self.expire();
        }
        if self.fresh.len() < FRESH {
            self.fresh.insert(cid, Instant::now());
        }
        if cid.kind() == Kind::Directory {
            self.generation += 1;
        }
    }

    pub(crate) fn is_fresh(&self, hash: Hash) -> bool {
        self.fresh.contains_key(&Cid::blob(hash)) || self.fresh.contains_key(&Cid::directory(hash))
    }

    fn expire(&mut self) {
        self.fresh.retain(|_, since| since.elapsed() < GRACE);
    }

    /// What fetches and readers are at.
    pub(crate) fn held(&self) -> HashSet<Cid> {
        self.holds.keys().copied().collect()
    }

    /// What to mark from besides the roots.
    pub(crate) fn starts(&mut self) -> Vec<Cid> {
        self.expire();
        self.holds.keys().chain(self.fresh.keys()).copied().collect()
    }
}

/// Keeps everything below a content id from collection until it is dropped, whether it is here already or comes later.
#[must_use = "content is held only while this lives"]
pub struct Hold {
    inner: Arc<Inner>,
    cid: Cid,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = lock(&self.inner.held);
        if let Some(count) = held.holds.get_mut(&self.cid) {
            *count -= 1;
            if *count == 0 {
                held.holds.remove(&self.cid);
            }
        }
    }
}

impl Store {
    /// Keeps everything below `cid` from collection while a fetch or a reader is at it.
    pub fn hold(&self, cid: Cid) -> Hold {
        let _gate = self.inner.enter();
        let mut held = lock(&self.inner.held);
        *held.holds.entry(cid).or_default() += 1;
        held.generation += 1;
        Hold {
            inner: self.inner.clone(),
            cid,
        }
    }

    /// Lists the roots.
    pub fn roots(&self) -> Result<Vec<Root>, ReadError> {
        Ok(self.inner.tables.roots()?)
    }

    /// Finds a root.
    pub fn root(&self, cid: Cid) -> Result<Option<Root>, ReadError> {
        Ok(self.inner.tables.root(cid)?)
    }

    /// Keeps or replaces a root; durable when it returns, and what is pending with it.
    pub fn add_root(&self, root: Root) -> Result<(), WriteError> {
        let guards = root.allow.is_some();
        let write = |new: &HashSet<Hash>| self.inner.tables.put_root(root.clone(), None, new);
        self.inner.change_root(root.cid, guards, write).map(|_| ())
    }

    /// Keeps a root that was fetched when it was added, as [`add_root`](Self::add_root) does. If it lies in the store it goes when room
    /// is needed, unless it is pinned; one that the operator shares already stays as it is, and who may have it does.
    pub fn add_fetched(&self, root: Root) -> Result<(), WriteError> {
        let guards = root.allow.is_some();
        let write = |new: &HashSet<Hash>| self.inner.tables.put_root(root.clone(), Some(root.added), new);
        self.inner.change_root(root.cid, guards, write).map(|_| ())
    }

    /// Whether a root was fetched, and not shared by the operator.
    pub fn is_fetched(&self, cid: Cid) -> Result<bool, ReadError> {
        Ok(self.inner.tables.is_fetched(cid)?)
    }

    /// Forgets a root; its blobs go with the next collection unless another root holds them. Files in place are
    /// never touched. Returns whether there was one.
    pub fn remove_root(&self, cid: Cid) -> Result<bool, WriteError> {
        self.inner.forget_root(cid)
    }

    /// Pins or unpins a root; durable when it returns. Returns whether there is one.
    pub fn pin(&self, cid: Cid, pinned: bool) -> Result<bool, WriteError> {
        Ok(self.inner.tables.pin(cid, pinned)?)
    }
}

/// What to do about a directory whose manifest is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is on its way, or of no interest.
    Skip,
    /// What it holds cannot be known.
    Fail,
}

impl Inner {
    pub(crate) fn forget_root(&self, cid: Cid) -> Result<bool, WriteError> {
        let removed = self.tables.remove_root(cid)?;
        if removed {
            self.leave_root(cid);
            // What has been a root is not fresh any more: its space is wanted back now.
            let mut below = HashSet::new();
            self.reach([cid], Missing::Skip, &mut below)?;
            lock(&self.held)
                .fresh
                .retain(|cid, _| !below.contains(&cid.hash()));
            self.litter();
        }
        Ok(removed)
    }

    /// Waits for a step of the collection to end; none begins while the guard lives.
    pub(crate) fn enter(&self) -> std::sync::RwLockReadGuard<'_, ()> {
        self.gate
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Adds the hashes of `starts` and of everything below them to `below`.
    pub(crate) fn reach(
        &self,
        starts: impl IntoIterator<Item = Cid>,
        missing: Missing,
        below: &mut HashSet<Hash>,
    ) -> Result<(), ReadError> {
        let mut open: Vec<Cid> = starts.into_iter().collect();
        let mut seen = HashSet::new();
        while let Some(cid) = open.pop() {
            below.insert(cid.hash());
            if cid.kind() == Kind::Blob || !seen.insert(cid.hash()) {
                continue;
            }
            let manifest = match self.manifest(cid) {
                Ok(manifest) => manifest,
                Err(error @ (ReadError::Io { .. } | ReadError::Database(_))) => return Err(error),
                Err(_) if missing == Missing::Skip => continue,
                Err(error) => return Err(error),
            };
            for entry in manifest.entries() {
                match entry.node {
                    Node::File { cid, .. } => {
                        below.insert(cid.hash());
                    }
                    Node::Directory { cid, .. } => open.push(cid),
                    Node::Symlink { .. } => {}
                }
            }
        }
        Ok(())
    }
}
