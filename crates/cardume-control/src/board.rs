//! What configuration wants, and how each of it stands.
use std::{collections::BTreeMap, sync::Arc};

use cardume_api::{Follow, WantedFetch};
use tokio::sync::watch;

/// A board that the node writes to and callers read; cheap to clone, all clones are one board.
#[derive(Debug, Clone)]
pub struct Board<Row>(Arc<watch::Sender<BTreeMap<String, Row>>>);

/// What configuration wants fetched.
pub type Wanted = Board<WantedFetch>;
/// What configuration has follow channels.
pub type Follows = Board<Follow>;

impl<Row> Default for Board<Row> {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }
}

impl<Row: Clone> Board<Row> {
    /// Puts a row up, in place of the one of the same name.
    pub fn set(&self, name: &str, row: Row) {
        self.0.send_modify(|rows| drop(rows.insert(name.to_owned(), row)));
    }

    /// Takes the row of `name` down.
    pub fn remove(&self, name: &str) {
        self.0.send_modify(|rows| drop(rows.remove(name)));
    }

    /// Changes the row of `name`, if there is one.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Row)) {
        self.0.send_if_modified(|rows| match rows.get_mut(name) {
            Some(row) => {
                change(row);
                true
            }
            None => false,
        });
    }

    /// The row of `name`.
    pub fn find(&self, name: &str) -> Option<Row> {
        self.0.borrow().get(name).cloned()
    }

    /// All rows, by name.
    pub fn list(&self) -> Vec<Row> {
        self.0.borrow().values().cloned().collect()
    }

    /// All rows, by name, as they change.
    pub(crate) fn watch(&self) -> watch::Receiver<BTreeMap<String, Row>> {
        self.0.subscribe()
    }
}
