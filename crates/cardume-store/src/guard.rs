//! Content that not everybody may have, and the roots that say who may.
//!
//! A blob that came in for a root with a list is *guarded*: written down together with its record, and known in memory
//! with every root that holds it. It stays guarded until it is deleted, so what falls out of its root is nobody's. What
//! is not guarded is everybody's, and costs nothing: a store without lists has an empty table.
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use cardume_content::{Cid, Hash};

use crate::{Inner, ReadError, Root, Store, WriteError, error::Fault, hold::Missing, lock};

/// Blobs entered at once, and rows forgotten in one commit; whoever asks about a blob waits that long.
const STEP: usize = 4_096;

/// A root, by a number that is not used again.
pub(crate) type Number = u32;

/// The roots of one blob: nearly always one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Roots {
    #[default]
    None,
    One(Number),
    Many(Box<[Number]>),
}

impl Roots {
    fn as_slice(&self) -> &[Number] {
        match self {
            Self::None => &[],
            Self::One(root) => std::slice::from_ref(root),
            Self::Many(roots) => roots,
        }
    }

    fn add(&mut self, root: Number) {
        if self.as_slice().contains(&root) {
            return;
        }
        *self = match std::mem::take(self) {
            Self::None => Self::One(root),
            Self::One(first) => Self::Many([first, root].into()),
            Self::Many(roots) => Self::Many(roots.iter().copied().chain([root]).collect()),
        };
    }

    fn remove(&mut self, root: Number) {
        if !self.as_slice().contains(&root) {
            return;
        }
        let left: Vec<_> = self
            .as_slice()
            .iter()
            .copied()
            .filter(|one| *one != root)
            .collect();
        *self = match left.as_slice() {
            [] => Self::None,
            [one] => Self::One(*one),
            _ => Self::Many(left.into()),
        };
    }
}

/// Words of an `allow` list; none: everybody may have it.
type Allow = Option<Arc<[String]>>;

/// What is guarded, in memory.
#[derive(Debug, Default)]
pub(crate) struct Guard {
    guarded: RwLock<Guarded>,
    /// Held while roots come and go, so that what was walked is still so when it is entered.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Guarded {
    blobs: HashMap<Hash, Roots>,
    roots: HashMap<Number, Allow>,
    numbers: HashMap<Cid, Number>,
    last: Number,
}

impl Guard {
    /// Says who may have what a root has, and returns the root's number.
    fn register(&self, cid: Cid, allow: Allow) -> Number {
        let mut guarded = self.write();
        let next = guarded.last + 1;
        let number = *guarded.numbers.entry(cid).or_insert(next);
        guarded.last = guarded.last.max(number);
        guarded.roots.insert(number, allow);
        number
    }

    /// Enters that a root has these blobs, of those that are guarded.
    pub(crate) fn add(&self, root: Number, below: &[Hash]) {
        for step in below.chunks(STEP) {
            let mut guarded = self.write();
            for hash in step {
                if let Some(roots) = guarded.blobs.get_mut(hash) {
                    roots.add(root);
                }
            }
        }
    }

    /// Says who may have what a root is going to have, unless there is one that says so already.
    fn expect(&self, cid: Cid, allow: Vec<String>) -> Number {
        let known = self.read().numbers.get(&cid).copied();
        known.unwrap_or_else(|| self.register(cid, Some(allow.into())))
    }

    /// Says who may have what is below no root.
    fn list(&self, allow: Vec<String>) -> Number {
        let mut guarded = self.write();
        guarded.last += 1;
        let number = guarded.last;
        guarded.roots.insert(number, Some(allow.into()));
        number
    }

    /// Guards a blob, for whoever a root says.
    pub(crate) fn keep(&self, hash: Hash, root: Option<Number>) {
        let mut guarded = self.write();
        let roots = guarded.blobs.entry(hash).or_default();
        root.into_iter().for_each(|root| roots.add(root));
    }

    /// Whether a blob is for those only who are on a list.
    pub(crate) fn has(&self, hash: Hash) -> bool {
        self.read().blobs.contains_key(&hash)
    }

    /// Guards blobs that were everybody's, each with all roots that have it.
    fn guard(&self, new: &[Hash], root: Number, others: &[(Number, HashSet<Hash>)]) {
        for step in new.chunks(STEP) {
            let mut guarded = self.write();
            for hash in step {
                let roots = guarded.blobs.entry(*hash).or_default();
                roots.add(root);
                let others = others.iter().filter(|(_, below)| below.contains(hash));
                others.for_each(|(other, _)| roots.add(*other));
            }
        }
    }

