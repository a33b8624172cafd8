//! How the shares are, for whoever wants to know.
use std::{collections::BTreeMap, path::PathBuf};

use cardume_content::Cid;
use tokio::sync::watch;

/// What is being done about a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// It waits for its turn.
    Waiting,
    /// It is being taken in.
    Hashing,
    /// It has changed, and is waited for to come to rest.
    Changing,
    /// It is shared as it was found last.
    Shared,
    /// It cannot be taken in; it is tried again.
    Failed,
}

/// How one share is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where it lies.
    pub path: PathBuf,
    /// What is being done about it.
    pub phase: Phase,
    /// Its id, as it was found last.
    pub cid: Option<Cid>,
    /// Number of its files.
    pub files: u64,
    /// Bytes of them.
    pub size: u64,
    /// Who may have it, as its `allow` list has it; none: everybody.
    pub allow: Option<Vec<String>>,
    /// When its id became what it is, in seconds since 1970.
    pub last_change: Option<u64>,
    /// What the operator should know: why it failed, what was left out, or that it cannot be watched.
    pub problem: Option<String>,
}

pub(crate) type States = BTreeMap<String, State>;

/// Tells how the shares are; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    states: watch::Receiver<States>,
}

impl Handle {
    pub(crate) fn new(states: watch::Receiver<States>) -> Self {
        Self { states }
    }

    /// Stands for no shares at all.
    pub fn none() -> Self {
        Self::new(watch::channel(States::new()).1)
    }

    /// How each share is, by name.
    pub fn states(&self) -> BTreeMap<String, State> {
        self.states.borrow().clone()
    }

    /// Follows the states. Who is slow sees the newest of several.
    pub fn follow(&self) -> watch::Receiver<BTreeMap<String, State>> {
        self.states.clone()
    }
}
