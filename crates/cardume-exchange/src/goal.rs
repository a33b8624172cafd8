//! Where one fetched file goes.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cardume_store::{Target, place::Place};

use crate::FetchError;

/// A destination being filled, shared by those who fill it.
#[derive(Debug, Clone)]
pub(crate) struct Site(Arc<Mutex<Place>>);

impl Site {
    pub(crate) fn new(place: Place) -> Self {
        Self(Arc::new(Mutex::new(place)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The destination, once nobody else is filling it.
    pub(crate) fn into_place(self) -> Option<Place> {
        let place = Arc::into_inner(self.0)?;
        Some(place.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where one file goes. Making it a target blocks on the disk.
#[derive(Debug, Clone)]
pub(crate) enum Goal {
    /// Into the store's own data.
    Store,
    /// As well, but it is a directory's description, which is not counted as content.
    Manifest,
    /// Exactly there: something broken that the store wants whole again.
    Exact(Target),
    /// A file below a destination, or the destination itself where `path` is empty.
    Site {
        site: Site,
        /// Below the destination, with `/` between names.
        path: Arc<str>,
        executable: bool,
    },
}

/// Splits a path below a destination into its names.
pub(crate) fn names(path: &str) -> Vec<&str> {
    if path.is_empty() {
        Vec::new()
    } else {
        path.split('/').collect()
    }
}

impl Goal {
    /// Makes the file, if it is one, and names it for the store.
    pub(crate) fn target(&self) -> Result<Target, FetchError> {
        match self {
            Self::Store | Self::Manifest => Ok(Target::Store),
            Self::Exact(target) => Ok(target.clone()),
            Self::Site {
                site,
                path,
                executable,
            } => {
                let names = names(path);
                let mut place = site.lock();
                if !names.is_empty() {
                    place.make_file(&names, *executable)?;
                }
                Ok(self.target_of(&place, &names))
            }
        }
    }

    fn target_of(&self, place: &Place, names: &[&str]) -> Target {
        Target::File {
            temporary: place.below(names),
            path: place.below_path(names),
        }
    }
}
