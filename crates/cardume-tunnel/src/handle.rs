//! The way in for the rest of the node.
use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::{Config, Role, State, Status, board::Board, config::Mistake};

/// Tunnels that are asked for while the node runs, at most.
const MAX_ASKED: usize = 64;
/// Time for one of them to listen.
const STARTING: Duration = Duration::from_secs(5);

/// Tells which tunnels there are, and opens and closes them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    table: watch::Sender<Entries>,
    board: Board,
}

/// Every tunnel, by name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entries(BTreeMap<String, Entry>);

#[derive(Debug, Clone)]
struct Entry {
    config: Config,
    is_asked: bool,
}

/// Why a tunnel is not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It makes no sense.
    #[error("{}: {}", .0.key.unwrap_or("name"), .0.reason)]
    Mistake(Mistake),
    /// There is one of this name.
    #[error("there is a tunnel {0:?} already; close it first, or take another name")]
    Taken(String),
    /// There are too many.
    #[error(
        "{MAX_ASKED} tunnels have been asked for already; close one, or write some into the configuration"
    )]
    TooMany,
    /// It cannot listen.
    #[error("cannot listen: {0}")]
    Listen(String),
}

/// Why a tunnel is not closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// There is none.
    #[error("there is no tunnel {0:?}")]
    Unknown(String),
    /// It would be there again with the next reload.
    #[error("[tunnel.{0}] is in the configuration; take it out there, and reload")]
    Configured(String),
}

impl Entries {
    /// What configuration says.
    pub(crate) fn configured(table: &BTreeMap<String, Config>) -> Self {
        let entry = |config: &Config| Entry {
            config: config.clone(),
            is_asked: false,
        };
        Self(
            table
                .iter()
                .map(|(name, config)| (name.clone(), entry(config)))
                .collect(),
        )
    }

    pub(crate) fn config(&self, name: &str) -> Option<&Config> {
        self.0.get(name).map(|entry| &entry.config)
    }

    /// Those that listen in a peer's stead.
    pub(crate) fn forwards(&self) -> BTreeMap<String, Config> {
        let forwards = self
            .0
            .iter()
            .filter(|(_, entry)| entry.config.role == Role::Forward);
        forwards
            .map(|(name, entry)| (name.clone(), entry.config.clone()))
            .collect()
    }
}

impl Handle {
    pub(crate) fn new(table: watch::Sender<Entries>, board: Board) -> Self {
        let this = Self { table, board };
        this.table
            .borrow()
            .0
            .iter()
            .for_each(|(name, entry)| this.begin(name, entry));
        this
    }

    pub(crate) fn table(&self) -> watch::Receiver<Entries> {
        self.table.subscribe()
    }

    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// A service is there to be asked for as soon as it is named.
    fn begin(&self, name: &str, entry: &Entry) {
        if entry.config.role == Role::Expose {
            self.board.of(name).state.send_replace(State::Ready(None));
        }
    }

    /// Has the tunnels of `table` be there from now on, beside those that were asked for. Connections of those that are as
    /// before go on, as long as the peer may use them: whom names and groups mean is looked up anew.
    pub fn configure(&self, table: &BTreeMap<String, Config>) {
        self.table.send_modify(|entries| {
            let asked = entries
                .0
                .iter()
                .filter(|(name, entry)| entry.is_asked && !table.contains_key(*name));
            let asked: Vec<_> = asked.map(|(name, entry)| (name.clone(), entry.clone())).collect();
            let mut new = Entries::configured(table);
            new.0.extend(asked);
            self.renew(entries, new);
        });
    }

    fn renew(&self, entries: &mut Entries, new: Entries) {
        self.board.forget(|name| entries.config(name) != new.config(name));
        new.0.iter().for_each(|(name, entry)| self.begin(name, entry));
        *entries = new;
    }

    /// Opens one more, until it is closed or the node stops.
    ///
    /// # Errors
    /// When it makes no sense, there is one of that name, or it cannot listen; there is none then.
    ///
    /// # Cancel safety
    /// Dropping it may leave the tunnel there.
    pub async fn open(&self, name: &str, config: Config) -> Result<Status, OpenError> {
        if let Some(mistake) = config.mistakes(name).into_iter().next() {
            return Err(OpenError::Mistake(mistake));
        }
        let mut added = Ok(());
        self.table.send_if_modified(|entries| {
            if entries.0.contains_key(name) {
                added = Err(OpenError::Taken(name.to_owned()));
            } else if entries.0.values().filter(|entry| entry.is_asked).count() >= MAX_ASKED {
                added = Err(OpenError::TooMany);
            } else {
                let mut new = entries.clone();
                let entry = Entry {
                    config: config.clone(),
                    is_asked: true,
                };
                new.0.insert(name.to_owned(), entry);
                self.renew(entries, new);
            }
            added.is_ok()
        });
        added?;
        let tally = self.board.of(name);
        let mut state = tally.state.subscribe();
        let known = timeout(STARTING, state.wait_for(|state| *state != State::Starting)).await;
        if let Ok(Ok(state)) = known
            && let State::Failed(reason) = &*state
        {
            let reason = reason.clone();
            drop(state);
            let _ = self.close(name);
            return Err(OpenError::Listen(reason));
        }
        Ok(tally.status(name, &config, true))
    }

    /// Closes one that was asked for, with its connections.
    ///
    /// # Errors
    /// When there is none, or it is in the configuration.
    pub fn close(&self, name: &str) -> Result<(), CloseError> {
        let mut closed = Ok(());
        self.table.send_if_modified(|entries| {
            closed = match entries.0.get(name) {
                None => Err(CloseError::Unknown(name.to_owned())),
                Some(entry) if !entry.is_asked => Err(CloseError::Configured(name.to_owned())),
                Some(_) => {
                    let mut new = entries.clone();
                    new.0.remove(name);
                    self.renew(entries, new);
                    Ok(())
                }
            };
            closed.is_ok()
        });
        closed
    }

    /// Every tunnel and how it is, by name.
    pub fn list(&self) -> Vec<Status> {
        let entries = self.table.borrow();
        let status = |(name, entry): (&String, &Entry)| {
            self.board.of(name).status(name, &entry.config, entry.is_asked)
        };
        entries.0.iter().map(status).collect()
    }
}
