//! Everything read again, and what does not verify taken off the air.
use std::{collections::HashSet, sync::Arc};

use cardume_content::{Cid, Hash, Kind, manifest::Node};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::{Broken, Inner, Progress, ReadError, Store, Verified, lock};

/// Bytes verified at a time by one core.
const STRIDE: u64 = 4 << 20;
/// Blobs looked up at a time.
const STEP: usize = 256;
/// Broken blobs that are listed.
const BROKEN: usize = 10_000;

impl Store {
    /// Re-hashes everything below `cid`; all roots, and what else there is, if none. What does not verify is off the
    /// air when it returns; a file shared in place that has changed counts as broken unless the same content lies
    /// elsewhere too.
    ///
    /// # Errors
    /// `Cancelled` when `progress` said so. A file that cannot be read is reported, not an error.
    pub fn verify(&self, cid: Option<Cid>, progress: &dyn Progress) -> Result<Verified, ReadError> {
        let inner = &*self.inner;
        let mut walk = Walk {
            inner,
            progress,
            seen: HashSet::new(),
            verified: Verified::default(),
        };
        inner.pool.install(|| match cid {
            Some(cid) => {
                if let Some(root) = inner.tables.root(cid)? {
                    progress.total(root.size, root.files);
                }
                walk.below(cid)
            }
            None => walk.all(),
        })?;
        Ok(walk.verified)
    }
}

/// A blob to be read, and where it stands in its root.
struct Item {
    cid: Cid,
    path: Arc<str>,
    size: Option<u64>,
    executable: bool,
}

struct Walk<'a> {
    inner: &'a Inner,
    progress: &'a dyn Progress,
    seen: HashSet<Hash>,
    verified: Verified,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), ReadError> {
        let usage = self.inner.tables.usage();
        let bytes = usage.content.saturating_add(usage.in_place);
        self.progress.total(bytes, usage.blobs);
        // What is broken has no record any more: only the roots know that it should be there.
        for root in self.inner.tables.roots()? {
            self.below(root.cid)?;
        }
        let mut after = None;
        loop {
            let records = self.inner.tables.records_after(after, STEP)?;
            let Some((last, _)) = records.last() else {
                return Ok(());
            };
            after = Some(*last);
            let unseen = records.iter().filter(|(hash, _)| !self.seen.contains(hash));
            let items = unseen.map(|(hash, record)| Item {
                cid: record.cid(*hash),
                path: Arc::from(""),
                size: Some(record.size),
                executable: false,
            });
            self.some(None, items.collect())?;
        }
    }

    fn below(&mut self, root: Cid) -> Result<(), ReadError> {
        if !self.seen.insert(root.hash()) {
            return Ok(());
        }
        let mut open = vec![Item {
            cid: root,
            path: Arc::from(""),
            size: None,
            executable: false,
        }];
        while !open.is_empty() {
            let some = open.split_off(open.len().saturating_sub(STEP));
            for item in self.some(Some(root), some)? {
                if item.cid.kind() == Kind::Directory {
                    self.open(&item, &mut open)?;
                }
            }
        }
        Ok(())
    }

    /// Lists what is in a directory and was not seen before.
    fn open(&mut self, directory: &Item, open: &mut Vec<Item>) -> Result<(), ReadError> {
        let manifest = self.inner.manifest(directory.cid)?;
        for entry in manifest.entries().iter().rev() {
            let (cid, size, executable) = match entry.node {
                Node::File {
                    cid,
                    size,
                    executable,
                } => (cid, Some(size), executable),
                Node::Directory { cid, .. } => (cid, None, false),
                Node::Symlink { .. } => continue,
            };
            if !self.seen.insert(cid.hash()) {
                continue;
            }
            let name = entry.name.as_str();
            let path = match &*directory.path {
                "" => Arc::from(name),
                above => Arc::from(format!("{above}/{name}")),
            };
            open.push(Item {
                cid,
                path,
                size,
                executable,
            });
        }
        Ok(())
    }

    /// Reads blobs whole, on all cores; returns those that are all right.
    fn some(&mut self, root: Option<Cid>, items: Vec<Item>) -> Result<Vec<Item>, ReadError> {
        let (inner, progress) = (self.inner, self.progress);
        let read = |item: Item| Ok((inner.verify_blob(item.cid, progress)?, item));
        let results: Vec<_> = items
            .into_par_iter()
            .map(read)
            .collect::<Result<_, ReadError>>()?;
        let mut right = Vec::new();
        for (result, item) in results {
            match result {
                Ok(size) => {
                    self.verified.blobs += 1;
                    self.verified.bytes = self.verified.bytes.saturating_add(size);
                    right.push(item);
                }
                Err(reason) if self.verified.broken.len() < BROKEN => self.verified.broken.push(Broken {
                    cid: item.cid,
                    root,
                    path: item.path,
                    size: item.size,
                    executable: item.executable,
                    reason,
                }),
                Err(_) => {}
            }
        }
        Ok(right)
    }
}

impl Inner {
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
