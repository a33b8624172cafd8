//! Laying out what is fetched at a destination in the file system.
//!
//! Everything grows under a temporary name beside the destination and gets its name in one rename. Every component is
//! reached from an open directory without following links, so neither a peer's manifest nor somebody who can write
//! beside us leads a write elsewhere.
//!
//! # Invariants
//!
//! * Nothing outside the temporary name is created or changed before [`Place::commit`].
//! * An existing destination stays as it is unless `force` was asked for.
//! * The temporary name follows from destination and content alone, so a later try finds what an earlier one left.
use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use cardume_content::{Hash, manifest::symlink_stays_inside};
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RenameFlags},
    io::Errno,
};

mod beneath;
#[cfg(test)]
mod tests;

/// Longest file name of the file systems we know, in bytes.
const MAX_NAME: usize = 255;
/// Of what is being fetched.
pub(crate) const SUFFIX: &str = ".cardume-part";
const ASIDE_SUFFIX: &str = ".cardume-old";

/// What is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One file.
    File {
        /// Whether it may be run.
        executable: bool,
    },
    /// A directory with what is in it.
    Directory,
}

/// A destination being filled.
#[derive(Debug)]
pub struct Place {
    parent: OwnedFd,
    parent_path: PathBuf,
    name: OsString,
    temporary: OsString,
    force: bool,
    shape: Shape,
    /// The temporary directory, if it is one.
    root: Option<OwnedFd>,
    /// Lower-case paths taken so far, where the file system takes two cases for one name.
    folded: Option<HashSet<String>>,
    /// Permission bits that the user's umask leaves an executable file.
    executable: Mode,
    resumed: bool,
}

/// Why a destination cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// Something is there already.
    #[error("{path} exists")]
    Exists {
        /// The destination.
        path: PathBuf,
    },
    /// The destination may not be written to.
    #[error("{path}: {reason}")]
    Refused {
        /// The destination, or a path below it.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// The disk is full.
    #[error("no space left for {path}")]
    NoSpace {
        /// What was written.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl PlaceError {
    fn io(path: &Path, errno: impl Into<io::Error>) -> Self {
        let (path, source) = (path.to_owned(), errno.into());
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace { path },
            _ => Self::Io { path, source },
        }
    }

    fn refused(path: &Path, reason: &'static str) -> Self {
        Self::Refused {
            path: path.to_owned(),
            reason,
        }
    }
}

/// Checks a destination without making anything.
///
/// # Errors
/// As [`Place::begin`].
pub fn check(path: &Path, force: bool, outside: Option<&Path>) -> Result<(), PlaceError> {
    let path = resolve(path, outside)?;
    match path.symlink_metadata() {
        Ok(_) if !force => Err(PlaceError::Exists { path }),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(PlaceError::io(&path, error)),
        _ => Ok(()),
    }
}

impl Place {
    /// Checks the destination and makes (or finds) the temporary name beside it; `outside` may not contain it.
    ///
    /// # Errors
    /// `Exists` when something is at `path` and `force` is not set; `Refused` for a path without a name, below
    /// `outside`, or whose temporary name is somebody else's.
    pub fn begin(
        path: &Path,
        shape: Shape,
        hash: Hash,
        force: bool,
        outside: Option<&Path>,
    ) -> Result<Self, PlaceError> {
        let path = resolve(path, outside)?;
        let (parent_path, name) = split(&path)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(&parent_path, flags, Mode::empty());
        let parent = parent.map_err(|errno| PlaceError::io(&parent_path, errno))?;
        let mut place = Self {
            temporary: temporary_name(&name, hash, SUFFIX),
            parent,
            parent_path,
            name,
            force,
            shape,
            root: None,
            folded: None,
            executable: Mode::from_raw_mode(0o755),
            resumed: false,
        };
        if !force && place.is_taken()? {
            return Err(PlaceError::Exists { path });
        }
        match shape {
            Shape::Directory => place.make_root()?,
            Shape::File { executable } => {
                place.resumed = place.exists(&place.temporary)?;
                let at = place.temporary_path();
                place.executable = beneath::file(place.parent.as_fd(), &place.temporary, executable, &at)?;
            }
        }
        Ok(place)
    }

    /// The destination, absolute and without links in its parents.
    pub fn path(&self) -> PathBuf {
        self.parent_path.join(&self.name)
    }

    /// Where it lies until it is complete.
    pub fn temporary_path(&self) -> PathBuf {
        self.parent_path.join(&self.temporary)
    }

    /// Whether an earlier try left something to go on with.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Makes a directory, whose parents exist; names are outermost first.
    ///
    /// # Errors
    /// `Refused` when the file system takes its name for that of an earlier entry.
    pub fn make_directory(&mut self, names: &[&str]) -> Result<(), PlaceError> {
        let at = self.below(names);
        self.take_name(names, &at)?;
        let (directory, last) = self.open_parent(names, &at)?;
        beneath::directory(directory.as_fd(), &last, &at)?;
        Ok(())
    }

