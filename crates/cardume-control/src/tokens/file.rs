//! Tokens on the disk: one JSON document, replaced as a whole.
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{MAX_TOKENS, Row};

/// Bytes of the file: more than [`MAX_TOKENS`] rows can have.
const MAX_BYTES: u64 = 256 * 1024;
/// The form that this program writes, and the only one that it reads.
const VERSION: u32 = 1;

/// Why tokens cannot be read or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// The file makes no sense.
    #[error("{path} is no list of tokens that this program knows: {reason}; move it away to begin with none")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk refuses.
    #[error("tokens at {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Document<Rows> {
    version: u32,
    tokens: Rows,
}

pub(super) fn read(path: &Path) -> Result<Vec<Row>, TokenFileError> {
    let malformed = |reason: String| TokenFileError::Malformed {
        path: path.to_owned(),
        reason,
    };
    let mut text = Vec::new();
    match File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text)) {
        Ok(_) if text.len() as u64 <= MAX_BYTES => {}
        Ok(_) => return Err(malformed("it is too large".into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(TokenFileError::Io {
                path: path.to_owned(),
                source,
            });
        }
    }
    let document: Document<Vec<Row>> =
        serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    match document {
        Document { version, .. } if version != VERSION => {
            Err(malformed(format!("it is of version {version}")))
        }
        Document { tokens, .. } if tokens.len() > MAX_TOKENS => Err(malformed("there are too many".into())),
        Document { tokens, .. } => Ok(tokens),
    }
}

/// Replaces the file; whoever looks sees the old or the new one, also after a crash.
pub(super) fn write(path: &Path, rows: &[&Row]) -> Result<(), TokenFileError> {
    let document = Document {
        version: VERSION,
        tokens: rows,
    };
    let mut text = serde_json::to_vec_pretty(&document).expect("rows are plain JSON");
    text.push(b'\n');
    replace(path, &text).map_err(|source| TokenFileError::Io {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let next = path.with_extension("next");
    // Left by a crash, it may have another mode.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    File::open(path.parent().unwrap_or_else(|| Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_makes_no_sense_is_refused_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let long = " ".repeat(usize::try_from(MAX_BYTES).unwrap() + 1);
        for text in [
            "",
            "{",
            "[]",
            r#"{"version":2,"tokens":[]}"#,
            r#"{"version":1}"#,
            &long,
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, TokenFileError::Malformed { .. }), "{error}");
        }
        fs::write(&path, r#"{"version":1,"tokens":[]}"#).unwrap();
        assert_eq!(read(&path).unwrap().len(), 0);
    }
}
