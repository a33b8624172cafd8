//! `cardume peer`: whom the node is connected to.
use anyhow::Context;
use cardume_api::{NewPeer, Path};
use clap::Subcommand;
use multiaddr::{Multiaddr, PeerId, Protocol};

use super::wait;
use crate::{
    reach::Reach,
    text::{size, table},
};

/// Whom the node is connected to
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List connected peers
    Ls,
    /// Connect to a peer
    Connect {
        /// Its address, or its peer id where its addresses are known
        #[arg(required = true, value_name = "MULTIADDR|PEER", value_parser = address)]
        peers: Vec<Multiaddr>,
    },
    /// Close all connections to a peer
    Disconnect {
        /// Its peer id
        #[arg(required = true, value_name = "PEER")]
        peers: Vec<PeerId>,
    },
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let client = reach.daemon()?;
    match command {
        Command::Ls => tell(reach, client.peers().await?),
        Command::Connect { peers } => {
            for address in peers {
                let new = NewPeer {
                    address: address.clone(),
                };
                let peer = wait::unless_interrupted(client.connect(&new))
                    .await?
                    .with_context(|| format!("cannot connect to {address}"))?;
                reach
                    .out
                    .either(&peer, || format!("{}\t{}", peer.peer_id, peer.address))?;
            }
            Ok(())
        }
        Command::Disconnect { peers } => {
            for peer in peers {
                client
                    .disconnect(&peer.to_string())
                    .await
                    .with_context(|| format!("cannot disconnect {peer}"))?;
            }
            Ok(())
        }
    }
}

fn tell(reach: Reach<'_>, peers: Vec<cardume_api::Peer>) -> anyhow::Result<()> {
    let out = reach.out;
    if out.is_json() {
        for peer in &peers {
            out.json(peer)?;
        }
        return Ok(());
    }
    let rows = peers.into_iter().map(|peer| {
        let bytes = |count: u64| {
            if out.is_terminal() {
                size(count)
            } else {
                count.to_string()
            }
        };
        let path = match peer.path {
            Path::Direct => "direct",
            Path::Relayed => "relayed",
        };
        [
            peer.peer_id,
            peer.name.unwrap_or_else(|| "-".into()),
            path.into(),
            peer.transport,
            peer.rtt_ms
                .map_or_else(|| "-".into(), |rtt| format!("{rtt:.1}ms")),
            bytes(peer.sent),
            bytes(peer.received),
            peer.agent.unwrap_or_else(|| "-".into()),
            peer.address.to_string(),
        ]
    });
    let head = [
        "PEER",
        "NAME",
        "PATH",
        "TRANSPORT",
        "RTT",
        "SENT",
        "RECEIVED",
        "AGENT",
        "ADDRESS",
    ];
    Ok(out.text(&table(head, rows.collect(), out.is_terminal()))?)
}

fn address(text: &str) -> Result<Multiaddr, String> {
    if let Ok(peer) = text.parse::<PeerId>() {
        return Ok(Protocol::P2p(peer).into());
    }
    text.parse()
        .map_err(|error| format!("neither an address nor a peer id: {error}"))
}
