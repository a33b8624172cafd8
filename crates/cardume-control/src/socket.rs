//! The unix socket: made without a moment in which the wrong user could connect.
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use tokio::net::UnixListener;

/// The owner and the group may connect.
const MODE: u32 = 0o660;

/// Why the socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody listens there already.
    #[error("another daemon listens at {path}; stop it first, or give this one its own control.listen")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// Something else than a socket lies there.
    #[error("{path} is there already and is no socket; move it away")]
    NotSocket {
        /// Where.
        path: PathBuf,
    },
    /// Anybody could put another socket in its place.
    #[error("{path} is writable by everybody; put the socket into a directory of its own")]
    Exposed {
        /// The directory.
        path: PathBuf,
    },
    /// The group may not be given the socket.
    #[error(
        "control.group: {path} cannot be given to group {group}: {source}; only root can do that, or a member of the group"
    )]
    NotGiven {
        /// The socket or its directory.
        path: PathBuf,
        /// The number of the group.
        group: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The group could not get to the socket.
    #[error(
        "control.group: group {group} cannot enter {path}, and other things are in it; put the socket into a directory \
         of its own, such as control.listen = \"unix:/run/cardume/cardume.sock\""
    )]
    Unreachable {
        /// The directory.
        path: PathBuf,
        /// The number of the group.
        group: u32,
    },
    /// The disk refuses.
    #[error("the control socket at {path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening socket in the file system; its name goes with it, unless another has taken the name.
#[derive(Debug)]
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the name; none when the name is another's to remove.
    identity: Option<(u64, u64)>,
}

impl Socket {
    /// Listens at `path`, whose directory is made if it is missing. A socket that nobody listens at is replaced.
    pub(crate) fn bind(path: &Path, group: Option<u32>) -> Result<Self, BindError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| BindError::Io { path, source }
        };
        let directory = path.parent().unwrap_or_else(|| Path::new("/"));
        make_directory(directory).map_err(at(directory))?;
        let metadata = fs::metadata(directory).map_err(at(directory))?;
        if metadata.mode() & 0o002 != 0 {
            return Err(BindError::Exposed {
                path: directory.to_owned(),
            });
        }
        check_unused(path)?;
        if let Some(group) = group {
            admit(directory, group)?;
        }
        let private = Private::new(directory).map_err(at(directory))?;
        let hidden = private.0.join("s");
        let listener = UnixListener::bind(&hidden).map_err(at(path))?;
        fs::set_permissions(&hidden, fs::Permissions::from_mode(MODE)).map_err(at(path))?;
        if let Some(group) = group {
            give(&hidden, path, group)?;
        }
        let identity = identity(&hidden).map_err(at(path))?;
        fs::rename(&hidden, path).map_err(at(path))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            identity: Some(identity),
        })
    }

    /// Takes over a socket that listens at `path`; also tells whether its mode keeps it to a group.
    pub(crate) fn inherit(
        listener: std::os::unix::net::UnixListener,
        path: PathBuf,
    ) -> Result<(Self, bool), BindError> {
        let at = |source| BindError::Io {
            path: path.clone(),
            source,
        };
        listener.set_nonblocking(true).map_err(at)?;
        let listener = UnixListener::from_std(listener).map_err(at)?;
        let mode = fs::symlink_metadata(&path).map_err(at)?.mode();
        let socket = Self {
            listener,
            path,
            identity: None,
        };
        Ok((socket, mode & 0o006 == 0))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let own = |found| self.identity.is_some_and(|own| own == found);
        if identity(&self.path).is_ok_and(own) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Makes a directory that only the owner may write to and only the group may enter; one that is there stays.
fn make_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory.parent() {
        fs::create_dir_all(above)?;
    }
    match fs::DirBuilder::new().mode(0o750).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Lets a group into the directory of the socket, if that is a directory of its own.
fn admit(directory: &Path, group: u32) -> Result<(), BindError> {
    let io = |source| BindError::Io {
        path: directory.to_owned(),
        source,
    };
    let metadata = fs::metadata(directory).map_err(io)?;
    if !may_enter(&metadata, group) {
        // Not /root, nor the data directory: there is more in them than the socket.
        let owned = metadata.uid() == rustix::process::geteuid().as_raw();
        if !owned || !holds_sockets_only(directory).map_err(io)? {
            return Err(BindError::Unreachable {
                path: directory.to_owned(),
                group,
            });
        }
        give(directory, directory, group)?;
        let mode = metadata.mode() & 0o700 | 0o050;
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).map_err(io)?;
    }
    for above in directory.ancestors().skip(1) {
        if fs::metadata(above).is_ok_and(|metadata| !may_enter(&metadata, group)) {
            tracing::warn!(directory = ?above, group, "the group of control.group cannot enter this directory, and so does not reach the socket below it");
        }
    }
    Ok(())
}

