//! Room: who was promised how much, and what goes when there is too little.
//!
//! Two ledgers. Blobs that are coming in have reserved what they take. Before them, whole downloads and copies claim
//! what they will take, so that one that cannot fit is refused before it starts, and two that fit alone but not
//! together do not fail half way.
//!
//! When a claim does not fit, fetched content goes, the one unused for longest first: roots that were fetched into the
//! store and are not pinned, not held by a fetch or a reader, and not served within the last minute. What the operator
//! shared or uploaded is never evicted, and neither is anything that lies outside the store.
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_content::{Cid, Hash, tree};

use crate::{Inner, Reservation, Root, Store, WriteError, hold::Missing, lock};

/// How often a collection is tried, and the pause between: an import keeps it from beginning as long as it runs.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of the records of one blob, roughly.
const ROW: u64 = 256;
/// Served or read within so many seconds: not to be evicted.
const IN_USE: u64 = 60;
/// Blobs whose last use is remembered between two foldings; beyond it, uses are not noted.
const USES: usize = 1 << 16;
/// The floor of a file system, if none is configured: this share of it, …
const FLOOR_SHARE: u64 = 20;
/// … and no more than this.
const FLOOR_MOST: u64 = 1 << 30;

/// Room promised to what is about to come in; given back when dropped.
pub struct Claim {
    inner: Arc<Inner>,
    id: u64,
}

/// Bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free for the node's user.
    pub free: u64,
    /// What is kept free of it.
    pub keep: u64,
}

/// What a claim has not got yet.
#[derive(Debug, Clone, Copy, Default)]
struct Promise {
    /// Bytes of content, and the file system they go to.
    content: u64,
    device: u64,
    /// Whether they are the store's own.
    is_own: bool,
    /// Trees and records, which are always the store's own.
    metadata: u64,
}

/// Claims, and when blobs were last used.
#[derive(Debug, Default)]
pub(crate) struct Room {
    promises: BTreeMap<u64, Promise>,
    last_id: u64,
    /// Seconds since 1970.
    used: HashMap<Hash, u64>,
    /// Roots that had to go, and nobody was told of yet.
    evicted: Vec<Cid>,
}

impl Room {
    fn quota(&self) -> u64 {
        let own = |promise: &Promise| {
            let content = if promise.is_own { promise.content } else { 0 };
            content.saturating_add(promise.metadata)
        };
        self.promises.values().map(own).fold(0, u64::saturating_add)
    }

    fn on(&self, device: u64) -> u64 {
        let there = self.promises.values().filter(|promise| promise.device == device);
        there.map(|promise| promise.content).fold(0, u64::saturating_add)
    }
}

impl Claim {
    /// Tells that `bytes` of content have a place of their own now, and need not be promised any more.
    pub fn arrived(&self, bytes: u64) {
        if let Some(promise) = lock(&self.inner.room).promises.get_mut(&self.id) {
            promise.content = promise.content.saturating_sub(bytes);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.inner.room).promises.remove(&self.id);
    }
}

impl Store {
    /// Promises room for blobs that are to be fetched: into the store, or below `site`, the temporary file or directory
    /// of a destination. What an earlier try has left there is not counted twice. Where there is too little, fetched
    /// content that nobody needs is evicted.
    ///
    /// # Errors
    /// `Quota` and `Floor` say what is wanted, used and free; nothing is evicted then that would not have helped.
    pub fn claim(&self, blobs: &[(Hash, u64)], site: Option<&Path>) -> Result<Claim, WriteError> {
        let inner = &self.inner;
        let sum = |each: &dyn Fn(&(Hash, u64)) -> u64| blobs.iter().map(each).fold(0, u64::saturating_add);
        let all = sum(&|(_, size)| *size);
        let metadata = sum(&|(_, size)| tree::len(*size).saturating_add(ROW));
        let here = match site {
            Some(site) => blocks_below(site),
            None => sum(&|(hash, _)| blocks(&inner.disk.partial(*hash))),
        };
        inner.claim(all.saturating_sub(here), metadata, site)
    }

    /// What the file system of the store has free, and what of it is left alone; none when it does not say.
    pub fn space(&self) -> Option<Space> {
        self.inner.space(self.inner.disk.root()).ok()
    }

    /// Takes the list of roots that were evicted since the last call.
    pub fn take_evicted(&self) -> Vec<Cid> {
        std::mem::take(&mut lock(&self.inner.room).evicted)
    }

    /// Notes in the database what was used since the last time, so that a restart does not forget it. Returns how many
    /// roots were.
    ///
    /// # Errors
    /// When the database fails.
    pub fn note_uses(&self) -> Result<usize, WriteError> {
        self.inner.note_uses()
    }
}

