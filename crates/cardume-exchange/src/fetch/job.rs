//! The files of one fetch: wanted, on their way, complete.
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use cardume_content::{Hash, PIECE};
use cardume_store::Target;

use crate::{
    goal::{Goal, Site, names},
    lay,
    plan::File,
};

/// Complete files kept open until all have their names. Others are read once more then.
const MAX_OPEN_LARGE: usize = 128;
const MAX_OPEN_SMALL: usize = 128;

/// Files to get, each blob once.
pub(super) struct Job {
    /// Whether a file is fetched, not a directory.
    pub(super) is_single: bool,
    pub(super) site: Option<Site>,
    /// Each blob with all files that are it, the first being the one that is fetched.
    pub(super) wanted: VecDeque<Wanted>,
    /// Those of them that are small, once it is known which are missing.
    pub(super) wanted_small: VecDeque<Wanted>,
    /// Being fetched, by the download's number.
    pub(super) running: HashMap<u32, Wanted>,
    /// Complete and open still.
    pub(super) large: Vec<cardume_store::Fetch>,
    pub(super) small: VecDeque<cardume_store::Fetch>,
    /// Complete blobs, to be told to the store when they have their names.
    pub(super) complete: Vec<(Hash, u64, Arc<str>)>,
    /// Blobs that were linked to, likewise.
    pub(super) linked: Vec<(cardume_store::Linked, Arc<str>)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) first: File,
    pub(crate) others: Vec<File>,
}

impl Wanted {
    /// Bytes it takes: in the store once, at a destination as often as it is there.
    pub(super) fn size(&self, is_laid_out: bool) -> u64 {
        let others = self.others.iter().map(|file| file.size);
        let others = others.filter(|_| is_laid_out);
        others.fold(self.first.size, u64::saturating_add)
    }
}

impl Job {
    pub(super) fn goal(&self, file: &File) -> Goal {
        match &self.site {
            None => Goal::Store,
            Some(site) => lay::goal(site, file),
        }
    }

    /// Whether the blob lies where this fetch wants it, not where another fetch of it began.
    pub(super) fn is_target(&self, fetch: &cardume_store::Fetch, file: &File) -> bool {
        match (&self.site, fetch.target()) {
            (Some(site), Target::File { temporary, .. }) => {
                *temporary == site.lock().below(&names(&file.path))
            }
            (Some(_), Target::Store) => false,
            (None, _) => true,
        }
    }

    pub(super) fn complete(&mut self, file: &File, fetch: Option<cardume_store::Fetch>) {
        self.complete
            .push((file.cid.hash(), file.size, file.path.clone()));
        let Some(fetch) = fetch.filter(|_| self.site.is_some()) else {
            return;
        };
        if file.size > PIECE {
            if self.large.len() < MAX_OPEN_LARGE {
                self.large.push(fetch);
            }
            return;
        }
        self.small.push_back(fetch);
        if self.small.len() > MAX_OPEN_SMALL {
            self.small.pop_front();
        }
    }
}

/// Files by what they are, in order of their first appearance.
pub(super) fn group(files: &[File]) -> VecDeque<Wanted> {
    let mut places: HashMap<Hash, usize> = HashMap::new();
    let mut grouped: VecDeque<Wanted> = VecDeque::new();
    for file in files {
        match places
            .get(&file.cid.hash())
            .and_then(|place| grouped.get_mut(*place))
        {
            Some(wanted) => wanted.others.push(file.clone()),
            None => {
                places.insert(file.cid.hash(), grouped.len());
                grouped.push_back(Wanted {
                    first: file.clone(),
                    others: Vec::new(),
                });
            }
        }
    }
    grouped
}
