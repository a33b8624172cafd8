//! Whole connect behaviours in swarms of their own, over loopback TCP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use cardume_connect::{Behaviour, Config, ConnectError, Handle, Peer, PeerEvent, Server};
use futures::StreamExt as _;
use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use libp2p_swarm::{Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt as _;
use tokio::{
    sync::broadcast,
    task::JoinHandle,
    time::{error::Elapsed, timeout},
};

/// Nothing here takes as long, unless it never comes.
const GUARD: Duration = Duration::from_secs(20);

struct Node {
    peer: PeerId,
    address: Multiaddr,
    handle: Handle,
    server: Server,
    swarm: JoinHandle<()>,
}

impl Node {
    /// Ends it as a crash would: connections just go.
    async fn end(self) -> Server {
        self.swarm.abort();
        let _ = self.swarm.await;
        self.server
    }
}

async fn node(config: Config, peers: BTreeMap<String, Peer>, book: PathBuf) -> Node {
    node_at(config, peers, book, "/ip4/127.0.0.1/tcp/0".parse().unwrap()).await
}

async fn node_at(config: Config, peers: BTreeMap<String, Peer>, book: PathBuf, at: Multiaddr) -> Node {
    let mut parts = None;
    let mut swarm: Swarm<Behaviour> = Swarm::new_ephemeral_tokio(|key| {
        let (behaviour, handle, server) = config
            .build(&key, "test", "cardume/test".into(), &peers, vec![], book)
            .unwrap();
        parts = Some((handle, server));
        behaviour
    });
    swarm.listen_on(at).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.next_swarm_event().await {
            break address;
        }
    };
    let (handle, server) = parts.unwrap();
    Node {
        peer: *swarm.local_peer_id(),
        address,
        handle,
        server,
        swarm: tokio::spawn(async move { while swarm.next().await.is_some() {} }),
    }
}

async fn plain() -> Node {
    node(Config::default(), BTreeMap::new(), nowhere()).await
}

fn nowhere() -> PathBuf {
    PathBuf::from("/nonexistent/peers")
}

async fn wait_for(events: &mut broadcast::Receiver<PeerEvent>, wanted: &PeerEvent) {
    let found = async { while events.recv().await.unwrap() != *wanted {} };
    timeout(GUARD, found)
        .await
        .unwrap_or_else(|_: Elapsed| panic!("{wanted:?} never came"));
}

#[tokio::test]
async fn peers_connect_and_know_each_other() {
    let (ours, theirs) = (plain().await, plain().await);
    let mut events = ours.handle.events();
    assert_eq!(
        ours.handle.dial(theirs.address.clone()).await.unwrap(),
        theirs.peer
    );
    ours.handle.connect(theirs.peer, vec![]).await.unwrap();
    wait_for(&mut events, &PeerEvent::Connected(theirs.peer)).await;
    let identified = async {
        loop {
            if let PeerEvent::Identified {
                peer,
                agent,
                protocols,
            } = events.recv().await.unwrap()
            {
                break (peer, agent, protocols);
            }
        }
    };
    let (peer, agent, protocols) = timeout(GUARD, identified).await.unwrap();
    assert_eq!((peer, agent.as_str()), (theirs.peer, "cardume/test"));
    assert!(protocols.contains(&"/ipfs/ping/1.0.0".to_owned()));

    let peers = ours.handle.peers().await.unwrap();
    assert_eq!(peers.len(), 1);
    assert_eq!(peers[0].address, theirs.address);
    assert!(peers[0].outbound);
    assert_eq!(
        ours.handle.addresses_of(theirs.peer).await.unwrap(),
        std::slice::from_ref(&theirs.address)
    );
    assert_eq!(
        ours.handle.addresses().await.unwrap().external,
        std::slice::from_ref(&ours.address)
    );

    assert!(ours.handle.disconnect(theirs.peer).await.unwrap());
    wait_for(&mut events, &PeerEvent::Disconnected(theirs.peer)).await;
    assert!(!ours.handle.disconnect(theirs.peer).await.unwrap());
}

#[tokio::test]
async fn the_side_that_was_dialled_learns_where_the_other_listens() {
    let (ours, theirs) = (plain().await, plain().await);
    let mut events = theirs.handle.events();
    ours.handle.dial(theirs.address.clone()).await.unwrap();
    let identified = async { while !matches!(events.recv().await.unwrap(), PeerEvent::Identified { .. }) {} };
    timeout(GUARD, identified).await.unwrap();
    assert_eq!(
        theirs.handle.addresses_of(ours.peer).await.unwrap(),
        std::slice::from_ref(&ours.address)
    );
}

#[tokio::test]
async fn callers_that_want_the_same_peer_share_one_dial() {
    let (ours, theirs) = (plain().await, plain().await);
    let calls = (0..20).map(|_| ours.handle.connect(theirs.peer, vec![theirs.address.clone()]));
    for result in futures::future::join_all(calls).await {
        result.unwrap();
    }
    assert_eq!(ours.handle.peers().await.unwrap()[0].connections, 1);
}

