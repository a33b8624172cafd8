//! The node's private key on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use libp2p::identity::Keypair;

/// A private key file is smaller than this; anything larger is something else.
const MAX_KEY_FILE: u64 = 4096;

/// Why there is no usable private key. Each is for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file could not be read or made.
    #[error("{path}: {source}")]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Other users can read or change it.
    #[error("{path} has mode {mode:04o}, so others can use this node's identity; run: chmod 600 {path}")]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user.
    #[error(
        "{path} belongs to user {owner}, not to the user that runs the node ({user}); run: chown {user} {path}"
    )]
    Owner {
        /// The key file.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who runs the node.
        user: u32,
    },
    /// It is not a file, or a link to one.
    #[error("{path} is not a regular file; a private key must be one, and no link")]
    NotAFile {
        /// The key file.
        path: PathBuf,
    },
    /// Its bytes are no key.
    #[error(
        "{path} is not a libp2p private key; restore it from a backup, or move it away to get a new identity"
    )]
    Malformed {
        /// The key file.
        path: PathBuf,
    },
}

/// Reads the key at `path`, or makes a new Ed25519 key there if nothing is.
///
/// The format is libp2p's protobuf `PrivateKey` (peer-ids spec), so `ipfs` and others can read it.
///
/// # Errors
///
/// [`KeyError`] when the file is exposed to other users, not a regular file, or no key.
pub fn load_or_create(path: &Path) -> Result<Keypair, KeyError> {
    match load(path) {
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => create(path),
        loaded => loaded,
    }
}

/// Reads the key at `path`.
///
/// # Errors
///
/// As [`load_or_create`], and when there is no file.
pub fn load(path: &Path) -> Result<Keypair, KeyError> {
    let failed = |source| KeyError::Io {
        path: path.into(),
        source,
    };
    if fs::symlink_metadata(path).map_err(failed)?.is_symlink() {
        return Err(KeyError::NotAFile { path: path.into() });
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyError::NotAFile { path: path.into() });
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(KeyError::Owner {
            path: path.into(),
            owner: metadata.uid(),
            user,
        });
    }
    // systemd hands credentials out as 0400 or, with an access list for the service's user, as 0440.
    let mode = metadata.mode() & 0o7777;
    let from_systemd = metadata.uid() == 0 && mode == 0o440;
    if mode & 0o077 != 0 && !from_systemd {
        return Err(KeyError::Exposed {
            path: path.into(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Keypair::from_protobuf_encoding(&bytes).map_err(|_| KeyError::Malformed { path: path.into() })
}

/// Makes a new key at `path`, which must not exist; it is on disk when this returns.
///
/// # Errors
///
/// [`KeyError::Io`], of kind `AlreadyExists` when something is there.
pub fn create(path: &Path) -> Result<Keypair, KeyError> {
    let key = Keypair::generate_ed25519();
    let bytes = key
        .to_protobuf_encoding()
        .expect("an Ed25519 key has an encoding");
    write_new(path, &bytes).map_err(|source| KeyError::Io {
        path: path.into(),
        source,
    })?;
    Ok(key)
}

/// Writes a file that only its owner can read, all of it or none, and never over another.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Made private from its first moment, then linked in whole: a crash leaves no half key behind.
    let mut temporary = tempfile::Builder::new()
        .prefix(".identity")
        .tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    temporary
        .persist_noclobber(path)
        .map_err(|failure| failure.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("identity.key");
        let first = load_or_create(&path).unwrap().public();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(load_or_create(&path).unwrap().public(), first);
        assert!(
            matches!(create(&path), Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists)
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("identity.key");
        load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            load_or_create(&path),
            Err(KeyError::Exposed { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_link_a_directory_and_garbage_are_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("real.key");
        load_or_create(&real).unwrap();
        let link = home.path().join("link.key");
        symlink(&real, &link).unwrap();
        assert!(matches!(load_or_create(&link), Err(KeyError::NotAFile { .. })));
        assert!(matches!(
            load_or_create(home.path()),
            Err(KeyError::NotAFile { .. } | KeyError::Exposed { .. })
        ));

        let garbage = home.path().join("garbage.key");
        write_new(&garbage, b"not a key").unwrap();
        assert!(matches!(
            load_or_create(&garbage),
            Err(KeyError::Malformed { .. })
        ));
        assert_eq!(fs::read(&garbage).unwrap(), b"not a key");
    }
}
