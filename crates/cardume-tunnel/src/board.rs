//! How each tunnel is.
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use crate::{Config, Place};

/// Whether a tunnel can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is about to listen.
    Starting,
    /// It can; where it listens, if that is what it does.
    Ready(Option<Place>),
    /// It cannot listen; it tries again by itself.
    Failed(String),
}

/// A tunnel, and how it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// What it is.
    pub config: Config,
    /// Whether somebody asked for it while the node runs: configuration knows nothing of it.
    pub is_asked: bool,
    /// Whether it can be used.
    pub state: State,
    /// Connections that are open, or with UDP senders that are known.
    pub connections: usize,
    /// Connections that were opened since the start, or since it became what it is.
    pub opened: u64,
    /// Connections that were not: there were too many, the peer could not be reached, or the service did not answer.
    pub failed: u64,
    /// Bytes that came from peers.
    pub received: u64,
    /// Bytes that went to peers.
    pub sent: u64,
    /// Datagrams that waited too long.
    pub lost: u64,
    /// Why the last connection that failed did; none since one was opened.
    pub problem: Option<String>,
}

/// How each tunnel is, by name. Cheap to clone; all clones are one board.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<BTreeMap<String, Arc<Tally>>>>);

/// How one is.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) state: watch::Sender<State>,
    open: AtomicUsize,
    opened: AtomicU64,
    failed: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    lost: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Board {
    /// What is counted for a tunnel, from now on if it is new.
    pub(crate) fn of(&self, name: &str) -> Arc<Tally> {
        let mut all = lock(&self.0);
        let tally = all.entry(name.to_owned()).or_insert_with(Tally::new);
        tally.clone()
    }

    /// Forgets those that are gone, or are something else now.
    pub(crate) fn forget(&self, is_gone: impl Fn(&str) -> bool) {
        lock(&self.0).retain(|name, _| !is_gone(name));
    }
}

impl Tally {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            state: watch::Sender::new(State::Starting),
            open: AtomicUsize::new(0),
            opened: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            problem: Mutex::default(),
        })
    }

    /// A place among `max` connections; none if there are as many.
    pub(crate) fn place(self: &Arc<Self>, max: usize) -> Option<Taken> {
        let taken = Taken(self.clone());
        // One too many goes at once, with what it holds.
        (self.open.fetch_add(1, Ordering::Relaxed) < max).then_some(taken)
    }

    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        *lock(&self.problem) = None;
    }

    pub(crate) fn failed(&self, reason: impl Into<String>) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        *lock(&self.problem) = Some(reason.into());
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn lost(&self, datagrams: u64) {
        self.lost.fetch_add(datagrams, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, name: &str, config: &Config, is_asked: bool) -> Status {
        Status {
            name: name.to_owned(),
            config: config.clone(),
            is_asked,
            state: self.state.borrow().clone(),
            connections: self.open.load(Ordering::Relaxed),
            opened: self.opened.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            problem: lock(&self.problem).clone(),
        }
    }
}

/// One of the connections that there may be; let go when dropped.
#[derive(Debug)]
pub(crate) struct Taken(Arc<Tally>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_connections_as_there_may_be() {
        let tally = Board::default().of("a");
        let places: Vec<_> = (0..3).map_while(|_| tally.place(2)).collect();
        assert_eq!(places.len(), 2);
        assert_eq!(tally.open.load(Ordering::Relaxed), 2);
        drop(places);
        assert!(tally.place(1).is_some());
        assert!(tally.place(0).is_none());
    }

    #[test]
    fn what_is_something_else_now_is_counted_anew() {
        let board = Board::default();
        let [kept, gone] = ["kept", "gone"].map(|name| {
            let tally = board.of(name);
            tally.opened();
            tally
        });
        board.forget(|name| name == "gone");
        assert!(Arc::ptr_eq(&board.of("kept"), &kept));
        assert!(!Arc::ptr_eq(&board.of("gone"), &gone));
    }
}
