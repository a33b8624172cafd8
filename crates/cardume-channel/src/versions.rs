//! Versions of followed content on the disk, and the place that has one of them.
//!
//! Beside the link `app` there is a directory `.app.versions` with an entry `NUMBER-CID` for each version. An entry has
//! its name only when it is complete, and the link is replaced in one step. Every method blocks on the disk.
use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use cardume_content::Cid;

use crate::Mode;

mod in_place;

pub use self::in_place::Gone;

/// Before the name of a version that is being deleted.
const REMOVED: &str = ".removed-";
/// Digits of a number in a name, so that names sort as numbers do; more are no harm.
const DIGITS: usize = 8;

/// The versions of one follow.
#[derive(Debug, Clone)]
pub struct Versions {
    /// The directory that the place is in.
    parent: PathBuf,
    link: PathBuf,
    directory: PathBuf,
    mode: Mode,
}

/// A version: what was published under a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The record's number.
    pub number: u64,
    /// What is in it.
    pub cid: Cid,
}

/// What is where the link belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// Nothing.
    Nothing,
    /// A version, or a link to one.
    Version(Version),
    /// Some of a version that was being put there file by file: it has to be put there first.
    Coming(Version),
    /// Something of somebody else's.
    Other,
}

impl Versions {
    /// The versions of the place `to`, which is a link to one of them, or has one itself.
    ///
    /// # Errors
    /// When it has no name, or the directory that it is in is not there.
    pub fn new(to: &Path, mode: Mode) -> io::Result<Self> {
        let (Some(name), Some(parent)) = (to.file_name(), to.parent()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // As the store knows it, whatever links lead there.
        let parent = parent.canonicalize()?;
        let mut directory = OsString::from(".");
        directory.push(name);
        directory.push(".versions");
        Ok(Self {
            link: parent.join(name),
            directory: parent.join(directory),
            parent,
            mode,
        })
    }

    /// The place itself, without links in the directories above it.
    pub fn place(&self) -> &Path {
        &self.link
    }

    /// Where the versions are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a version is, or would be.
    pub fn path(&self, version: Version) -> PathBuf {
        self.directory.join(version.name())
    }

    /// Makes the directory of the versions, and deletes what an earlier run was about to delete.
    ///
    /// # Errors
    /// What the disk says.
    pub fn prepare(&self) -> io::Result<()> {
        // Only this one: where a disk is not mounted, nothing is to be made in its place.
        match fs::DirBuilder::new().mode(0o755).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(REMOVED) {
                delete(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Versions that are complete, oldest first.
    ///
    /// # Errors
    /// What the disk says.
    pub fn list(&self) -> io::Result<Vec<Version>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut versions = Vec::new();
        for entry in entries {
            versions.extend(Version::of_name(&entry?.file_name()));
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// What is at the place.
    ///
    /// # Errors
    /// What the disk says.
    pub fn there(&self) -> io::Result<There> {
        if self.mode == Mode::InPlace {
            return self.there_in_place();
        }
        match fs::read_link(&self.link) {
            Ok(target) => {
                let target = self.parent.join(target);
                let name = target
                    .file_name()
                    .filter(|_| target.parent() == Some(&self.directory));
                Ok(name
                    .and_then(Version::of_name)
                    .map_or(There::Other, There::Version))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(There::Nothing),
            // It is no link.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(There::Other),
            Err(error) => Err(error),
        }
    }

    /// Takes the permission to write from every file of a version: versions share the files that are the same in both.
    ///
    /// # Errors
    /// What the disk says.
    pub fn seal(&self, version: Version) -> io::Result<()> {
        let mut open = vec![self.path(version)];
        while let Some(path) = open.pop() {
            let found = path.symlink_metadata()?;
            if found.is_dir() {
                for entry in fs::read_dir(&path)? {
                    open.push(entry?.path());
                }
            } else if found.is_file() && found.permissions().mode() & 0o222 != 0 {
                let mode = found.permissions().mode() & 0o555;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            }
        }
        Ok(())
    }

    /// Makes the link lead to a version, in one step, once all of the version is on the disk.
    ///
    /// # Errors
    /// `AlreadyExists` when something else than a link of ours is there; nothing is overwritten.
    pub fn switch(&self, version: Version) -> io::Result<()> {
        if self.there()? == There::Other {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let directory = fs::File::open(&self.directory)?;
        rustix::fs::syncfs(&directory)?;
        let target = Path::new(self.directory.file_name().unwrap_or_default()).join(version.name());
        replace_link(&self.directory, &self.link, &target)?;
        fs::File::open(&self.parent)?.sync_all()
    }

    /// Deletes a version. It loses its name first, so that half of one is never taken for one.
    ///
    /// # Errors
    /// `ResourceBusy` when the link leads to it; else what the disk says.
    pub fn remove(&self, version: Version) -> io::Result<()> {
        if self.mode == Mode::Symlink && self.there()? == There::Version(version) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.discard(version)
    }

    fn discard(&self, version: Version) -> io::Result<()> {
        let removed = self.directory.join(format!("{REMOVED}{}", version.name()));
        match fs::rename(self.path(version), &removed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed.and_then(|()| delete(&removed)),
        }
    }
}

impl Version {
    fn name(self) -> String {
        format!("{:0DIGITS$}-{}", self.number, self.cid)
    }

    fn of_name(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        let (number, cid) = name.split_once('-')?;
        let version = Self {
            number: number.parse().ok()?,
            cid: cid.parse().ok()?,
        };
        (version.name() == name).then_some(version)
    }
}

/// Makes `link` lead to `target` in one step; it is made in `directory`, on the same file system.
fn replace_link(directory: &Path, link: &Path, target: &Path) -> io::Result<()> {
    let next = directory.join(".next");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => std::os::unix::fs::symlink(target, &next)?,
    }
    fs::rename(&next, link)
}

/// Deletes a file, or a directory with all that is in it.
fn delete(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

#[cfg(test)]
mod tests {
    use cardume_content::Hash;

    use super::*;

    fn version(number: u64) -> Version {
        Version {
            number,
            cid: Cid::directory(Hash::of(&number.to_le_bytes())),
        }
    }

    fn lay(versions: &Versions, version: Version) {
        let path = versions.path(version);
        fs::create_dir_all(path.join("sub")).unwrap();
        fs::write(path.join("sub/file"), version.number.to_string()).unwrap();
    }

    #[test]
    fn the_link_leads_from_version_to_version_and_what_is_old_goes() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("app");
        let versions = Versions::new(&to, Mode::Symlink).unwrap();
        versions.prepare().unwrap();
        assert_eq!(versions.there().unwrap(), There::Nothing);
        let read = || fs::read_to_string(to.join("sub/file")).unwrap();
        for number in [9, 10] {
            lay(&versions, version(number));
            versions.seal(version(number)).unwrap();
            versions.switch(version(number)).unwrap();
            assert_eq!(versions.there().unwrap(), There::Version(version(number)));
            assert_eq!(read(), number.to_string());
        }
        let file = fs::metadata(to.join("sub/file")).unwrap();
        assert_eq!(file.permissions().mode() & 0o222, 0);
        assert_eq!(versions.list().unwrap(), [version(9), version(10)]);
        let busy = versions.remove(version(10)).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        versions.switch(version(9)).unwrap();
        assert_eq!(read(), "9");
        versions.remove(version(10)).unwrap();
        assert_eq!(versions.list().unwrap(), [version(9)]);
    }

    #[test]
    fn what_somebody_else_put_there_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("app");
        let versions = Versions::new(&to, Mode::Symlink).unwrap();
        versions.prepare().unwrap();
        lay(&versions, version(1));
        fs::write(&to, "mine").unwrap();
        let refused = versions.switch(version(1)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&to).unwrap(), "mine");
        fs::remove_file(&to).unwrap();
        std::os::unix::fs::symlink("elsewhere", &to).unwrap();
        assert_eq!(versions.there().unwrap(), There::Other);
        assert!(versions.switch(version(1)).is_err());
    }

    #[test]
    fn a_kill_leaves_nothing_that_is_taken_for_a_version() {
        let dir = tempfile::tempdir().unwrap();
        let versions = Versions::new(&dir.path().join("app"), Mode::Symlink).unwrap();
        versions.prepare().unwrap();
        lay(&versions, version(1));
        let name = version(1).name();
        fs::create_dir(versions.directory().join(format!("{REMOVED}{name}"))).unwrap();
        fs::create_dir(
            versions
                .directory()
                .join(format!(".{name}.0123456789ab.cardume-part")),
        )
        .unwrap();
        std::os::unix::fs::symlink("x", versions.directory().join(".next")).unwrap();
        versions.prepare().unwrap();
        assert_eq!(versions.list().unwrap(), [version(1)]);
        versions.switch(version(1)).unwrap();
        assert!(!versions.directory().join(format!("{REMOVED}{name}")).exists());
    }
}
