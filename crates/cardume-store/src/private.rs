//! What the node keeps to itself: never shared, whatever it lies in.
use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::Stat;

use crate::{ImportError, Store, lock};

/// A place that holds keys or state of the node itself.
#[derive(Debug)]
pub(crate) struct Private {
    path: PathBuf,
    /// What it is on the disk: under a bind mount or a hard link it has other paths.
    device: u64,
    inode: u64,
}

impl Private {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        let metadata = path.symlink_metadata()?;
        Ok(Self {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }

    pub(crate) fn is(&self, path: &Path, stat: &Stat) -> bool {
        self.path == path || (self.device, self.inode) == (stat.st_dev, stat.st_ino)
    }
}

impl Store {
    /// Never takes in the file or directory at `path` from now on, nor what is in it. The store's own directory is
    /// known already; its node adds where its private key and its other state are.
    ///
    /// # Errors
    /// When there is nothing at `path`.
    pub fn keep_private(&self, path: &Path) -> io::Result<()> {
        let private = Arc::new(Private::new(path)?);
        lock(&self.inner.private).push(private);
        Ok(())
    }

    /// Refuses what is private, or in something that is.
    pub(crate) fn refuse_private(&self, path: &Path) -> Result<(), ImportError> {
        let private = lock(&self.inner.private);
        let Some(of) = private.iter().find(|private| path.starts_with(&private.path)) else {
            return Ok(());
        };
        let place = of.path.display();
        let reason = if path == of.path {
            "this holds the node's own state, which is never shared; share another path".to_owned()
        } else {
            format!(
                "it lies in {place}, which holds the node's own state and is never shared; move it elsewhere"
            )
        };
        Err(ImportError::Unsupported {
            path: path.to_owned(),
            reason,
        })
    }
}
