//! Files that are whole at any moment.
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// Replaces the file at `path` by what `write` writes: at any moment, and after a power cut, it is the old one or the
/// new one.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let directory = directory(path);
    let mut file = tempfile::NamedTempFile::new_in(&directory)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

fn directory(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
