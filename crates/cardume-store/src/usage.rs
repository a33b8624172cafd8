//! What each root takes, and what it shares with others.
use std::collections::{HashMap, HashSet};

use cardume_content::{Cid, Hash};

use crate::{
    Inner, Progress, ReadError, Store, Taken,
    hold::Missing,
    record::{Body, Record},
};

/// Blobs looked up between two calls of the progress.
const STEP: usize = 1_024;

impl Store {
    /// Tells what one root takes on the disk, or every root; what several hold counts for each of them, and as shared.
    ///
    /// # Errors
    /// `NotFound` when `cid` is no root; `Cancelled` when `progress` said so.
    pub fn measure(&self, cid: Option<Cid>, progress: &dyn Progress) -> Result<Vec<Taken>, ReadError> {
        let inner = &*self.inner;
        let roots = inner.tables.roots()?;
        if cid.is_some_and(|cid| !roots.iter().any(|root| root.cid == cid)) {
            return Err(ReadError::NotFound);
        }
        let mut holders: HashMap<Hash, u32> = HashMap::new();
        let mut each = Vec::with_capacity(roots.len());
        for root in &roots {
            let mut below = HashSet::new();
            inner.reach([root.cid], Missing::Skip, &mut below)?;
            for hash in &below {
                *holders.entry(*hash).or_default() += 1;
            }
            if !progress.advance(0, 0) {
                return Err(ReadError::Cancelled);
            }
            each.push((root, below));
        }
        let wanted: Vec<_> = each
            .iter()
            .filter(|(root, _)| cid.is_none_or(|cid| cid == root.cid))
            .collect();
        let blobs = wanted.iter().map(|(_, below)| below.len() as u64).sum();
        progress.total(0, blobs);
        wanted
            .into_iter()
            .map(|(root, below)| {
                let mut taken = Taken {
                    cid: root.cid,
                    name: root.name.clone(),
                    blobs: 0,
                    missing: 0,
                    data: 0,
                    in_place: 0,
                    metadata: 0,
                    shared: 0,
                };
                inner.add_up(below, &holders, progress, &mut taken)?;
                Ok(taken)
            })
            .collect()
    }
}

impl Inner {
    fn add_up(
        &self,
        below: &HashSet<Hash>,
        holders: &HashMap<Hash, u32>,
        progress: &dyn Progress,
        taken: &mut Taken,
    ) -> Result<(), ReadError> {
        for (index, hash) in below.iter().enumerate() {
            if index % STEP == STEP - 1 && !progress.advance(0, STEP as u64) {
                return Err(ReadError::Cancelled);
            }
            let Some((record, _)) = self.located(*hash)? else {
                taken.missing += 1;
                continue;
            };
            taken.blobs += 1;
            let (data, in_place, metadata) = parts(&record);
            taken.data = taken.data.saturating_add(data);
            taken.in_place = taken.in_place.saturating_add(in_place);
            taken.metadata = taken.metadata.saturating_add(metadata);
            if holders.get(hash).is_some_and(|count| *count > 1) {
                taken.shared = taken.shared.saturating_add(data.saturating_add(metadata));
            }
        }
        Ok(())
    }
}

/// Bytes of content of our own, of content elsewhere, and of trees and records.
fn parts(record: &Record) -> (u64, u64, u64) {
    let row = record.encode().len() as u64 + 32;
    match &record.body {
        Body::Inline(_) => (
            record.size,
            0,
            row.saturating_sub(record.size).saturating_add(record.own_files()),
        ),
        Body::Own => (
            record.size,
            0,
            row.saturating_add(record.own_files().saturating_sub(record.size)),
        ),
        Body::Places(_) => (0, record.size, row.saturating_add(record.own_files())),
    }
}