fn may_enter(metadata: &fs::Metadata, group: u32) -> bool {
    let bit = if metadata.gid() == group { 0o010 } else { 0o001 };
    metadata.mode() & bit != 0
}

fn holds_sockets_only(directory: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileTypeExt;
    for entry in fs::read_dir(directory)? {
        if !entry?.file_type()?.is_socket() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives what is at `path` to a group; `named` is what it is called when that fails.
fn give(path: &Path, named: &Path, group: u32) -> Result<(), BindError> {
    // The process's own group has it from the beginning, and a sandbox may not allow to ask for more.
    if fs::metadata(path).is_ok_and(|metadata| metadata.gid() == group) {
        return Ok(());
    }
    std::os::unix::fs::chown(path, None, Some(group)).map_err(|source| BindError::NotGiven {
        path: named.to_owned(),
        group,
        source,
    })
}

/// Makes sure that nobody listens at `path`, and that what lies there may be replaced.
fn check_unused(path: &Path) -> Result<(), BindError> {
    use std::os::unix::{fs::FileTypeExt, net::UnixStream};
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::Io { path, source }),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(BindError::NotSocket { path }),
        Ok(_) => {}
    }
    match UnixStream::connect(&path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        // A full backlog, or a socket of somebody else's: there is a listener.
        _ => Err(BindError::InUse { path }),
    }
}

/// A directory that nobody else can enter, to make the socket in.
struct Private(PathBuf);

impl Private {
    fn new(beside: &Path) -> io::Result<Self> {
        // Short, because the path of a socket may have only 107 bytes.
        let path = beside.join(format!(".{:x}", std::process::id()));
        let make = || fs::DirBuilder::new().mode(0o700).create(&path);
        match make() {
            // Left behind by a process of the same id that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_dir_all(&path)?;
                make()?;
            }
            made => made?,
        }
        Ok(Self(path))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_socket_is_for_owner_and_group_in_a_directory_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/c.sock");
        let socket = Socket::bind(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o007, 0);
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_another_has_made_stays_when_the_server_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        for (mode, expected) in [(0o660, true), (0o666, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let inherited = Socket::inherit(listener.try_clone().unwrap(), path.clone());
            let (socket, grouped) = inherited.unwrap();
            assert_eq!(grouped, expected, "{mode:o}");
            drop(socket);
            assert!(path.exists());
        }
    }

    #[tokio::test]
    async fn a_group_gets_the_socket_and_a_directory_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let group = rustix::process::getegid().as_raw();
        let path = directory.path().join("run/c.sock");
        // Left by a run without a group.
        make_directory(path.parent().unwrap()).unwrap();
        fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
        let _socket = Socket::bind(&path, Some(group)).unwrap();
        let (inner, outer) = (
            fs::metadata(&path).unwrap(),
            fs::metadata(path.parent().unwrap()).unwrap(),
        );
        assert_eq!((inner.mode() & 0o777, inner.gid()), (0o660, group));
        assert_eq!((outer.mode() & 0o777, outer.gid()), (0o750, group));
    }

    #[tokio::test]
    async fn a_group_is_not_let_into_a_directory_with_other_things_in_it() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(directory.path().join("identity.key"), "secret").unwrap();
        let group = rustix::process::getegid().as_raw();
        let error = Socket::bind(&directory.path().join("c.sock"), Some(group)).unwrap_err();
        assert!(matches!(error, BindError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("control.listen"), "{error}");
        assert_eq!(fs::metadata(directory.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_socket_nobody_listens_at_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let _socket = Socket::bind(&path, None).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
    }

    #[tokio::test]
    async fn a_second_daemon_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        let _first = Socket::bind(&path, None).unwrap();
        let error = Socket::bind(&path, None).unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("another daemon"));
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Socket::bind(&path, None),
            Err(BindError::NotSocket { .. })
        ));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_directory_open_to_everybody_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let bound = Socket::bind(&directory.path().join("c.sock"), None);
        assert!(matches!(bound, Err(BindError::Exposed { .. })));
    }

    #[tokio::test]
    async fn a_name_that_another_has_taken_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.sock");
        let first = Socket::bind(&path, None).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = Socket::bind(&path, None).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
