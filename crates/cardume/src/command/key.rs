//! `cardume key`: the node's private key.
use std::path::{Path, PathBuf};

use cardume_node::identity::{self, KeyError};
use clap::Subcommand;

use crate::{
    failure::{self, Ended, status},
    reach::Reach,
};

/// The node's private key
#[derive(Debug, Subcommand)]
#[command(after_help = "Example:\n  cardume key gen /etc/cardume/identity.key\n\n\
    Then set identity.key_file to it. Without one the daemon makes a key in its data directory.")]
pub(crate) enum Command {
    /// Make a new key in a file that only you can read
    Gen {
        /// The file, which must not exist
        file: PathBuf,
    },
    /// Show whose key a file holds
    Show {
        /// The file
        file: PathBuf,
    },
}

pub(super) fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let (peer_id, file) = match command {
        Command::Gen { file } => {
            let key = identity::create(&file).map_err(ended)?;
            (key.public().to_peer_id().to_string(), file)
        }
        Command::Show { file } => (peer_id(&file)?, file),
    };
    let value = serde_json::json!({ "peer_id": peer_id, "file": file });
    Ok(reach.out.either(&value, || &peer_id)?)
}

/// The peer id of the key in a file.
pub(super) fn peer_id(file: &Path) -> Result<String, Ended> {
    let key = identity::load(file).map_err(ended)?;
    Ok(key.public().to_peer_id().to_string())
}

fn ended(error: KeyError) -> Ended {
    let status = match &error {
        KeyError::Io { source, .. } => failure::io_status(source),
        KeyError::Exposed { .. } | KeyError::Owner { .. } => cardume_api::Code::Denied.exit_status(),
        KeyError::NotAFile { .. } | KeyError::Malformed { .. } => status::FAILED,
    };
    Ended::new(status, error.to_string())
}
