//! Nodes of a mesh.
use std::{collections::BTreeMap, future::Future, time::Duration};

use cardume_gossipsub::{Behaviour, Config, Delivery, Handle, Message, Server, Subscription, Topic};
use futures::StreamExt as _;
use libp2p_core::Multiaddr;
use libp2p_swarm::Swarm;
use libp2p_swarm_test::SwarmExt as _;

/// Between two looks at what tells nobody when it changes.
pub(crate) const GLANCE: Duration = Duration::from_millis(10);

/// One node, not running yet.
pub(crate) struct Peer {
    pub(crate) address: Multiaddr,
    pub(crate) swarm: Swarm<Behaviour>,
    handle: Handle,
    server: Server,
}

pub(crate) async fn peer() -> Peer {
    peer_with(Config::default(), BTreeMap::new()).await
}

pub(crate) async fn peer_with(config: Config, topics: BTreeMap<String, Topic>) -> Peer {
    let mut built = None;
    let mut swarm = Swarm::new_ephemeral_tokio(|key| {
        let (behaviour, handle, server) = config.build(&key, "test", topics).unwrap();
        built = Some((handle, server));
        behaviour
    });
    let (address, _) = swarm.listen().with_memory_addr_external().await;
    let (handle, server) = built.unwrap();
    Peer {
        address,
        swarm,
        handle,
        server,
    }
}

/// Lets a node run; the handle is what is left to ask.
pub(crate) fn run(peer: Peer) -> Handle {
    let Peer {
        mut swarm,
        handle,
        server,
        ..
    } = peer;
    tokio::spawn(server.run());
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    handle
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("it takes seconds")
}

/// Waits until a node has so many neighbours in the mesh of a topic.
pub(crate) async fn meets(node: &Handle, topic: &str, neighbours: usize) {
    soon(async {
        while node
            .peers(topic)
            .await
            .unwrap()
            .iter()
            .filter(|peer| peer.in_mesh)
            .count()
            < neighbours
        {
            tokio::time::sleep(GLANCE).await;
        }
    })
    .await;
}

/// Waits until a node knows so many others to be subscribed.
pub(crate) async fn subscribed(node: &Handle, topic: &str, peers: usize) {
    soon(async {
        while node.peers(topic).await.unwrap().len() < peers {
            tokio::time::sleep(GLANCE).await;
        }
    })
    .await;
}

pub(crate) async fn next_message(subscription: &mut Subscription) -> Message {
    match soon(subscription.next()).await {
        Some(Delivery::Message(message)) => message,
        other => panic!("{other:?}"),
    }
}
