//! How the shares are, for whoever wants to know.
use std::{collections::BTreeMap, path::PathBuf};

use cardume_content::Cid;
use tokio::sync::watch;

use crate::{Config, server::Wanted};

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

/// How a share is that begins to be followed: as it was `before`, if that was at the same place.
pub(crate) fn begin(before: Option<&State>, config: &Config) -> State {
    let waiting = State {
        path: config.path.clone(),
        phase: Phase::Waiting,
        cid: None,
        files: 0,
        size: 0,
        allow: None,
        last_change: None,
        problem: None,
    };
    let before = before.filter(|state| state.path == config.path);
    State {
        allow: config.allow.clone(),
        ..before.cloned().unwrap_or(waiting)
    }
}

/// Tells how the shares are, and changes what is shared; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    states: watch::Receiver<States>,
    wanted: watch::Sender<Wanted>,
}

impl Handle {
    pub(crate) fn new(states: watch::Receiver<States>, wanted: watch::Sender<Wanted>) -> Self {
        Self { states, wanted }
    }

    /// Stands for no shares at all.
    pub fn none() -> Self {
        Self::new(watch::channel(States::new()).1, watch::Sender::default())
    }

    /// Shares other things from now on: what is new is taken in, what is gone is not shared any more, what is otherwise
    /// is looked through. What is as before goes on undisturbed.
    ///
    /// Who may have what was shared already is changed by [`renew`](crate::renew), which is to be called after this.
    pub fn set(&self, wanted: BTreeMap<String, Config>) {
        self.wanted.send_replace(wanted);
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