    /// Makes an empty file, or finds the one of an earlier try, and returns where it is.
    ///
    /// # Errors
    /// As [`make_directory`](Self::make_directory).
    pub fn make_file(&mut self, names: &[&str], executable: bool) -> Result<PathBuf, PlaceError> {
        let at = self.below(names);
        self.take_name(names, &at)?;
        let (directory, last) = self.open_parent(names, &at)?;
        beneath::file(directory.as_fd(), &last, executable, &at)?;
        Ok(at)
    }

    /// Takes a name for a file that `make(path)` then creates; one of an earlier try is removed first. Without names
    /// it is the destination itself, if that is a file.
    ///
    /// # Errors
    /// What `make` returns, and as [`make_directory`](Self::make_directory).
    pub fn make_file_with<E: From<PlaceError>>(
        &mut self,
        names: &[&str],
        executable: bool,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        self.make_linked_with(names, executable, |path| make(path).map(|()| None::<()>))?;
        Ok(())
    }

    /// As [`make_file_with`](Self::make_file_with), where `make` may give the name to a file that has another already,
    /// and says so by returning something: its permission bits stay as they are.
    ///
    /// # Errors
    /// What `make` returns, and as [`make_directory`](Self::make_directory).
    pub fn make_linked_with<T, E: From<PlaceError>>(
        &mut self,
        names: &[&str],
        executable: bool,
        make: impl FnOnce(&Path) -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        let at = self.below(names);
        self.take_name(names, &at)?;
        let (directory, last) = self.open_parent(names, &at)?;
        beneath::remove(directory.as_fd(), &last, &at)?;
        let linked = make(&at)?;
        if linked.is_none() {
            let plain = self.executable.difference(Mode::from_raw_mode(0o111));
            let mode = if executable { self.executable } else { plain };
            beneath::set_mode(directory.as_fd(), &last, mode, &at)?;
        }
        Ok(linked)
    }

    /// Makes a symbolic link. Call it after all files are there, so that nothing is ever written through one.
    ///
    /// # Errors
    /// `Refused` for a target that leaves the destination; else as [`make_directory`](Self::make_directory).
    pub fn make_symlink(&mut self, names: &[&str], target: &str) -> Result<(), PlaceError> {
        let at = self.below(names);
        let depth = u32::try_from(names.len().saturating_sub(1)).unwrap_or(u32::MAX);
        if !symlink_stays_inside(depth, target) {
            return Err(PlaceError::refused(&at, "a link that leads out of the directory"));
        }
        self.take_name(names, &at)?;
        let (directory, last) = self.open_parent(names, &at)?;
        beneath::remove(directory.as_fd(), &last, &at)?;
        rustix::fs::symlinkat(target, &directory, &last).map_err(|errno| PlaceError::io(&at, errno))
    }

    /// Gives everything its name. Returns the destination.
    ///
    /// # Errors
    /// `Exists` when somebody else took the name meanwhile; what was fetched stays for the next try.
    pub fn commit(self) -> Result<PathBuf, PlaceError> {
        let path = self.path();
        if self.force {
            self.replace(&path)?;
        } else {
            self.rename_new(&path)?;
        }
        Ok(path)
    }

    /// Deletes what was fetched so far.
    ///
    /// # Errors
    /// When it cannot be deleted, with what is left in place.
    pub fn discard(self) -> Result<(), PlaceError> {
        let at = self.temporary_path();
        let removed = match self.shape {
            Shape::Directory => fs::remove_dir_all(&at),
            Shape::File { .. } => fs::remove_file(&at),
        };
        removed.map_err(|error| PlaceError::io(&at, error))
    }

    /// Where an entry lies until the end.
    pub fn below(&self, names: &[&str]) -> PathBuf {
        let mut path = self.temporary_path();
        path.extend(names);
        path
    }

    /// Where an entry lies in the end.
    pub fn below_path(&self, names: &[&str]) -> PathBuf {
        let mut path = self.path();
        path.extend(names);
        path
    }

    fn make_root(&mut self) -> Result<(), PlaceError> {
        let at = self.temporary_path();
        self.resumed = !beneath::directory(self.parent.as_fd(), &self.temporary, &at)?;
        let root = beneath::open_directory(self.parent.as_fd(), &self.temporary, &at)?;
        if beneath::owner(root.as_fd(), &at)? != rustix::process::geteuid().as_raw() {
            return Err(PlaceError::refused(&at, "a directory of somebody else"));
        }
        let (folds, executable) = beneath::probe(root.as_fd(), &at)?;
        self.folded = folds.then(HashSet::new);
        self.executable = executable;
        self.root = Some(root);
        Ok(())
    }

    fn take_name(&mut self, names: &[&str], at: &Path) -> Result<(), PlaceError> {
        let Some(folded) = &mut self.folded else {
            return Ok(());
        };
        if folded.insert(names.join("/").to_lowercase()) {
            return Ok(());
        }
        Err(PlaceError::refused(
            at,
            "this file system takes two names that differ in case for one",
        ))
    }

