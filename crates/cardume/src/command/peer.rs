//! `cardume peer`: whom the node is connected to.
use std::time::Duration;

use anyhow::Context;
use cardume_api::{Client, NewPeer, Path, PeerDetails};
use clap::Subcommand;
use multiaddr::{Multiaddr, PeerId, Protocol};

use super::wait;
use crate::{
    out::Out,
    reach::Reach,
    text::{count, size, span, table},
};

/// Time between two pings.
const PING_PAUSE: Duration = Duration::from_secs(1);

/// Whom the node is connected to, and whom it refuses
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    cardume peer ls\n  \
    cardume peer connect /ip4/192.0.2.1/udp/4011/quic-v1/p2p/12D3KooW…\n  \
    cardume peer block 12D3KooW…\n\n\
    PEER is a peer id, or the NAME of a [peer.NAME] in the daemon's configuration.")]
pub(crate) enum Command {
    /// List connected peers
    Ls {
        /// List the peers that are blocked instead
        #[arg(long)]
        blocked: bool,
    },
    /// Show what is known of a peer
    Show {
        /// Its peer id or name
        #[arg(required = true, value_name = "PEER")]
        peers: Vec<String>,
    },
    /// Connect to a peer
    Connect {
        /// Its address, or its peer id where its addresses are known
        #[arg(required = true, value_name = "MULTIADDR|PEER", value_parser = address)]
        peers: Vec<Multiaddr>,
    },
    /// Close all connections to a peer
    Disconnect {
        /// Its peer id or name
        #[arg(required = true, value_name = "PEER")]
        peers: Vec<String>,
    },
    /// Ask a peer for an answer and tell how long it took; connects if need be
    Ping {
        /// Its peer id or name
        #[arg(value_name = "PEER")]
        peer: String,
        /// How often, a second apart
        #[arg(short, long, default_value = "1", value_name = "N")]
        count: u32,
    },
    /// Cut a peer off and refuse it from now on, after a restart of the daemon too
    Block {
        /// Its peer id or name
        #[arg(required = true, value_name = "PEER")]
        peers: Vec<String>,
    },
    /// Refuse a peer no longer
    Unblock {
        /// Its peer id or name
        #[arg(required = true, value_name = "PEER")]
        peers: Vec<String>,
    },
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    let out = reach.out;
    match command {
        Command::Ls { blocked: false } => tell(reach, client.peers().await?),
        Command::Ls { blocked: true } => {
            for peer in client.blocked().await? {
                let name = peer.name.clone().unwrap_or_else(|| "-".into());
                let until = if peer.until_restart {
                    "until restart"
                } else {
                    "until unblocked"
                };
                out.either(&peer, || format!("{}\t{name}\t{until}", peer.peer_id))?;
            }
            Ok(())
        }
        Command::Show { peers } => {
            for peer in peers {
                let details = client.peer(&peer).await?;
                out.either(&details, || describe(&details))?;
            }
            Ok(())
        }
        Command::Connect { peers } => connect(&client, peers, out).await,
        Command::Disconnect { peers } => {
            for peer in peers {
                let failed = || format!("cannot disconnect {peer}");
                client.disconnect(&peer).await.with_context(failed)?;
                done(&peer, "disconnected", true, out)?;
            }
            Ok(())
        }
        Command::Ping { peer, count } => wait::unless_interrupted(ping(&client, &peer, count, out)).await?,
        Command::Block { peers } => {
            for peer in peers {
                client
                    .block(&peer)
                    .await
                    .with_context(|| format!("cannot block {peer}"))?;
                done(&peer, "blocked", true, out)?;
            }
            Ok(())
        }
        Command::Unblock { peers } => {
            for peer in peers {
                let failed = || format!("cannot unblock {peer}");
                client.unblock(&peer).await.with_context(failed)?;
                done(&peer, "blocked", false, out)?;
            }
            Ok(())
        }
    }
}

/// Tells a program that it is done; a person sees that nothing went wrong.
fn done(peer: &str, what: &str, value: bool, out: &Out) -> anyhow::Result<()> {
    if out.is_json() {
        out.json(&serde_json::json!({ "peer": peer, what: value }))?;
    }
    Ok(())
}

async fn connect(client: &Client, peers: Vec<Multiaddr>, out: &Out) -> anyhow::Result<()> {
    for address in peers {
        let new = NewPeer {
            address: address.clone(),
        };
        let peer = wait::unless_interrupted(client.connect(&new))
            .await?
            .with_context(|| format!("cannot connect to {address}"))?;
        out.either(&peer, || format!("{}\t{}", peer.peer_id, peer.address))?;
    }
    Ok(())
}

async fn ping(client: &Client, peer: &str, count: u32, out: &Out) -> anyhow::Result<()> {
    for number in 0..count {
        if number > 0 {
            tokio::time::sleep(PING_PAUSE).await;
        }
        let answer = client
            .ping(peer)
            .await
            .with_context(|| format!("cannot ping {peer}"))?;
        out.either(&answer, || format!("{}\t{:.3} ms", answer.peer_id, answer.rtt_ms))?;
    }
    Ok(())
}

fn describe(peer: &PeerDetails) -> String {
    let mut text = format!("peer id      {}\n", peer.peer_id);
    let mut add = |head: &str, value: &str| text += &format!("{head:<12} {value}\n");
    if let Some(name) = &peer.name {
        add("name", name);
    }
    if peer.blocked {
        add("blocked", "yes");
    }
    match &peer.connection {
        None => add("connected", "no"),
        Some(link) => {
            let age = span(Duration::from_secs(link.connected_s));
            let side = if link.outbound { "we dialled" } else { "it dialled" };
            add(
                "connected",
                &format!("{age} ({}, {side})", count_of(peer.connections)),
            );
            let way = if link.punched {
                "direct, punched"
            } else {
                path(link.path)
            };
            add("address", &format!("{} ({way})", link.address));
            if let Some(agent) = &link.agent {
                add("agent", agent);
            }
            if let Some(rtt) = link.rtt_ms {
                add("rtt", &format!("{rtt:.1} ms"));
            }
            add("transport", &link.transport);
            add("sent", &size(link.sent));
            add("received", &size(link.received));
        }
    }
    for (index, share) in peer.traffic.iter().enumerate() {
        let both = format!(
            "{}: {} sent, {} received",
            share.name,
            size(share.sent),
            size(share.received)
        );
        add(if index == 0 { "traffic" } else { "" }, &both);
    }
    for (index, address) in peer.addresses.iter().enumerate() {
        add(if index == 0 { "addresses" } else { "" }, &address.to_string());
    }
    for (index, protocol) in peer.protocols.iter().enumerate() {
        add(if index == 0 { "protocols" } else { "" }, protocol);
    }
    text
}

fn count_of(connections: u32) -> String {
    count(connections.into(), "connection")
}

fn path(path: Path) -> &'static str {
    match path {
        Path::Direct => "direct",
        Path::Relayed => "relayed",
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
        [
            peer.peer_id,
            peer.name.unwrap_or_else(|| "-".into()),
            path(peer.path).into(),
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