#[tokio::test]
async fn a_failed_dial_says_what_to_do() {
    let (ours, theirs) = (plain().await, plain().await);
    let stranger = PeerId::random();
    let error = ours.handle.connect(stranger, vec![]).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::NoAddress(peer) if peer == stranger),
        "{error}"
    );

    let address = theirs.address.clone();
    let error = ours
        .handle
        .connect(stranger, vec![address.clone()])
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::WrongPeer { found } if found == theirs.peer),
        "{error}"
    );

    let error = ours
        .handle
        .connect(ours.peer, vec![address.clone()])
        .await
        .unwrap_err();
    assert!(error.to_string().contains("this node itself"), "{error}");

    let (peer, _) = (theirs.peer, theirs.end().await);
    let error = ours
        .handle
        .connect(peer, vec![address.clone()])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&address.to_string()) && error.contains("refused"),
        "{error}"
    );
}

#[tokio::test]
async fn a_blocked_peer_is_cut_off_and_stays_out() {
    let directory = tempfile::tempdir().unwrap();
    let book = directory.path().join("peers");
    let (ours, theirs) = (
        node(Config::default(), BTreeMap::new(), book.clone()).await,
        plain().await,
    );
    let mut events = ours.handle.events();
    ours.handle.dial(theirs.address.clone()).await.unwrap();
    assert!(ours.handle.block(theirs.peer).await.unwrap());
    assert!(!ours.handle.block(theirs.peer).await.unwrap(), "it is already");
    wait_for(&mut events, &PeerEvent::Disconnected(theirs.peer)).await;

    let error = ours
        .handle
        .dial(theirs.address.clone().with_p2p(theirs.peer).unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ConnectError::Denied(text) if text.contains("unblock")),
        "{error}"
    );
    let error = ours.handle.dial(theirs.address.clone()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Denied(_)), "{error}");

    // A node that starts anew refuses it still, whoever dials.
    let again = node(Config::default(), BTreeMap::new(), book).await;
    assert_eq!(again.handle.blocked(), [theirs.peer]);
    let mut seen = again.handle.events();
    let mut lost = theirs.handle.events();
    if theirs.handle.dial(again.address.clone()).await.is_ok() {
        // It takes a moment until the dialler learns that it is not wanted.
        wait_for(&mut lost, &PeerEvent::Disconnected(again.peer)).await;
    }
    assert!(seen.try_recv().is_err(), "nobody came");

    assert!(again.handle.unblock(theirs.peer).await.unwrap());
    assert!(!again.handle.unblock(theirs.peer).await.unwrap());
    again.handle.dial(theirs.address.clone()).await.unwrap();
}

#[tokio::test]
async fn a_ping_is_answered_when_somebody_asks() {
    let (ours, theirs) = (plain().await, plain().await);
    let error = ours.handle.ping(theirs.peer).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoAddress(_)), "{error}");
    ours.handle.dial(theirs.address.clone()).await.unwrap();
    for _ in 0..5 {
        let took = timeout(GUARD, ours.handle.ping(theirs.peer))
            .await
            .unwrap()
            .unwrap();
        assert!(took > Duration::ZERO && took < GUARD);
    }
    assert_eq!(
        ours.handle.peers().await.unwrap().len(),
        1,
        "it is still connected"
    );
}

#[tokio::test]
async fn a_limit_refuses_strangers_but_not_peers_that_are_named() {
    let friend = plain().await;
    let peer = Peer {
        id: friend.peer,
        addresses: vec![],
        keep: false,
        groups: vec![],
    };
    let config = Config {
        max_outbound: 0,
        ..Config::default()
    };
    let ours = node(config, BTreeMap::from([("friend".to_owned(), peer)]), nowhere()).await;
    let stranger = plain().await;
    let error = ours.handle.dial(stranger.address.clone()).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::Denied(text) if text.contains("limit")),
        "{error}"
    );
    ours.handle.dial(friend.address.clone()).await.unwrap();
}

