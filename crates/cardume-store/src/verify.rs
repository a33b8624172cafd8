//! Everything read again, and what does not verify taken off the air.
use std::collections::HashSet;

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
        inner.pool.install(|| match cid {
            Some(cid) => inner.verify_below(cid, progress, &mut verified),
            None => inner.verify_all(progress, &mut verified),
        })?;
        Ok(verified)
    }
}

impl Inner {
    fn verify_all(&self, progress: &dyn Progress, verified: &mut Verified) -> Result<(), ReadError> {
        let mut after = None;
        loop {
            let records = self.tables.records_after(after, STEP)?;
            let Some((last, _)) = records.last() else {
                return Ok(());
            };
            after = Some(*last);
            let cids = records.iter().map(|(hash, record)| record.cid(*hash)).collect();
            self.verify_some(cids, progress, verified)?;
        }
    }

    fn verify_below(
        &self,
        cid: Cid,
        progress: &dyn Progress,
        verified: &mut Verified,
    ) -> Result<(), ReadError> {
        let mut seen: HashSet<Hash> = HashSet::from([cid.hash()]);
        let mut open = vec![cid];
        while !open.is_empty() {
            let some = open.split_off(open.len().saturating_sub(STEP));
            for cid in self.verify_some(some, progress, verified)? {
                if cid.kind() == Kind::Blob {
                    continue;
                }
                let manifest = self.manifest(cid)?;
                let below = manifest
                    .entries()
                    .iter()
                    .rev()
                    .filter_map(|entry| match entry.node {
                        Node::File { cid, .. } | Node::Directory { cid, .. } => Some(cid),
                        Node::Symlink { .. } => None,
                    });
                open.extend(below.filter(|cid| seen.insert(cid.hash())));
            }
        }
        Ok(())
    }

    /// Reads blobs whole, on all cores; returns those that are all right.
    fn verify_some(
        &self,
        cids: Vec<Cid>,
        progress: &dyn Progress,
        verified: &mut Verified,
    ) -> Result<Vec<Cid>, ReadError> {
        let read = |cid: Cid| Ok((cid, self.verify_blob(cid, progress)?));
        let results: Vec<_> = cids.into_par_iter().map(read).collect::<Result<_, ReadError>>()?;
        let mut right = Vec::new();
        for (cid, result) in results {
            match result {
                Ok(size) => {
                    verified.blobs += 1;
                    verified.bytes = verified.bytes.saturating_add(size);
                    right.push(cid);
                }
                Err(reason) if verified.broken.len() < BROKEN => verified.broken.push((cid, reason)),
                Err(_) => {}
            }
        }
        Ok(right)
    }

    /// Reads a blob whole; its size, or what is wrong with it.
    fn verify_blob(&self, cid: Cid, progress: &dyn Progress) -> Result<Result<u64, String>, ReadError> {
        let hash = cid.hash();
        let result = match self.located(hash)? {
            Some((record, _)) => self.read_whole(hash, record.size, progress).map(|()| record.size),
            None => Err(ReadError::NotFound),
        };
        match result {
            Ok(_) if !progress.advance(0, 1) => Err(ReadError::Cancelled),
            Ok(size) => Ok(Ok(size)),
            Err(error @ (ReadError::Cancelled | ReadError::Database(_))) => Err(error),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn read_whole(&self, hash: Hash, size: u64, progress: &dyn Progress) -> Result<(), ReadError> {
        lock(&self.open).close(hash);
        let strides = size.div_ceil(STRIDE).max(1);
        (0..strides)
            .into_par_iter()
            .try_for_each_init(Vec::new, |scratch, stride| {
                let range = stride * STRIDE..size.min((stride + 1) * STRIDE);
                scratch.clear();
                self.with_source(hash, range.clone(), |source, range| source.encode(range, scratch))?;
                let go_on = progress.advance(range.end - range.start, 0);
                if go_on { Ok(()) } else { Err(ReadError::Cancelled) }
            })
    }
}
