//! Two nodes with nothing but the transports and the transfer protocol, one answering from memory.

use std::{iter, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use cardume_content::{Cid, Hash};
use cardume_transfer::{Behaviour, Config, Handle, Request, Response, Server, rates};
use cardume_transport::Timeouts;
use futures::{StreamExt, TryStreamExt, stream};
use libp2p_core::{Multiaddr, upgrade::Version};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{Swarm, SwarmEvent};

use super::{Brings, CHUNK, parts};

/// Requests under way, as many as a download has with one peer (`[exchange] max_window`).
const WINDOW: usize = 12;
/// Longer than handshakes take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Connected {
    handle: Handle,
    peer: PeerId,
}

/// Connects two nodes, the first of which listens at `address`.
pub(super) async fn connected(address: &str) -> anyhow::Result<Connected> {
    let (mut giver, _, server) = node()?;
    let (mut taker, handle, _) = node()?;
    giver.listen_on(address.parse()?)?;
    let address: Multiaddr = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = giver.select_next_some().await {
            break address;
        }
    };
    let peer = *giver.local_peer_id();
    taker.dial(address.with_p2p(peer).ok().context("an address without a peer")?)?;
    tokio::spawn(answer(server));
    tokio::spawn(giver.for_each(|_| async {}));
    let connected = async {
        loop {
            if let SwarmEvent::ConnectionEstablished { .. } = taker.select_next_some().await {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, connected)
        .await
        .context("no connection")?;
    tokio::spawn(taker.for_each(|_| async {}));
    Ok(Connected { handle, peer })
}

fn node() -> anyhow::Result<(Swarm<Behaviour>, Handle, Server)> {
    let key = Keypair::generate_ed25519();
    let timeouts = Timeouts {
        dial: PATIENCE,
        accept: PATIENCE,
    };
    let transport = cardume_transport::build(&key, timeouts)?;
    let (behaviour, handle, server) = Config::default().build("main", rates::Handle::unlimited());
    // As the node's own swarm.
    let config = libp2p_swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(PATIENCE)
        .with_substream_upgrade_protocol_override(Version::V1Lazy);
    let swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
    Ok((swarm, handle, server))
}

async fn answer(mut server: Server) {
    let piece = Bytes::from(vec![7; CHUNK]);
    while let Some(inbound) = server.next().await {
        let Request::Get { ranges, .. } = &inbound.request else {
            continue;
        };
        let wanted = ranges.first().map_or(0, |range| range.end - range.start);
        let wanted = usize::try_from(wanted).unwrap_or(CHUNK).min(CHUNK);
        inbound.responder.send(Response::Slices {
            size: CHUNK as u64,
            slices: vec![piece.slice(..wanted)],
        });
    }
}

impl Brings for Connected {
    async fn bring(self, bytes: u64) -> anyhow::Result<u64> {
        let Self { handle, peer } = self;
        let requests = stream::iter(parts(bytes)).map(|part| {
            let request = Request::Get {
                cid: Cid::blob(Hash::of(&[7])),
                ranges: iter::once(0..part).collect(),
            };
            let handle = handle.clone();
            async move {
                match handle.request(peer, request).await? {
                    Response::Slices { slices, .. } => {
                        Ok(slices.iter().map(Bytes::len).sum::<usize>() as u64)
                    }
                    other => anyhow::bail!("{other:?}"),
                }
            }
        });
        let answers = requests.buffer_unordered(WINDOW);
        answers.try_fold(0, async |sum, length| Ok(sum + length)).await
    }
}
