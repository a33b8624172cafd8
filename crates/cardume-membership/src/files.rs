//! Certificates and lists on the disk.
use std::{
    fs::{File, Metadata},
    io::{self, Read as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{Certificate, Flaw, RevocationList, armor::Armored as _};

/// Bytes of a file that is read; a longer one is something else.
const MAX_FILE: u64 = 1 << 20;

/// Why a file does not hold what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It holds none, or more than one.
    #[error("{}: there is no {what} in it, or more than one", path.display())]
    Missing {
        /// Which one.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// What it holds is damaged.
    #[error("{}: {what} in it {flaw}", path.display())]
    Flawed {
        /// Which one.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong with that.
        flaw: Flaw,
    },
}

/// Reads the certificate in a file. Blocks.
///
/// # Errors
/// When there is none, or more than one, or it is damaged.
pub fn certificate(path: &Path) -> Result<Certificate, FileError> {
    let text = read(path).map_err(|error| failed(path, error))?;
    let mut found = Certificate::unarmor(&text).map_err(|flaw| FileError::Flawed {
        path: path.into(),
        what: "a certificate",
        flaw,
    })?;
    match (found.pop(), found.is_empty()) {
        (Some(certificate), true) => Ok(certificate),
        _ => Err(FileError::Missing {
            path: path.into(),
            what: "certificate",
        }),
    }
}

/// Reads the lists of revocations in a file, of which there may be none. Blocks.
///
/// # Errors
/// When it cannot be read, or a list is damaged.
pub fn revocations(path: &Path) -> Result<Vec<RevocationList>, FileError> {
    let text = read(path).map_err(|error| failed(path, error))?;
    RevocationList::unarmor(&text).map_err(|flaw| FileError::Flawed {
        path: path.into(),
        what: "a list of revocations",
        flaw,
    })
}

/// Writes lists of revocations to a file, which is whole at any moment. Blocks.
///
/// # Errors
/// When the disk refuses.
pub fn keep<'a>(path: &Path, lists: impl IntoIterator<Item = &'a RevocationList>) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    for list in lists {
        file.write_all(list.armor().as_bytes())?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "the file is too large",
        ));
    }
    Ok(text)
}

fn failed(path: &Path, error: io::Error) -> FileError {
    FileError::Io {
        path: path.into(),
        error,
    }
}

/// What tells whether a file has changed; `None` when it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp(Option<(u64, u64, i64, i64)>);

impl Stamp {
    /// Of a file that has not been looked at.
    pub(crate) const NONE: Self = Self(None);

    pub(crate) fn of(path: &Path) -> Self {
        let stamp = |found: Metadata| (found.ino(), found.len(), found.mtime(), found.mtime_nsec());
        Self(std::fs::metadata(path).ok().map(stamp))
    }
}