    /// Has nobody be let in by a root any more.
    fn leave(&self, cid: Cid) {
        let number = {
            let mut guarded = self.write();
            let Some(number) = guarded.numbers.remove(&cid) else {
                return;
            };
            guarded.roots.remove(&number);
            number
        };
        // The number alone lets nobody in; it only takes room.
        let has = |(hash, roots): (&Hash, &Roots)| roots.as_slice().contains(&number).then_some(*hash);
        let below: Vec<_> = self.read().blobs.iter().filter_map(has).collect();
        for step in below.chunks(STEP) {
            let mut guarded = self.write();
            for hash in step {
                if let Some(roots) = guarded.blobs.get_mut(hash) {
                    roots.remove(number);
                }
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Guarded> {
        self.guarded.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Guarded> {
        self.guarded.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// A handle through which whatever is new in an import belongs to nobody until it is below a root: for what is going
    /// to have an `allow` list.
    #[must_use]
    pub fn guarding(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            guards: true,
            expected: None,
        }
    }

    /// A handle through which whatever is new is for those on the list `allow` only, whether it is fetched, put or
    /// adopted: for what is going to be the root `cid`, which says so itself once it is one.
    #[must_use]
    pub fn guarding_for(&self, cid: Cid, allow: Vec<String>) -> Self {
        Self {
            expected: Some(self.inner.guard.expect(cid, allow)),
            ..self.guarding()
        }
    }

    /// A handle through which whatever is new is for those on the list `allow` only, though it is below no root: for
    /// content that stands for something else. A list lasts as long as the store is open, and what came by it is
    /// nobody's after that; so a handle is to be kept and cloned, not made anew for each blob.
    #[must_use]
    pub fn guarding_with(&self, allow: Vec<String>) -> Self {
        Self {
            expected: Some(self.inner.guard.list(allow)),
            ..self.guarding()
        }
    }

    /// Guards a blob that is coming in through this handle, if it guards; whether the blob is guarded.
    pub(crate) fn guard_new(&self, hash: Hash) -> Result<bool, ReadError> {
        let is_guarded = self.guards && self.inner.guard_new(hash)?;
        if is_guarded && let Some(root) = self.expected {
            self.inner.guard.add(root, &[hash]);
        }
        Ok(is_guarded)
    }

    /// Who may have a blob: everybody, or whom one of these words of `allow` lists means. Asks no disk.
    pub fn allow(&self, hash: Hash) -> Option<Arc<[String]>> {
        let guarded = self.inner.guard.read();
        let roots = guarded.blobs.get(&hash)?.as_slice();
        let mut lists = Vec::with_capacity(roots.len());
        for root in roots {
            match guarded.roots.get(root) {
                Some(Some(list)) => lists.push(list),
                // Of a root without a list everybody may have all.
                Some(None) => return None,
                None => {}
            }
        }
        match lists.as_slice() {
            [list] => Some(Arc::clone(list)),
            lists => Some(lists.iter().flat_map(|list| list.iter().cloned()).collect()),
        }
    }

    /// Blobs that not everybody may have, or could not.
    pub fn guarded(&self) -> usize {
        self.inner.guard.read().blobs.len()
    }

    /// Says anew who may have a root, and whether the DHT is told of it; durable when it returns. Returns whether there
    /// is one.
    pub fn set_allow(
        &self,
        cid: Cid,
        allow: Option<Vec<String>>,
        announce: bool,
    ) -> Result<bool, WriteError> {
        let guards = allow.is_some();
        self.inner.change_root(cid, guards, |new| {
            self.inner.tables.set_allow(cid, allow, announce, new)
        })
    }
}

impl Inner {
    /// Reads what is guarded, and which roots hold it. To be done before anything is given to anybody.
    pub(crate) fn load_guard(&self) -> Result<(), ReadError> {
        let rows = self.tables.guarded()?;
        let mut roots = self.tables.roots()?;
        // What they guard first, and then who else has it.
        roots.sort_by_key(|root| root.allow.is_none());
        if rows.is_empty() && roots.iter().all(|root| root.allow.is_none()) {
            return Ok(());
        }
        self.guard.write().blobs = rows.into_iter().map(|hash| (hash, Roots::None)).collect();
        for root in roots {
            let below = self.below(root.cid).unwrap_or_else(|error| {
                // What is guarded of it is nobody's then, until it can be read again.
                tracing::error!(cid = %root.cid, %error, "a root cannot be read, so who may have what is below it is not known");
                HashSet::new()
            });
            let below: Vec<_> = below.into_iter().collect();
            let (guards, allow) = (root.allow.is_some(), root.allow.map(Arc::from));
            let number = self.guard.register(root.cid, allow);
            if guards {
                self.guard.guard(&below, number, &[]);
            } else {
                self.guard.add(number, &below);
            }
        }
        Ok(())
    }

    /// Guards a blob that is coming in, unless it is here already and everybody's; whether it is guarded.
    pub(crate) fn guard_new(&self, hash: Hash) -> Result<bool, ReadError> {
        if self.guard.has(hash) {
            return Ok(true);
        }
        let is_here = lock(&self.pending).find(hash).is_some()
            || self.partial(hash).is_some()
            || self.tables.record(hash)?.is_some();
        if !is_here {
            self.guard.write().blobs.entry(hash).or_default();
        }
        Ok(!is_here)
    }

    /// Writes a root, and guards what is below it if it has a list. `write` is handed what is new to be guarded, and
    /// returns what the root is now. Returns whether there is one.
    pub(crate) fn change_root(
        &self,
        cid: Cid,
        guards: bool,
        write: impl FnOnce(&HashSet<Hash>) -> Result<Option<Root>, Fault>,
    ) -> Result<bool, WriteError> {
        let _gate = self.enter();
        self.settle()?;
        let _turn = lock(&self.guard.turn);
        lock(&self.held).generation += 1;
        let is_of_interest = guards || !self.guard.read().blobs.is_empty();
        let below: Vec<Hash> = match is_of_interest.then(|| self.below(cid)) {
            None => Vec::new(),
            Some(Ok(below)) => below.into_iter().collect(),
            Some(Err(error)) if guards => return Err(error.into()),
            Some(Err(error)) => {
                tracing::error!(%cid, %error, "a root cannot be read; what of it is guarded stays so");
                Vec::new()
            }
        };
        let new: HashSet<Hash> = {
            let guarded = self.guard.read();
            let is_new = |hash: &&Hash| guards && !guarded.blobs.contains_key(*hash);
            below.iter().filter(is_new).copied().collect()
        };
        let others = self.others(cid, &new)?;
        let kept = write(&new)?;
        if let Some(root) = kept.as_ref().filter(|_| is_of_interest) {
            let number = self.guard.register(cid, root.allow.clone().map(Arc::from));
            let new: Vec<_> = new.into_iter().collect();
            self.guard.guard(&new, number, &others);
            self.guard.add(number, &below);
        }
        lock(&self.held).generation += 1;
        Ok(kept.is_some())
    }

    /// Other roots that have some of what was everybody's until now: by them it may still be.
    fn others(&self, cid: Cid, new: &HashSet<Hash>) -> Result<Vec<(Number, HashSet<Hash>)>, ReadError> {
        let mut others = Vec::new();
        if new.is_empty() {
            return Ok(others);
        }
        for other in self.tables.roots()? {
            let mut both = self.below(other.cid)?;
            both.retain(|hash| new.contains(hash));
            if other.cid != cid && !both.is_empty() {
                let number = self.guard.register(other.cid, other.allow.map(Arc::from));
                others.push((number, both));
            }
        }
        Ok(others)
    }

    /// What only this root held is nobody's from now on.
    pub(crate) fn leave_root(&self, cid: Cid) {
        let _turn = lock(&self.guard.turn);
        self.guard.leave(cid);
    }

    /// Forgets that blobs were guarded that are neither here nor below a root. Nothing may come in meanwhile.
    pub(crate) fn sweep_guard(&self, marked: &HashSet<Hash>) -> Result<(), WriteError> {
        let unmarked: Vec<Hash> = {
            let guarded = self.guard.read();
            let blobs = guarded.blobs.iter();
            let gone = blobs.filter(|(hash, roots)| **roots == Roots::None && !marked.contains(*hash));
            gone.map(|(hash, _)| *hash).collect()
        };
        let mut gone = Vec::new();
        for hash in unmarked {
            let is_here = lock(&self.pending).find(hash).is_some()
                || self.partial(hash).is_some()
                || self.tables.record(hash)?.is_some();
            if !is_here {
                gone.push(hash);
            }
        }
        for batch in gone.chunks(STEP) {
            self.tables.unguard(batch)?;
            let mut guarded = self.guard.write();
            batch.iter().for_each(|hash| _ = guarded.blobs.remove(hash));
        }
        Ok(())
    }

    fn below(&self, cid: Cid) -> Result<HashSet<Hash>, ReadError> {
        let mut below = HashSet::new();
        self.reach([cid], Missing::Skip, &mut below)?;
        Ok(below)
    }
}
