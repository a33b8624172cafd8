//! What configuration wants, and how each of it stands.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardume_api::{Follow, WantedFetch};

/// A board that the node writes to and callers read; cheap to clone, all clones are one board.
#[derive(Debug, Clone)]
pub struct Board<Row>(Arc<Mutex<BTreeMap<String, Row>>>);

/// What configuration wants fetched.
pub type Wanted = Board<WantedFetch>;
/// What configuration has follow channels.
pub type Follows = Board<Follow>;

impl<Row> Default for Board<Row> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<Row: Clone> Board<Row> {
    /// Puts a row up, in place of the one of the same name.
    pub fn set(&self, name: &str, row: Row) {
        self.rows().insert(name.to_owned(), row);
    }

    /// Changes the row of `name`, if there is one.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.rows().get_mut(name) {
            change(row);
        }
    }

    /// The row of `name`.
    pub fn find(&self, name: &str) -> Option<Row> {
        self.rows().get(name).cloned()
    }

    /// All rows, by name.
    pub fn list(&self) -> Vec<Row> {
        self.rows().values().cloned().collect()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
