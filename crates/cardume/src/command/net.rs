//! `cardume net`: the node's addresses.
use clap::Subcommand;

use super::{kad, rates};
use crate::reach::Reach;

/// The node's addresses and networks
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Where the node listens, and where others reach it
    Addrs,
    /// How fast content may go: tells it, or changes it while the node runs
    Rates(rates::Options),
    /// The distributed hash table
    #[command(subcommand)]
    Kad(kad::Command),
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Addrs => {
            let status = reach.daemon().await?.status().await?;
            let value = serde_json::json!({
                "peer_id": status.peer_id, "listen": status.listen, "external": status.external,
            });
            reach.out.either(&value, || {
                let suffix = format!("/p2p/{}", status.peer_id);
                let lines = status.listen.iter().chain(&status.external).map(|address| {
                    let address = address.to_string();
                    if address.ends_with(&suffix) {
                        address
                    } else {
                        address + &suffix
                    }
                });
                lines.collect::<Vec<_>>().join("\n")
            })?;
            Ok(())
        }
        Command::Rates(options) => rates::run(reach, options).await,
        Command::Kad(command) => kad::run(reach, command).await,
    }
}