impl Inner {
    /// Promises `content` bytes at `site` (in the store, if none), and `metadata` bytes in the store.
    pub(crate) fn claim(
        self: &Arc<Self>,
        content: u64,
        metadata: u64,
        site: Option<&Path>,
    ) -> Result<Claim, WriteError> {
        self.check_writable()?;
        let at = site.and_then(existing).unwrap_or_else(|| self.disk.root());
        let device = fs::metadata(at).map_err(|error| WriteError::io(at, error))?.dev();
        let promise = Promise {
            content,
            device,
            is_own: site.is_none(),
            metadata,
        };
        let _evicting = lock(&self.evicting);
        self.make_room(&promise, at)?;
        let mut room = lock(&self.room);
        room.last_id += 1;
        let id = room.last_id;
        room.promises.insert(id, promise);
        drop(room);
        Ok(Claim {
            inner: self.clone(),
            id,
        })
    }

    /// Promises room for files that are copied into the store.
    pub(crate) fn claim_copy(self: &Arc<Self>, bytes: u64, files: u64) -> Result<Claim, WriteError> {
        let metadata = tree::len(bytes).saturating_add(files.saturating_mul(ROW));
        self.claim(bytes, metadata, None)
    }

    /// Evicts until a promise fits.
    fn make_room(&self, promise: &Promise, at: &Path) -> Result<(), WriteError> {
        let Err(refusal) = self.fits(promise, at) else {
            return Ok(());
        };
        // What nobody holds goes before anything that somebody may still want.
        if !self.collect_soon()? {
            return Err(refusal);
        }
        let mut candidates = self.evictable()?;
        while let Err(refusal) = self.fits(promise, at) {
            let may_go = candidates
                .iter()
                .map(|(_, root)| root.size)
                .fold(0, u64::saturating_add);
            let Some((_, root)) = candidates.pop().filter(|_| refusal.short() <= may_go) else {
                return Err(refusal);
            };
            tracing::info!(cid = %root.cid, name = root.name, size = root.size, "evicted to make room");
            self.forget_root(root.cid)?;
            lock(&self.room).evicted.push(root.cid);
            self.collect_soon()?;
        }
        Ok(())
    }

    /// Collects as soon as nothing is being taken in; whether that was soon enough.
    fn collect_soon(&self) -> Result<bool, WriteError> {
        for _ in 0..TRIES {
            if !self.collect(&())?.more {
                return Ok(true);
            }
            std::thread::park_timeout(PAUSE);
        }
        Ok(false)
    }

    /// Sees to it that a blob of the store's own, of which nobody claimed the room, fits.
    pub(crate) fn make_room_for(self: &Arc<Self>, bytes: u64) -> Result<(), WriteError> {
        let at = self.disk.root();
        if self.fits_quota(bytes, false).is_ok() && self.fits_disk(bytes, 0, at).is_ok() {
            return Ok(());
        }
        self.claim(bytes, ROW, None).map(drop)
    }

    /// Whether a promise can be kept.
    fn fits(&self, promise: &Promise, at: &Path) -> Result<(), WriteError> {
        let own = if promise.is_own { promise.content } else { 0 };
        self.fits_quota(own.saturating_add(promise.metadata), true)?;
        let promised = lock(&self.room).on(promise.device);
        self.fits_disk(promise.content, promised, at)
    }

    pub(crate) fn fits_quota(&self, wanted: u64, with_claims: bool) -> Result<(), WriteError> {
        let Some(quota) = self.limits().quota else {
            return Ok(());
        };
        let usage = self.tables.usage();
        let promised = if with_claims { lock(&self.room).quota() } else { 0 };
        let used = usage
            .content
            .saturating_add(usage.metadata)
            .saturating_add(self.reserved.load(Ordering::Relaxed))
            .saturating_add(promised)
            .saturating_add(self.leftovers());
        if used.saturating_add(wanted) <= quota {
            return Ok(());
        }
        Err(WriteError::Quota { wanted, used, quota })
    }

    /// Whether `wanted` bytes leave the file system of `at` its floor.
    pub(crate) fn fits_disk(&self, wanted: u64, promised: u64, at: &Path) -> Result<(), WriteError> {
        if wanted == 0 {
            return Ok(());
        }
        let Space { free, keep } = self.space(at).map_err(|errno| WriteError::io(at, errno.into()))?;
        let free = free.saturating_sub(promised);
        if wanted.saturating_add(keep) <= free {
            return Ok(());
        }
        Err(WriteError::Floor {
            path: at.to_owned(),
            wanted,
            free,
            keep,
        })
    }