    /// The open directory that an entry is in, and the entry's own name.
    fn open_parent(&self, names: &[&str], at: &Path) -> Result<(OwnedFd, OsString), PlaceError> {
        let unsafe_name = |name: &&str| matches!(*name, "" | "." | "..") || name.contains(['/', '\0']);
        let root = self.root.as_ref();
        match (names.split_last(), root) {
            (Some((last, parents)), Some(root)) if !names.iter().any(unsafe_name) => {
                Ok((beneath::descend(root.as_fd(), parents, at)?, last.into()))
            }
            (None, None) => {
                let parent = self
                    .parent
                    .try_clone()
                    .map_err(|error| PlaceError::io(at, error))?;
                Ok((parent, self.temporary.clone()))
            }
            _ => Err(PlaceError::refused(at, "not a path below a directory")),
        }
    }

    fn exists(&self, name: &OsStr) -> Result<bool, PlaceError> {
        match rustix::fs::statat(&self.parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(PlaceError::io(&self.parent_path.join(name), errno)),
        }
    }

    fn is_taken(&self) -> Result<bool, PlaceError> {
        self.exists(&self.name)
    }

    fn rename_new(&self, path: &Path) -> Result<(), PlaceError> {
        let (dir, from, to) = (&self.parent, &self.temporary, &self.name);
        let renamed = match rustix::fs::renameat_with(dir, from, dir, to, RenameFlags::NOREPLACE) {
            // Not every file system can: look first then, which leaves a moment for somebody else.
            Err(Errno::INVAL | Errno::NOSYS) if !self.is_taken()? => rustix::fs::renameat(dir, from, dir, to),
            Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST),
            other => other,
        };
        renamed.map_err(|errno| match errno {
            Errno::EXIST | Errno::NOTEMPTY => PlaceError::Exists {
                path: path.to_owned(),
            },
            errno => PlaceError::io(path, errno),
        })
    }

    fn replace(&self, path: &Path) -> Result<(), PlaceError> {
        let failed = |errno: Errno| PlaceError::io(path, errno);
        let (dir, from, to) = (&self.parent, &self.temporary, &self.name);
        let there = match rustix::fs::statat(dir, to, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return rustix::fs::renameat(dir, from, dir, to).map_err(failed),
            Err(errno) => return Err(failed(errno)),
        };
        if there != FileType::Directory && self.shape != Shape::Directory {
            return rustix::fs::renameat(dir, from, dir, to).map_err(failed);
        }
        // A rename does not replace a directory that is not empty, nor a file by a directory.
        let mut aside = self.temporary.clone();
        aside.push(ASIDE_SUFFIX);
        if aside.len() > MAX_NAME {
            aside = temporary_name(OsStr::new("replaced"), Hash::of(to.as_bytes()), ASIDE_SUFFIX);
        }
        rustix::fs::renameat(dir, to, dir, &aside).map_err(failed)?;
        if let Err(errno) = rustix::fs::renameat(dir, from, dir, to) {
            // Best effort: the first error is the one to tell.
            let _ = rustix::fs::renameat(dir, &aside, dir, to);
            return Err(failed(errno));
        }
        let aside = self.parent_path.join(aside);
        let removed = match there {
            FileType::Directory => fs::remove_dir_all(&aside),
            _ => fs::remove_file(&aside),
        };
        removed.map_err(|error| PlaceError::io(&aside, error))
    }
}

/// The absolute destination, if it is none of the node's own files.
fn resolve(path: &Path, outside: Option<&Path>) -> Result<PathBuf, PlaceError> {
    let (parent, name) = split(path)?;
    let path = parent.join(name);
    match outside.and_then(|outside| outside.canonicalize().ok()) {
        Some(outside) if path.starts_with(&outside) => {
            Err(PlaceError::refused(&path, "inside the node's own data directory"))
        }
        _ => Ok(path),
    }
}

/// The existing parent directory and the name of a destination.
fn split(path: &Path) -> Result<(PathBuf, OsString), PlaceError> {
    let Some(name) = path.file_name() else {
        return Err(PlaceError::refused(path, "a destination needs a name"));
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent
        .canonicalize()
        .map_err(|error| PlaceError::io(parent, error))?;
    Ok((parent, name.to_owned()))
}

/// `.NAME.HASH.cardume-part`, with as much of NAME as fits.
fn temporary_name(name: &OsStr, hash: Hash, suffix: &str) -> OsString {
    let hex: String = hash.to_hex().chars().take(12).collect();
    let rest = format!(".{hex}{suffix}");
    let room = MAX_NAME - 1 - rest.len();
    let name = name.as_bytes();
    let mut temporary = OsString::from(".");
    temporary.push(OsStr::from_bytes(name.get(..room).unwrap_or(name)));
    temporary.push(rest);
    temporary
}
