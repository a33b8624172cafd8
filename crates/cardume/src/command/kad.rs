//! `cardume kad`: the distributed hash table.
use std::io::Read;

use anyhow::Context;
use cardume_api::Provider;
use cardume_content::Link;
use clap::Subcommand;
use futures::StreamExt;
use multiaddr::PeerId;

use super::wait;
use crate::{out::Out, reach::Reach};

/// Bytes of a record's value that are read from stdin; peers take far fewer.
const MAX_VALUE: u64 = 64 * 1024;

/// The distributed hash table
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    cardume net kad status\n  \
    cardume net kad providers bafkr4i…\n  \
    cardume net kad find-peer 12D3KooW…")]
pub(crate) enum Command {
    /// How the node takes part
    Status,
    /// Look up a peer's addresses
    FindPeer {
        /// Its peer id
        peer: PeerId,
    },
    /// Look up who has some content
    Providers {
        /// The content
        #[arg(value_name = "LINK|CID")]
        link: Link,
    },
    /// Announce that this node has some content, until it stops
    Provide {
        /// The content
        #[arg(value_name = "LINK|CID")]
        link: Link,
    },
    /// Read a record
    Get {
        /// Its key
        key: String,
    },
    /// Write a record
    Put {
        /// Its key
        key: String,
        /// Its value; - reads it from stdin
        value: String,
    },
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    let out = reach.out;
    let work = async {
        match command {
            Command::Status => {
                let kad = client.kad().await?;
                out.either(&kad, || {
                    let role = if kad.server { "server" } else { "client" };
                    format!(
                        "mode      {role}\npeers     {}\nprovided  {}\nrecords   {}\nlookups   {}",
                        kad.peers, kad.provided, kad.records, kad.queries
                    )
                })?;
            }
            Command::FindPeer { peer } => {
                for found in client.find_peer(&peer.to_string()).await? {
                    tell(&found, out)?;
                }
            }
            Command::Providers { link } => {
                let mut providers = Box::pin(client.providers(link.cid).await?);
                while let Some(provider) = providers.next().await {
                    tell(&provider?, out)?;
                }
            }
            Command::Provide { link } => {
                client.provide(link.cid).await?;
                if out.is_json() {
                    out.json(&serde_json::json!({ "cid": link.cid, "provided": true }))?;
                }
            }
            Command::Get { key } => {
                let value = client.record(&key).await?;
                if out.is_json() {
                    use base64::Engine;
                    let data = base64::engine::general_purpose::STANDARD.encode(&value);
                    out.json(&serde_json::json!({ "key": key, "data": data }))?;
                } else {
                    out.bytes(&value)?;
                }
            }
            Command::Put { key, value } => {
                client.put_record(&key, bytes_of(value)?.into()).await?;
                if out.is_json() {
                    out.json(&serde_json::json!({ "key": key, "written": true }))?;
                }
            }
        }
        Ok(())
    };
    wait::unless_interrupted(work).await?
}

fn bytes_of(value: String) -> anyhow::Result<Vec<u8>> {
    if value != "-" {
        return Ok(value.into_bytes());
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX_VALUE)
        .read_to_end(&mut bytes)
        .context("cannot read the value from stdin")?;
    Ok(bytes)
}

fn tell(provider: &Provider, out: &Out) -> std::io::Result<()> {
    out.either(provider, || {
        let addresses: Vec<String> = provider.addresses.iter().map(ToString::to_string).collect();
        format!("{}\t{}", provider.peer_id, addresses.join(" "))
    })
}
