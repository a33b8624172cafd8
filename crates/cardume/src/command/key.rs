//! `cardume key`: private keys, of the node and of an authority.
use std::path::{Path, PathBuf};

use cardume_membership::Authority;
use cardume_node::identity::{self, KeyError};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    failure::{self, Ended, status},
    reach::Reach,
};

/// Private keys: of the node, and of an authority
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new key in a file that only you can read
    Gen(GenOptions),
    /// Show whose key a file holds
    Show {
        /// The file
        file: PathBuf,
        /// It is the key of an authority: print what network.authorities takes
        #[arg(long)]
        authority: bool,
    },
}

/// Make a new key in a file that only you can read
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cardume key gen /etc/cardume/identity.key\n  \
    cardume key gen --authority -o authority.key\n\n\
    Set identity.key_file to the first; without one the daemon makes a key in its data directory.\n\
    The second signs members of a closed network: keep it offline, and put what is printed into\n\
    network.authorities of each member.")]
pub(crate) struct GenOptions {
    /// The file, which must not exist
    #[arg(required_unless_present_any = ["authority", "output"])]
    file: Option<PathBuf>,
    /// The file, as above
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    output: Option<PathBuf>,
    /// Make the key of an authority; in authority.key, if no file is named
    #[arg(long)]
    authority: bool,
}

pub(super) fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let (key, file, authority) = match command {
        Command::Gen(options) => {
            let file = options.file.or(options.output);
            let file = file.unwrap_or_else(|| "authority.key".into());
            (identity::create(&file).map_err(ended)?, file, options.authority)
        }
        Command::Show { file, authority } => (identity::load(&file).map_err(ended)?, file, authority),
    };
    let shown = match (authority, Authority::of(&key)) {
        (true, Some(authority)) => authority.to_string(),
        (true, None) => {
            let message = format!(
                "{}: this key cannot be an authority's, which is Ed25519",
                file.display()
            );
            return Err(Ended::usage(message).into());
        }
        (false, _) => key.public().to_peer_id().to_string(),
    };
    let name = if authority { "authority" } else { "peer_id" };
    Ok(reach
        .out
        .either(&json!({ name: shown, "file": file }), || &shown)?)
}

/// The peer id of the key in a file.
pub(super) fn peer_id(file: &Path) -> Result<String, Ended> {
    let key = identity::load(file).map_err(ended)?;
    Ok(key.public().to_peer_id().to_string())
}

pub(super) fn ended(error: KeyError) -> Ended {
    let status = match &error {
        KeyError::Io { source, .. } => failure::io_status(source),
        KeyError::Exposed { .. } | KeyError::Owner { .. } => cardume_api::Code::Denied.exit_status(),
        KeyError::NotAFile { .. } | KeyError::Malformed { .. } => status::FAILED,
    };
    Ended::new(status, error.to_string())
}
