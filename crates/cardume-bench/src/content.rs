//! What is moved: one file, or a tree of small ones.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::ensure;
use cardume_testkit::files;

/// Files or a file, made once for all contestants of a workload.
#[derive(Debug, Clone)]
pub struct Content {
    /// Where it lies.
    pub path: PathBuf,
    shape: Shape,
}

/// What content looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One file of this many bytes.
    File(u64),
    /// A number of files of this many bytes each, a hundred to a directory.
    Tree(u64, u64),
    /// So many bytes that are never on disk.
    Memory(u64),
}

impl Shape {
    /// Number of files.
    pub fn files(self) -> u64 {
        match self {
            Self::File(_) => 1,
            Self::Tree(files, _) => files,
            Self::Memory(_) => 0,
        }
    }

    /// Bytes in all files.
    pub fn bytes(self) -> u64 {
        match self {
            Self::File(size) | Self::Memory(size) => size,
            Self::Tree(files, size) => files * size,
        }
    }
}

impl Content {
    /// Makes it in `parent`.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn make(parent: &Path, shape: Shape) -> anyhow::Result<Self> {
        let path = parent.join("content");
        match shape {
            Shape::File(size) => files::random_file(&path, size, 7)?,
            Shape::Tree(count, size) => files::random_tree(&path, count, size)?,
            Shape::Memory(_) => {}
        }
        Ok(Self { path, shape })
    }

    /// What it looks like.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Paths of its files, relative to its own; one empty path for a single file.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        walk(&self.path, &mut |file, _| found.push(file.to_path_buf()))?;
        let relative = found
            .iter()
            .map(|file| Ok(file.strip_prefix(&self.path)?.to_path_buf()));
        relative.collect()
    }

    /// Checks that as many bytes as expected have arrived at `path`.
    ///
    /// # Errors
    ///
    /// If they have not.
    pub fn check(&self, path: &Path) -> anyhow::Result<()> {
        let mut bytes = 0;
        walk(path, &mut |_, size| bytes += size)?;
        let expected = self.shape.bytes();
        ensure!(bytes == expected, "{bytes} bytes of {expected} arrived");
        Ok(())
    }
}

fn walk(path: &Path, visit: &mut dyn FnMut(&Path, u64)) -> anyhow::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() {
        visit(path, metadata.len());
        return Ok(());
    }
    let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::path);
    entries.iter().try_for_each(|entry| walk(&entry.path(), visit))
}

/// Removes what was fetched; trees are left for the end.
///
/// ext4 makes new files several times slower for minutes after thousands have been removed, so the next run
/// would pay for it.
///
/// # Errors
///
/// What the disk says.
pub fn clear(path: &Path) -> anyhow::Result<()> {
    if path.is_file() {
        fs::remove_file(path)?;
    }
    Ok(())
}
