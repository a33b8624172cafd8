//! Two swarms on one interface find each other and connect; nobody tells them anything.
//!
//! On a host without an IPv4 address besides loopback there is no local network, and nothing to find.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::{net::UdpSocket, time::Duration};

use cardume_mdns::{Behaviour, Config};
use futures::StreamExt as _;
use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;
use libp2p_swarm::{Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt as _;
use tokio::time::timeout;

/// An address of the interface that multicasts leave by; public or private, it is on the link.
fn address_on_link() -> Option<Multiaddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: connecting a datagram socket only picks the route.
    socket.connect("224.0.0.251:5353").ok()?;
    let std::net::IpAddr::V4(ip) = socket.local_addr().ok()?.ip() else {
        return None;
    };
    (!ip.is_loopback() && !ip.is_unspecified()).then(|| Multiaddr::from(ip).with(Protocol::Tcp(0)))
}

fn swarm(listen: &Multiaddr) -> Swarm<Behaviour> {
    let build = |key: libp2p_identity::Keypair| Config::default().build(key.public().to_peer_id()).unwrap();
    let mut swarm = Swarm::new_ephemeral_tokio(build);
    swarm.listen_on(listen.clone()).unwrap();
    swarm
}

async fn connected(swarm: &mut Swarm<Behaviour>) -> PeerId {
    loop {
        if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
            return peer_id;
        }
    }
}

#[tokio::test]
async fn peers_on_one_link_find_each_other() {
    let Some(address) = address_on_link() else {
        return;
    };
    let (mut ours, mut theirs) = (swarm(&address), swarm(&address));
    let (us, them) = (*ours.local_peer_id(), *theirs.local_peer_id());
    let both = async {
        let mut found = (None, None);
        while found != (Some(them), Some(us)) {
            tokio::select! {
                peer = connected(&mut ours) => found.0 = Some(peer),
                peer = connected(&mut theirs) => found.1 = Some(peer),
            }
        }
    };
    timeout(Duration::from_secs(20), both).await.unwrap();
}
