//! Blobs that nobody holds any more, deleted in steps that never block serving.
//!
//! First the record goes, durably, then the files: a stop in between leaves files without a record, which the next
//! collection finds.
use std::{
    collections::HashSet,
    fs, io,
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use cardume_content::Hash;

use crate::{
    Collected, Inner, Progress, ReadError, Store, WriteError, disk,
    hold::Missing,
    lock,
    record::{Body, Tree},
};

/// Blobs looked at in one step; whoever brings content waits that long.
const STEP: usize = 256;
/// How often a collection marks again, when content comes in while it runs, before it leaves the rest to the next.
const MARKS: usize = 8;
/// Partial data that nobody has touched for this long is not going to be resumed.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3_600);

impl Store {
    /// Deletes blobs that no root holds, a bounded batch at a time. Files in place are never touched.
    ///
    /// What came in within the last hour and was never below a root stays, as does what a [`Hold`](crate::Hold) keeps.
    ///
    /// # Errors
    /// When the manifest of a root cannot be read, as what it holds cannot be known: nothing is deleted then.
    /// `Cancelled` when `progress`, which is told of the bytes and blobs that went, said so.
    pub fn collect(&self, progress: &dyn Progress) -> Result<Collected, WriteError> {
        self.inner.collect(progress)
    }

    /// Whether something was forgotten or damaged since the last collection that got through.
    pub fn is_littered(&self) -> bool {
        self.inner.littered.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// Notes that there is something to collect.
    pub(crate) fn litter(&self) {
        self.littered.store(true, Ordering::Relaxed);
    }

    pub(crate) fn collect(&self, progress: &dyn Progress) -> Result<Collected, WriteError> {
        self.check_writable()?;
        self.littered.store(false, Ordering::Relaxed);
        let collected = self.collect_now(progress);
        if !matches!(collected, Ok(Collected { more: false, .. })) {
            self.litter();
        }
        collected
    }

    fn collect_now(&self, progress: &dyn Progress) -> Result<Collected, WriteError> {
        let mut collected = Collected::default();
        for _ in 0..MARKS {
            let generation = lock(&self.held).generation;
            let marked = self.mark()?;
            match self.sweep(&marked, generation, &mut collected, progress)? {
                Swept::All => {
                    while self.tables.sweep_paths(STEP)? {}
                    match self.gate.try_write() {
                        Ok(_gate) => self.sweep_guard(&marked)?,
                        Err(_) => break,
                    }
                    collected.more = !self.sweep_files(&marked, &mut collected, progress)?;
                    return Ok(collected);
                }
                Swept::Busy => break,
                Swept::Stale => {}
            }
        }
        collected.more = true;
        Ok(collected)
    }
}

enum Swept {
    All,
    /// Something is being taken in that may rely on what it found here.
    Busy,
    /// More is held than was marked.
    Stale,
}

impl Inner {
    /// Hashes of everything that is held.
    fn mark(&self) -> Result<HashSet<Hash>, ReadError> {
        let mut marked = HashSet::new();
        let roots = self.tables.roots()?;
        self.reach(roots.into_iter().map(|root| root.cid), Missing::Fail, &mut marked)?;
        let starts = lock(&self.held).starts();
        self.reach(starts, Missing::Skip, &mut marked)?;
        Ok(marked)
    }

    fn sweep(
        &self,
        marked: &HashSet<Hash>,
        generation: u64,
        collected: &mut Collected,
        progress: &dyn Progress,
    ) -> Result<Swept, WriteError> {
        let mut after = None;
        loop {
            let records = self.tables.records_after(after, STEP)?;
            let Some((last, _)) = records.last() else {
                return Ok(Swept::All);
            };
            after = Some(*last);
            let before = *collected;
            if records.iter().all(|(hash, _)| marked.contains(hash)) {
                continue;
            }
            let Ok(_gate) = self.gate.try_write() else {
                return Ok(Swept::Busy);
            };
            let unheld: Vec<_> = {
                let held = lock(&self.held);
                if held.generation != generation {
                    return Ok(Swept::Stale);
                }
                let pending = lock(&self.pending);
                let kept = |hash: &Hash| marked.contains(hash) || pending.find(*hash).is_some();
                let unheld = records
                    .iter()
                    .filter(|(hash, _)| !kept(hash) && !held.is_fresh(*hash));
                unheld.map(|(hash, _)| *hash).collect()
            };
            for (hash, record) in self.tables.remove(&unheld)? {
                lock(&self.open).close(hash);
                for file in self.own_files(hash, &record) {
                    disk::remove(&file).map_err(|error| WriteError::io(&file, error))?;
                }
                collected.blobs += 1;
                let inline = if matches!(record.body, Body::Inline(_)) {
                    record.size
                } else {
                    0
                };
                collected.bytes = collected
                    .bytes
                    .saturating_add(record.own_files())
                    .saturating_add(inline);
            }
            tell(progress, before, collected)?;
        }
    }

    /// Deletes files of ours that no record stands on; whether it got through.
    ///
    /// Those of blobs that a root holds stay, though damaged: a repair fetches only what is wrong with them.
    fn sweep_files(
        &self,
        marked: &HashSet<Hash>,
        collected: &mut Collected,
        progress: &dyn Progress,
    ) -> Result<bool, WriteError> {
        for what in ["data", "trees"] {
            let directory = self.disk.root().join(what);
            for shard in names(&directory)? {
                let before = *collected;
                let Ok(_gate) = self.gate.try_write() else {
                    return Ok(false);
                };
                for file in names(&shard)? {
                    let Some(hash) = hash_of(&file).filter(|hash| !marked.contains(hash)) else {
                        continue;
                    };
                    let record = match lock(&self.pending).find(hash) {
                        Some(waiting) => Some(waiting.record.clone()),
                        None => self.tables.record(hash)?,
                    };
                    let needed = record.is_some_and(|record| match what {
                        "data" => record.body == Body::Own,
                        _ => record.tree == Tree::File,
                    });
                    if !needed {
                        collected.bytes += file.symlink_metadata().map_or(0, |metadata| metadata.len());
                        disk::remove(&file).map_err(|error| WriteError::io(&file, error))?;
                        lock(&self.named).remove(&file);
                    }
                }
                tell(progress, before, collected)?;
            }
        }
        self.sweep_partial(collected)?;
        Ok(true)
    }

    fn sweep_partial(&self, collected: &mut Collected) -> Result<(), WriteError> {
        for file in names(&self.disk.root().join("partial"))? {
            let hash = hash_of(&file.with_extension(""));
            if hash.is_some_and(|hash| self.partial(hash).is_some()) {
                continue;
            }
            let Ok(metadata) = file.symlink_metadata() else {
                continue;
            };
            let age = metadata
                .modified()
                .ok()
                .and_then(|time| SystemTime::now().duration_since(time).ok());
            if age.is_some_and(|age| age > ABANDONED) {
                collected.bytes += metadata.len();
                disk::remove(&file).map_err(|error| WriteError::io(&file, error))?;
            }
        }
        Ok(())
    }
}

/// Tells what went since `before`.
fn tell(progress: &dyn Progress, before: Collected, now: &Collected) -> Result<(), ReadError> {
    if progress.advance(now.bytes - before.bytes, now.blobs - before.blobs) {
        Ok(())
    } else {
        Err(ReadError::Cancelled)
    }
}

/// What a directory of ours has; nothing, if it is not there.
fn names(directory: &Path) -> Result<Vec<std::path::PathBuf>, WriteError> {
    let failed = |error| WriteError::io(directory, error);
    match fs::read_dir(directory) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed(error)),
    }
}

/// The hash that a file of ours is named after.
fn hash_of(path: &Path) -> Option<Hash> {
    let name = path.file_name()?.to_str()?;
    let mut bytes = [0; 32];
    if name.len() != 64 || !name.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(name.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(Hash::from_bytes(bytes))
}