    /// What the file system of `at` has.
    fn space(&self, at: &Path) -> rustix::io::Result<Space> {
        let system = rustix::fs::statvfs(at)?;
        let total = system.f_blocks.saturating_mul(system.f_frsize);
        let keep = self
            .limits()
            .keep_free
            .unwrap_or_else(|| (total / FLOOR_SHARE).min(FLOOR_MOST));
        Ok(Space {
            free: system.f_bavail.saturating_mul(system.f_frsize),
            keep,
        })
    }

    /// Bytes of blobs that were begun and are not being fetched now.
    fn leftovers(&self) -> u64 {
        let Ok(entries) = fs::read_dir(self.disk.root().join("partial")) else {
            return 0;
        };
        let running: HashSet<String> = lock(&self.fetches).keys().map(|hash| hash.to_hex()).collect();
        let left = entries.flatten().filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            !running.contains(name.trim_end_matches(".tree"))
        });
        left.map(|entry| blocks(&entry.path())).sum()
    }

    /// Roots that may go, the one unused for longest last.
    fn evictable(&self) -> Result<Vec<(u64, Root)>, WriteError> {
        self.note_uses()?;
        let now = now();
        let held = lock(&self.held).held();
        let mut candidates: Vec<_> = self.tables.fetched()?;
        candidates.retain(|(used, root)| {
            let is_idle = used.saturating_add(IN_USE) <= now || *used > now;
            is_idle && root.path.is_none() && !root.pinned && !held.contains(&root.cid)
        });
        candidates.sort_by_key(|(used, root)| std::cmp::Reverse((*used, root.added)));
        Ok(candidates)
    }

    /// Remembers that a blob was served or read.
    pub(crate) fn note_use(&self, hash: Hash) {
        let mut room = lock(&self.room);
        if room.used.len() < USES || room.used.contains_key(&hash) {
            room.used.insert(hash, now());
        }
    }

    fn note_uses(&self) -> Result<usize, WriteError> {
        let used = std::mem::take(&mut lock(&self.room).used);
        if used.is_empty() {
            return Ok(0);
        }
        let mut later: Vec<(Cid, u64)> = Vec::new();
        for (before, root) in self.tables.fetched()? {
            let mut below = HashSet::new();
            self.reach([root.cid], Missing::Skip, &mut below)?;
            let last = below.iter().filter_map(|hash| used.get(hash)).max();
            later.extend(last.filter(|last| **last > before).map(|last| (root.cid, *last)));
        }
        if !later.is_empty() {
            self.tables.note_uses(&later)?;
        }
        Ok(later.len())
    }

    /// Promises `bytes` of the quota to one blob; of what others claimed only if `beside_claims`.
    pub(crate) fn reserve(&self, bytes: u64, beside_claims: bool) -> Result<Reservation, WriteError> {
        self.check_writable()?;
        // Looked at with all claims in mind unless there is one that this may be part of.
        self.fits_quota(bytes, beside_claims)?;
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
        Ok(Reservation {
            reserved: self.reserved.clone(),
            bytes,
        })
    }

    /// Reserves for a blob that is fetched into the store, on its own or as part of a claim.
    pub(crate) fn reserve_fetch(
        self: &Arc<Self>,
        own: u64,
        metadata: u64,
    ) -> Result<Reservation, WriteError> {
        if own > 0 && lock(&self.room).promises.is_empty() {
            // A reader's, who claims nothing.
            self.make_room_for(own)?;
        }
        self.reserve(own.saturating_add(metadata), false)
    }
}

impl WriteError {
    /// Bytes that are missing, of a refusal.
    fn short(&self) -> u64 {
        match self {
            Self::Quota { wanted, used, quota } => wanted.saturating_add(*used).saturating_sub(*quota),
            Self::Floor {
                wanted, free, keep, ..
            } => wanted.saturating_add(*keep).saturating_sub(*free),
            _ => u64::MAX,
        }
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// The path, or the nearest directory above it that is there.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.exists())
}

/// Bytes that a file takes on the disk; none if it is not there.
fn blocks(path: &Path) -> u64 {
    path.symlink_metadata()
        .map_or(0, |metadata| metadata.blocks().saturating_mul(512))
}

/// Bytes that a file, or all files of a directory, take on the disk.
fn blocks_below(path: &Path) -> u64 {
    let mut open = vec![path.to_owned()];
    let mut sum = 0_u64;
    while let Some(path) = open.pop() {
        sum = sum.saturating_add(blocks(&path));
        let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        let listed: io::Result<Vec<_>> = fs::read_dir(&path)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect());
        if is_directory {
            // What cannot be listed is counted as not being there: the claim is the larger for it.
            open.extend(listed.unwrap_or_default());
        }
    }
    sum
}
