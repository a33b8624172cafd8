//! File system calls relative to an open directory that never follow a link.
use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::PlaceError;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Asked for in both cases while the directory is empty, so the answer is the file system's own.
const PROBE: &str = ".cardume-probe";
const PROBE_FOLDED: &str = ".CARDUME-PROBE";

/// Opens a directory of `parent`.
pub(super) fn open_directory(parent: BorrowedFd<'_>, name: &OsStr, at: &Path) -> Result<OwnedFd, PlaceError> {
    rustix::fs::openat(parent, name, DIRECTORY, Mode::empty()).map_err(|errno| explain(at, errno))
}

/// Opens the directory that `names` lead to from `root`.
pub(super) fn descend(root: BorrowedFd<'_>, names: &[&str], at: &Path) -> Result<OwnedFd, PlaceError> {
    if names.is_empty() {
        return open_directory(root, OsStr::new("."), at);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let path = names.join("/");
    match rustix::fs::openat2(root, path.as_str(), DIRECTORY, Mode::empty(), resolve) {
        // Old kernels and some sandboxes do not have it; a long path does not fit it.
        Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG | Errno::AGAIN) => step_down(root, names, at),
        other => other.map_err(|errno| explain(at, errno)),
    }
}

fn step_down(root: BorrowedFd<'_>, names: &[&str], at: &Path) -> Result<OwnedFd, PlaceError> {
    let mut directory = open_directory(root, OsStr::new("."), at)?;
    for name in names {
        directory = open_directory(directory.as_fd(), OsStr::new(name), at)?;
    }
    Ok(directory)
}

/// Makes a directory; `false` if it was there.
pub(super) fn directory(parent: BorrowedFd<'_>, name: &OsStr, at: &Path) -> Result<bool, PlaceError> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => open_directory(parent, name, at).map(|_| false),
        Err(errno) => Err(explain(at, errno)),
    }
}

/// Makes an empty file, or checks that the one there is ours alone; returns its permission bits.
pub(super) fn file(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    executable: bool,
    at: &Path,
) -> Result<Mode, PlaceError> {
    let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
    // Non-blocking: a pipe in the way must not hold us up.
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, mode).map_err(|errno| explain(at, errno))?;
    let stat = rustix::fs::fstat(&file).map_err(|errno| PlaceError::io(at, errno))?;
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    // A hard link would let us write into a file that has another name elsewhere.
    if !regular || stat.st_nlink != 1 || stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(PlaceError::refused(at, "something else is in the way"));
    }
    Ok(Mode::from_raw_mode(stat.st_mode & 0o777))
}

/// Removes a file or link, if there is one.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &OsStr, at: &Path) -> Result<(), PlaceError> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(explain(at, errno)),
    }
}

/// Sets the permission bits of a file, not of what a link leads to.
pub(super) fn set_mode(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    mode: Mode,
    at: &Path,
) -> Result<(), PlaceError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(|errno| explain(at, errno))?;
    rustix::fs::fchmod(&file, mode).map_err(|errno| PlaceError::io(at, errno))
}

pub(super) fn owner(directory: BorrowedFd<'_>, at: &Path) -> Result<u32, PlaceError> {
    let stat = rustix::fs::fstat(directory).map_err(|errno| PlaceError::io(at, errno))?;
    Ok(stat.st_uid)
}

/// Finds out whether names that differ in case are one, and what the umask leaves of 0755.
pub(super) fn probe(directory: BorrowedFd<'_>, at: &Path) -> Result<(bool, Mode), PlaceError> {
    let failed = |errno| PlaceError::io(at, errno);
    remove(directory, OsStr::new(PROBE), at)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let wanted = Mode::from_raw_mode(0o755);
    let file = rustix::fs::openat(directory, PROBE, flags, wanted).map_err(failed)?;
    let mode = rustix::fs::fstat(&file).map_err(failed)?.st_mode;
    let folds = rustix::fs::statat(directory, PROBE_FOLDED, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    remove(directory, OsStr::new(PROBE), at)?;
    Ok((folds, Mode::from_raw_mode(mode & 0o777)))
}

fn explain(at: &Path, errno: Errno) -> PlaceError {
    match errno {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::ISDIR => {
            PlaceError::refused(at, "a link or something else is in the way")
        }
        errno => PlaceError::io(at, errno),
    }
}
