//! The data directory: made, locked, and opened.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use cardume_store::Store;
use libp2p::identity::Keypair;
use redb::Database;

use crate::{
    Config, StartError, identity,
    lock::{Lock, LockError},
};

/// Pages of the metadata database kept in memory; the default would be 1 GiB.
const DATABASE_CACHE: usize = 8 * 1024 * 1024;
/// Layout of the data directory. A newer program's directory is left alone.
const FORMAT: u32 = 1;

/// What a node keeps on disk, opened. Blocks on the disk while it opens.
pub(crate) struct Home {
    pub(crate) path: PathBuf,
    pub(crate) key: Keypair,
    pub(crate) database: Arc<Database>,
    pub(crate) store: Store,
    /// Last, so that it is let go of last.
    pub(crate) lock: Lock,
}

impl Home {
    /// Opens the data directory of `config`, making what is missing.
    pub(crate) fn open(config: &Config) -> Result<Self, StartError> {
        let path = config.node.data_dir.clone().ok_or(StartError::Config {
            key: "node.data_dir",
            reason: "a node needs a directory for its identity and its store".into(),
        })?;
        usable(&path)?;
        let lock = Lock::acquire(&path).map_err(|error| match error {
            LockError::Held { pid } => StartError::Locked {
                data_dir: path.clone(),
                pid,
            },
            LockError::Io { path, source } => StartError::Io { path, source },
        })?;
        check_format(&path)?;
        let key = identity::load_or_create(&key_path(config, &path))?;
        let store_path = path.join("store");
        make_directory(&store_path)?;
        let database = Arc::new(open_database(&store_path.join("meta.redb"))?);
        let store = Store::open(&store_path, database.clone(), &config.store)?;
        // Who shares a home directory must not share the private key of the node that lives in it.
        keep_private(&store, &path)?;
        keep_private(&store, &key_path(config, &path))?;
        Ok(Self {
            path,
            key,
            database,
            store,
            lock,
        })
    }
}

fn key_path(config: &Config, home: &Path) -> PathBuf {
    config
        .identity
        .key_file
        .as_ref()
        .map_or_else(|| home.join("identity.key"), PathBuf::from)
}

fn keep_private(store: &Store, path: &Path) -> Result<(), StartError> {
    store.keep_private(path).map_err(|source| StartError::Io {
        path: path.into(),
        source,
    })
}

/// Makes the data directory if it is missing, and finds out whether it can be entered and written to.
fn usable(path: &Path) -> Result<(), StartError> {
    use rustix::fs::{Access, access};
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| Ok(access(path, Access::WRITE_OK | Access::EXEC_OK)?))
        .map_err(|source| StartError::DataDir {
            path: path.into(),
            source,
        })
}

fn make_directory(path: &Path) -> Result<(), StartError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StartError::Io {
            path: path.into(),
            source,
        })
}

fn open_database(path: &Path) -> Result<Database, StartError> {
    let failed = |error: &dyn std::fmt::Display| StartError::Database {
        path: path.into(),
        reason: format!(
            "{error}; move it away to start with an empty store (shared files stay where they are)"
        ),
    };
    let mut builder = Database::builder();
    builder.set_cache_size(DATABASE_CACHE);
    if path.try_exists().map_err(|error| failed(&error))? {
        return builder.open(path).map_err(|error| failed(&error));
    }
    // A database that a kill or a full disk left half made would never open again.
    let unfinished = path.with_extension("new");
    appear(path, &unfinished, || {
        builder.create(&unfinished).map(drop).map_err(io::Error::other)
    })
    .map_err(|error| failed(&error))?;
    builder.open(path).map_err(|error| failed(&error))
}

/// Gives `path` what `make` leaves at `unfinished`, whole or not at all.
fn appear(path: &Path, unfinished: &Path, make: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match fs::remove_file(unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => make()?,
    }
    fs::rename(unfinished, path)?;
    fs::File::open(path.parent().expect("a file is in a directory"))?.sync_all()
}

/// Writes the format on the first start, and refuses a directory from the future.
fn check_format(home: &Path) -> Result<(), StartError> {
    let path = home.join("format");
    let failed = |source| StartError::Io {
        path: path.clone(),
        source,
    };
    let mut text = String::new();
    match fs::File::open(&path) {
        Ok(file) => {
            file.take(32).read_to_string(&mut text).map_err(failed)?;
            match text.trim().parse::<u32>() {
                Ok(format) if format <= FORMAT => Ok(()),
                _ => Err(failed(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "the directory has format {:?}; this program knows up to {FORMAT}; use a newer one",
                        text.trim()
                    ),
                ))),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let unfinished = path.with_extension("new");
            appear(&path, &unfinished, || {
                let mut options = fs::OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&unfinished)?;
                io::Write::write_all(&mut file, format!("{FORMAT}\n").as_bytes())?;
                file.sync_all()
            })
            .map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_start_that_was_cut_short_is_begun_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let config = Config {
            node: crate::config::Node {
                data_dir: Some(directory.path().into()),
                ..Default::default()
            },
            ..Config::default()
        };
        fs::write(directory.path().join("format.new"), "").expect("half of a first start");
        fs::create_dir(directory.path().join("store")).expect("half of a first start");
        fs::write(directory.path().join("store/meta.new"), [0; 4096]).expect("half of a first start");
        drop(Home::open(&config).expect("it opens"));
        drop(Home::open(&config).expect("it opens again"));
        assert!(!directory.path().join("format.new").exists());
        assert!(!directory.path().join("store/meta.new").exists());
    }
}
