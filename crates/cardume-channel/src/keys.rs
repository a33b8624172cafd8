//! The keys of channels that this node publishes.
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use libp2p_identity::{Keypair, ed25519};

use crate::{ChannelError, Id};

/// Keys of one node: a bound on memory and on lookups, not on use.
const MAX_KEYS: usize = 256;
/// The longest name of a channel, in bytes.
const MAX_NAME: usize = 64;
/// What a key's file is called after its name.
const SUFFIX: &str = ".key";

/// How private keys are read from files and made: the node's own way, for its identity.
#[derive(Debug, Clone, Copy)]
pub struct KeyFiles {
    /// Reads the key in a file.
    pub load: fn(&Path) -> Result<Keypair, String>,
    /// Makes a new Ed25519 key in a file that must not exist; it is on the disk when this returns.
    pub create: fn(&Path) -> Result<Keypair, String>,
}

/// Whether a channel may have this name here.
///
/// # Errors
/// What names are like.
pub fn check_name(name: &str) -> Result<(), ChannelError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.');
    // A name that reads as an id would hide that channel.
    if is_name && name.parse::<Id>().is_err() {
        return Ok(());
    }
    Err(ChannelError::Name(name.chars().take(80).collect()))
}

/// The files in which the keys are.
#[derive(Debug)]
pub(crate) struct Keys {
    directory: PathBuf,
    files: KeyFiles,
}

impl Keys {
    pub(crate) const fn new(directory: PathBuf, files: KeyFiles) -> Self {
        Self { directory, files }
    }

    /// Every key, by name. One that cannot be read is told of in the log and left out.
    pub(crate) fn load(&self) -> io::Result<BTreeMap<String, ed25519::Keypair>> {
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            entries => entries?,
        };
        let mut keys = BTreeMap::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.and_then(|name| name.strip_suffix(SUFFIX)) else {
                continue;
            };
            if check_name(name).is_err() || keys.len() >= MAX_KEYS {
                tracing::warn!(path = %path.display(), "the key of a channel is left out");
                continue;
            }
            match (self.files.load)(&path).and_then(plain) {
                Ok(key) => drop(keys.insert(name.to_owned(), key)),
                Err(error) => tracing::error!(channel = name, error, "the key of a channel cannot be used"),
            }
        }
        Ok(keys)
    }

    /// Makes the key of a new channel, durably.
    pub(crate) fn create(&self, name: &str, count: usize) -> Result<ed25519::Keypair, ChannelError> {
        check_name(name)?;
        if count >= MAX_KEYS {
            return Err(ChannelError::Full);
        }
        let failed =
            |source: io::Error| ChannelError::Failed(format!("{}: {source}", self.directory.display()));
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory);
        made.map_err(failed)?;
        if let Some(above) = self.directory.parent() {
            fs::File::open(above)
                .and_then(|above| above.sync_all())
                .map_err(failed)?;
        }
        let path = self.directory.join(format!("{name}{SUFFIX}"));
        if path.symlink_metadata().is_ok() {
            return Err(ChannelError::Exists(name.into()));
        }
        (self.files.create)(&path)
            .and_then(plain)
            .map_err(ChannelError::Failed)
    }
}

fn plain(key: Keypair) -> Result<ed25519::Keypair, String> {
    key.try_into_ed25519().map_err(|_| "it is no Ed25519 key".into())
}
