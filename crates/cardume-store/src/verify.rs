//! Everything read again, and what does not verify taken off the air.
use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
};

use cardume_content::{Cid, Hash, Kind, manifest::Node};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::{Inner, Progress, ReadError, Store, Verified, lock};

/// Bytes verified at a time by one core.
const STRIDE: u64 = 4 << 20;
/// Blobs looked up at a time.
const STEP: usize = 256;
/// Broken blobs that are listed.
const BROKEN: usize = 10_000;

impl Store {
    /// Re-hashes everything below `cid` (all, if none). What does not verify is off the air when it returns; a file
    /// shared in place that has changed counts as broken unless the same content lies elsewhere too.
    ///
    /// # Errors
    /// `Cancelled` when `progress` said so. A file that cannot be read is reported, not an error.
    pub fn verify(&self, cid: Option<Cid>, progress: &dyn Progress) -> Result<Verified, ReadError> {
        let inner = &*self.inner;
        let mut verified = Verified::default();
        match cid {
            Some(cid) => inner.verify_below(cid, progress, &mut verified)?,
            None => {
                let mut after = None;
                loop {
                    let records = inner.tables.records_after(after, STEP)?;
                    let Some((last, _)) = records.last() else { break };
                    after = Some(*last);
                    for (hash, record) in records {
                        inner.verify_blob(record.cid(hash), progress, &mut verified)?;
                    }
                }
            }
        }
        Ok(verified)
    }
}

impl Inner {
    fn verify_below(
        &self,
        cid: Cid,
        progress: &dyn Progress,
        verified: &mut Verified,
    ) -> Result<(), ReadError> {
        let mut seen: HashSet<Hash> = HashSet::new();
        let mut open = vec![cid];
        while let Some(cid) = open.pop() {
            if !seen.insert(cid.hash()) || !self.verify_blob(cid, progress, verified)? {
                continue;
            }
            if cid.kind() == Kind::Directory {
                let manifest = self.manifest(cid)?;
                open.extend(
                    manifest
                        .entries()
                        .iter()
                        .rev()
                        .filter_map(|entry| match entry.node {
                            Node::File { cid, .. } | Node::Directory { cid, .. } => Some(cid),
                            Node::Symlink { .. } => None,
                        }),
                );
            }
        }
        Ok(())
    }

    /// Reads a blob whole, on all cores; whether it is all right.
    fn verify_blob(
        &self,
        cid: Cid,
        progress: &dyn Progress,
        verified: &mut Verified,
    ) -> Result<bool, ReadError> {
        let hash = cid.hash();
        let result = match self.located(hash)? {
            Some((record, _)) => self.read_whole(hash, record.size, progress).map(|()| record.size),
            None => Err(ReadError::NotFound),
        };
        let failure = match result {
            Ok(size) => {
                verified.blobs += 1;
                verified.bytes = verified.bytes.saturating_add(size);
                if !progress.advance(0, 1) {
                    return Err(ReadError::Cancelled);
                }
                return Ok(true);
            }
            Err(error @ (ReadError::Cancelled | ReadError::Database(_))) => return Err(error),
            Err(error) => error.to_string(),
        };
        if verified.broken.len() < BROKEN {
            verified.broken.push((cid, failure));
        }
        Ok(false)
    }

    fn read_whole(&self, hash: Hash, size: u64, progress: &dyn Progress) -> Result<(), ReadError> {
        lock(&self.open).close(hash);
        let cancelled = AtomicBool::new(false);
        let strides = size.div_ceil(STRIDE).max(1);
        self.pool.install(|| {
            (0..strides)
                .into_par_iter()
                .try_for_each_init(Vec::new, |scratch, stride| {
                    if cancelled.load(Ordering::Relaxed) {
                        return Err(ReadError::Cancelled);
                    }
                    let range = stride * STRIDE..size.min((stride + 1) * STRIDE);
                    scratch.clear();
                    self.with_source(hash, range.clone(), |source, range| source.encode(range, scratch))?;
                    if !progress.advance(range.end - range.start, 0) {
                        cancelled.store(true, Ordering::Relaxed);
                        return Err(ReadError::Cancelled);
                    }
                    Ok(())
                })
        })
    }
}
