//! `[network]`
use std::{io, path::PathBuf};

use crate::{Authority, AuthorityError, certificate::is_network, files};

/// Authorities that count at a time: two while one takes the other's place, and room for a second pair.
pub const MAX_AUTHORITIES: usize = 4;

/// Which network the node belongs to, and who else does.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Part of every protocol id of ours: two networks never mix.
    pub id: String,
    /// Who may connect.
    pub access: Access,
    /// Who signs certificates of members, at most four: public keys (`ed25519:…`), or absolute paths of files with
    /// one on each line.
    pub authorities: Vec<String>,
    /// The certificate of this node: a path, or `credential:NAME` for a systemd credential. Read again when it
    /// changes.
    pub certificate_file: Option<String>,
    /// Revocations that an authority has signed, besides those that other members pass on: an absolute path. Read
    /// again when it changes.
    pub revocations_file: Option<PathBuf>,
}

/// Who may connect.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Everybody.
    #[default]
    Open,
    /// Peers in `[peer.*]`; nobody else, whoever dials.
    Listed,
    /// Peers that show a certificate of one of `authorities`, whoever dials.
    Certified,
}

impl Access {
    /// As in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Listed => "listed",
            Self::Certified => "certified",
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            id: "main".into(),
            access: Access::Open,
            authorities: Vec::new(),
            certificate_file: None,
            revocations_file: None,
        }
    }
}

/// Why `network.authorities` cannot work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthoritiesError {
    /// There are none.
    #[error("names nobody, and network.access is \"certified\"")]
    None,
    /// There are too many.
    #[error("has {0} keys; at most {MAX_AUTHORITIES} count")]
    TooMany(usize),
    /// A word is no key.
    #[error("{text:?}: {error}")]
    Malformed {
        /// The word.
        text: String,
        /// What it should have been.
        error: AuthorityError,
    },
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl Config {
    /// Whether the network's id is one.
    pub fn has_id(&self) -> bool {
        is_network(&self.id)
    }

    /// Reads the keys of the authorities, from their files too.
    ///
    /// # Errors
    /// When one is no key, or there are none or too many.
    pub fn authorities(&self) -> Result<Vec<Authority>, AuthoritiesError> {
        let mut keys = Vec::new();
        for text in &self.authorities {
            let texts = match text.starts_with('/') {
                true => lines_of(text.into())?,
                false => vec![text.clone()],
            };
            for text in texts {
                let key = text.parse();
                let key = key.map_err(|error| AuthoritiesError::Malformed { text, error })?;
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        match keys.len() {
            0 => Err(AuthoritiesError::None),
            1..=MAX_AUTHORITIES => Ok(keys),
            many => Err(AuthoritiesError::TooMany(many)),
        }
    }
}

/// The lines of a file that are not empty and no comments.
fn lines_of(path: PathBuf) -> Result<Vec<String>, AuthoritiesError> {
    let text = files::read(&path).map_err(|error| AuthoritiesError::Io { path, error })?;
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}
