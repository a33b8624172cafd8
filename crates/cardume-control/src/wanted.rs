//! What configuration wants fetched, and how each of it stands.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cardume_api::WantedFetch;

/// A board that the node writes to and callers read; cheap to clone, all clones are one board.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Arc<Mutex<BTreeMap<String, WantedFetch>>>);

impl Wanted {
    /// Puts a row up, in place of the one of the same name.
    pub fn set(&self, row: WantedFetch) {
        self.rows().insert(row.name.clone(), row);
    }

    /// Changes the row of `name`, if there is one.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut WantedFetch)) {
        if let Some(row) = self.rows().get_mut(name) {
            change(row);
        }
    }

    /// All rows, by name.
    pub fn list(&self) -> Vec<WantedFetch> {
        self.rows().values().cloned().collect()
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, WantedFetch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
