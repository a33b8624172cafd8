//! A version put into its place file by file: each of them is the old one or the new one, never half of one.
use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{There, Version, Versions, replace_link};

/// The version that is at the place.
const PRESENT: &str = ".present";
/// The version that is being put there.
const COMING: &str = ".coming";

impl Versions {
    /// What is at the place, by the notes that [`merge`](Self::merge) leaves.
    pub(super) fn there_in_place(&self) -> io::Result<There> {
        let note = |name: &str| match fs::read_link(self.directory.join(name)) {
            Ok(target) => Ok(target.file_name().and_then(Version::of_name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        if let Some(coming) = note(COMING)? {
            return Ok(There::Coming(coming));
        }
        match (note(PRESENT)?, self.link.symlink_metadata()) {
            (Some(present), Ok(_)) => Ok(There::Version(present)),
            (None, Ok(_)) => Ok(There::Other),
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(There::Nothing),
            (_, Err(error)) => Err(error),
        }
    }

    /// The version that was at the place last, whatever is there now.
    ///
    /// # Errors
    /// What the disk says.
    pub fn last_in_place(&self) -> io::Result<Option<Version>> {
        match fs::read_link(self.directory.join(PRESENT)) {
            Ok(target) => Ok(target.file_name().and_then(Version::of_name)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a version that is complete into its place, file by file, and deletes what is `gone`: paths below the place
    /// that the version before had and this one has not. What it was doing when it was killed, it does again.
    ///
    /// # Errors
    /// `AlreadyExists` when something is there that no version has put there; else what the disk says.
    pub fn merge(&self, version: Version, gone: &[Gone]) -> io::Result<()> {
        if self.there_in_place()? == There::Other {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let directory = fs::File::open(&self.directory)?;
        rustix::fs::syncfs(&directory)?;
        let (staged, name) = (self.path(version), PathBuf::from(version.name()));
        replace_link(&self.directory, &self.directory.join(COMING), &name)?;
        directory.sync_all()?;
        if staged.symlink_metadata().is_ok() {
            Merge { to: &self.link, gone }.lay(&staged, &self.link)?;
        }
        gone.iter().try_for_each(|gone| gone.clear(&self.link))?;
        rustix::fs::syncfs(&directory)?;
        replace_link(&self.directory, &self.directory.join(PRESENT), &name)?;
        // Its name goes before the note does: what is left of it must not be taken for a version.
        self.discard(version)?;
        fs::remove_file(self.directory.join(COMING))?;
        directory.sync_all()
    }
}

/// Something that a version had and the next has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// Below the place.
    pub path: PathBuf,
    /// Whether it was a directory; those come after what was in them.
    pub is_directory: bool,
}

/// One merge.
struct Merge<'a> {
    to: &'a Path,
    gone: &'a [Gone],
}

impl Merge<'_> {
    fn lay(&self, from: &Path, to: &Path) -> io::Result<()> {
        let is_directory = from.symlink_metadata()?.is_dir();
        let in_the_way = to
            .symlink_metadata()
            .ok()
            .filter(|found| found.is_dir() != is_directory);
        if in_the_way.is_some() {
            // A file became a directory, or the other way round: the old one has to go first.
            let below = |gone: &&Gone| self.to.join(&gone.path).starts_with(to);
            for gone in self.gone.iter().filter(below) {
                gone.clear(self.to)?;
            }
        }
        if !is_directory {
            // Of one file under both names nothing changes, and the first name stays.
            return fs::rename(from, to);
        }
        match fs::create_dir(to) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            self.lay(&entry.path(), &to.join(entry.file_name()))?;
        }
        Ok(())
    }
}

impl Gone {
    /// Deletes it, if it is still what it was; what somebody else has put into a directory stays, and the directory.
    fn clear(&self, place: &Path) -> io::Result<()> {
        let path = place.join(&self.path);
        match path.symlink_metadata() {
            Ok(found) if found.is_dir() == self.is_directory => {}
            _ => return Ok(()),
        }
        if !self.is_directory {
            return fs::remove_file(path);
        }
        match fs::remove_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use cardume_content::{Cid, Hash};

    use super::*;
    use crate::Mode;

    fn version(number: u64) -> Version {
        Version {
            number,
            cid: Cid::directory(Hash::of(&number.to_le_bytes())),
        }
    }

    fn stage(versions: &Versions, number: u64, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = versions.path(version(number)).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    /// Of names that end in a slash directories.
    fn gone(paths: &[&str]) -> Vec<Gone> {
        let gone = |path: &&str| Gone {
            path: path.trim_end_matches('/').into(),
            is_directory: path.ends_with('/'),
        };
        paths.iter().map(gone).collect()
    }

    #[test]
    fn a_version_takes_the_place_of_another_file_by_file() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("app");
        let versions = Versions::new(&to, Mode::InPlace).unwrap();
        versions.prepare().unwrap();
        stage(
            &versions,
            1,
            &[
                ("same", "s"),
                ("old/file", "o"),
                ("swap/file", "x"),
                ("turn", "t"),
            ],
        );
        assert_eq!(versions.there().unwrap(), There::Nothing);
        versions.merge(version(1), &[]).unwrap();
        assert_eq!(versions.there().unwrap(), There::Version(version(1)));
        assert!(versions.list().unwrap().is_empty());
        fs::write(to.join("mine"), "m").unwrap();
        // The file that is the same is one file under two names, as a fetch lays it out.
        stage(&versions, 2, &[("swap", "a file"), ("turn/into", "a directory")]);
        fs::hard_link(to.join("same"), versions.path(version(2)).join("same")).unwrap();
        let old = gone(&["turn", "swap/file", "swap/", "old/file", "old/"]);
        versions.merge(version(2), &old).unwrap();
        let read = |name: &str| fs::read_to_string(to.join(name)).ok();
        assert_eq!(read("same").as_deref(), Some("s"));
        assert_eq!(read("swap").as_deref(), Some("a file"));
        assert_eq!(read("turn/into").as_deref(), Some("a directory"));
        assert_eq!(
            read("mine").as_deref(),
            Some("m"),
            "what is somebody else's stays"
        );
        assert!(!to.join("old").exists());
        assert!(versions.list().unwrap().is_empty());
    }

    #[test]
    fn a_merge_that_was_cut_short_is_done_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("app");
        let versions = Versions::new(&to, Mode::InPlace).unwrap();
        versions.prepare().unwrap();
        stage(&versions, 1, &[("a", "1"), ("b", "1"), ("c", "1")]);
        versions.merge(version(1), &[]).unwrap();
        stage(&versions, 2, &[("a", "2"), ("b", "2")]);
        let coming = versions.directory().join(COMING);
        replace_link(versions.directory(), &coming, Path::new(&version(2).name())).unwrap();
        fs::rename(versions.path(version(2)).join("a"), to.join("a")).unwrap();
        assert_eq!(versions.there().unwrap(), There::Coming(version(2)));
        versions.merge(version(2), &gone(&["c"])).unwrap();
        assert_eq!(versions.there().unwrap(), There::Version(version(2)));
        for name in ["a", "b"] {
            assert_eq!(fs::read_to_string(to.join(name)).unwrap(), "2");
        }
        assert!(!to.join("c").exists());
    }

    #[test]
    fn what_somebody_else_put_there_is_not_merged_into() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("app");
        fs::create_dir(&to).unwrap();
        let versions = Versions::new(&to, Mode::InPlace).unwrap();
        versions.prepare().unwrap();
        stage(&versions, 1, &[("a", "1")]);
        assert_eq!(versions.there().unwrap(), There::Other);
        let refused = versions.merge(version(1), &[]).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    }
}
