//! One node per data directory.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;

/// Held for as long as a node uses its data directory; the kernel lets go of it when the process ends,
/// however it ends, so a lock is never stale.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why a data directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("held by process {pid:?}")]
    Held { pid: Option<u32> },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl Lock {
    /// Locks `directory` by its file `lock`, which then names this process.
    pub(crate) fn acquire(directory: &Path) -> Result<Self, LockError> {
        let path = directory.join("lock");
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let _ = (&file).take(32).read_to_string(&mut text);
                return Err(LockError::Held {
                    pid: text.trim().parse().ok(),
                });
            }
            Err(errno) => return Err(failed(errno.into())),
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_holds_the_directory() {
        let home = tempfile::tempdir().unwrap();
        let held = Lock::acquire(home.path()).unwrap();
        let pid = std::process::id();
        assert!(matches!(Lock::acquire(home.path()), Err(LockError::Held { pid: Some(p) }) if p == pid));
        drop(held);
        Lock::acquire(home.path()).unwrap();
    }
}