#[tokio::test]
async fn a_dial_beyond_a_bound_is_refused_for_its_reason() {
    let stranger = plain().await;
    let limited = Config {
        max_pending_outbound: 0,
        ..Config::default()
    };
    let short = Config {
        memory_ceiling: cardume_units::Size::kib(1),
        ..Config::default()
    };
    for (reason, config) in [("limit", limited), ("memory", short)] {
        let ours = node(config, BTreeMap::new(), nowhere()).await;
        let error = ours.handle.dial(stranger.address.clone()).await.unwrap_err();
        assert!(
            matches!(&error, ConnectError::Denied(text) if text.contains(reason)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn one_peer_has_as_many_connections_as_it_may() {
    for max_per_peer in [1, 2] {
        let theirs = plain().await;
        let config = Config {
            max_per_peer,
            ..Config::default()
        };
        let ours = node(config, BTreeMap::new(), nowhere()).await;
        // An address that does not say who is there is dialled whoever is connected.
        for _ in 0..3 {
            ours.handle.dial(theirs.address.clone()).await.unwrap();
        }
        let peers = ours.handle.peers().await.unwrap();
        assert_eq!(peers[0].connections, max_per_peer);
    }
}

#[tokio::test]
async fn a_kept_peer_is_dialled_at_the_start_and_again_when_lost() {
    let friend = plain().await;
    let mut events = friend.handle.events();
    let peer = Peer {
        id: friend.peer,
        addresses: vec![friend.address.clone()],
        keep: true,
        groups: vec![],
    };
    let ours = node(
        Config::default(),
        BTreeMap::from([("friend".to_owned(), peer)]),
        nowhere(),
    )
    .await;
    for _ in 0..2 {
        wait_for(&mut events, &PeerEvent::Connected(ours.peer)).await;
        friend.handle.disconnect(ours.peer).await.unwrap();
        wait_for(&mut events, &PeerEvent::Disconnected(ours.peer)).await;
    }
    wait_for(&mut events, &PeerEvent::Connected(ours.peer)).await;
}

#[tokio::test]
async fn a_bootstrap_peer_is_dialled_at_the_start() {
    let first = plain().await;
    let mut events = first.handle.events();
    let config = Config {
        bootstrap: vec![first.address.clone().with_p2p(first.peer).unwrap()],
        ..Config::default()
    };
    let ours = node(config, BTreeMap::new(), nowhere()).await;
    wait_for(&mut events, &PeerEvent::Connected(ours.peer)).await;
}

#[tokio::test]
async fn a_node_finds_its_peers_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let book = directory.path().join("peers");
    let friend = plain().await;
    let mut events = friend.handle.events();

    let ours = node(Config::default(), BTreeMap::new(), book.clone()).await;
    ours.handle.dial(friend.address.clone()).await.unwrap();
    let server = ours.end().await;
    server.run(std::future::ready(())).await;

    let again = node(Config::default(), BTreeMap::new(), book.clone()).await;
    wait_for(&mut events, &PeerEvent::Connected(again.peer)).await;
    again.end().await;

    std::fs::write(&book, "{damaged").unwrap();
    let fresh = node(Config::default(), BTreeMap::new(), book.clone()).await;
    assert!(fresh.handle.addresses_of(friend.peer).await.unwrap().is_empty());
    assert!(directory.path().join("peers.damaged").exists());
}

#[tokio::test]
async fn calls_end_when_the_swarm_is_gone() {
    let ours = plain().await;
    let handle = ours.handle.clone();
    ours.end().await;
    assert!(handle.peers().await.is_err());
    let error = handle.connect(PeerId::random(), vec![]).await.unwrap_err();
    assert!(matches!(error, ConnectError::Closed(_)));
}

#[tokio::test]
async fn another_configuration_counts_while_connections_stay() {
    let (ours, kept, other) = (plain().await, plain().await, plain().await);
    let mut events = ours.handle.events();
    ours.handle.dial(other.address.clone()).await.unwrap();
    let peer = |node: &Node, addresses| Peer {
        id: node.peer,
        addresses,
        keep: true,
        groups: vec![],
    };
    let named = BTreeMap::from([("nas".to_owned(), peer(&kept, vec![kept.address.clone()]))]);
    let tight = Config {
        max_inbound: 0,
        ..Config::default()
    };
    ours.handle.configure(&tight, &named).await.unwrap();
    wait_for(&mut events, &PeerEvent::Connected(kept.peer)).await;
    let known = ours.handle.addresses_of(kept.peer).await.unwrap();
    assert_eq!(known, std::slice::from_ref(&kept.address));
    let peers = ours.handle.peers().await.unwrap();
    assert!(peers.iter().any(|info| info.peer == other.peer), "it stays");

    // It may take itself for connected until it hears that there is no room.
    let stranger = plain().await;
    let _ = stranger.handle.dial(ours.address.clone()).await;
    kept.handle.disconnect(ours.peer).await.unwrap();
    wait_for(&mut events, &PeerEvent::Disconnected(kept.peer)).await;
    kept.handle.dial(ours.address.clone()).await.unwrap();
    assert_eq!(next_connected(&mut events).await, kept.peer);

    let wrong = BTreeMap::from([(
        "nas".to_owned(),
        peer(&kept, vec![other.address.clone().with_p2p(other.peer).unwrap()]),
    )]);
    let error = ours
        .handle
        .configure(&Config::default(), &wrong)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("peer.nas.addresses"), "{error}");
    ours.handle
        .configure(&Config::default(), &BTreeMap::new())
        .await
        .unwrap();
    stranger.handle.disconnect(ours.peer).await.unwrap();
    stranger.handle.dial(ours.address.clone()).await.unwrap();
    assert_eq!(next_connected(&mut events).await, stranger.peer);
}

async fn next_connected(events: &mut broadcast::Receiver<PeerEvent>) -> PeerId {
    let found = async {
        loop {
            if let PeerEvent::Connected(peer) = events.recv().await.unwrap() {
                return peer;
            }
        }
    };
    timeout(GUARD, found).await.unwrap()
}
