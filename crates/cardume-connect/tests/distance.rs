//! What peers learn of each other depends on how far apart they are.
//!
//! The hosts are made up: addresses like `/ip4/198.51.100.5/tcp/1` are carried by channels in memory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use cardume_connect::{Config, Handle, Peer, PeerEvent};
use futures::StreamExt as _;
use libp2p_core::{
    Multiaddr, Transport,
    multiaddr::Protocol,
    transport::{DialOpts, ListenerId, MemoryTransport, TransportError, TransportEvent},
    upgrade::Version,
};
use libp2p_identify as identify;
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use tokio::{sync::broadcast, time::timeout};

/// Nothing here takes as long, unless it never comes.
const GUARD: Duration = Duration::from_secs(20);

/// Carries made-up IPv4 addresses; whoever comes in has the last octet 99 in the /24 beside.
#[derive(Default)]
struct MadeUp(MemoryTransport);

fn to_memory(address: &Multiaddr) -> Multiaddr {
    let mut parts = address.iter();
    let (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port))) = (parts.next(), parts.next()) else {
        panic!("{address} is not made up");
    };
    Protocol::Memory(u64::from(ip.to_bits()) << 16 | u64::from(port)).into()
}

fn from_memory(address: &Multiaddr) -> Multiaddr {
    let Some(Protocol::Memory(number)) = address.iter().next() else {
        panic!("{address} is not in memory");
    };
    let ip = Ipv4Addr::from_bits((number >> 16) as u32);
    Multiaddr::from(ip).with(Protocol::Tcp(number as u16))
}

fn neighbour_of(address: &Multiaddr) -> Multiaddr {
    let Some(Protocol::Ip4(ip)) = address.iter().next() else {
        panic!("{address} is not made up");
    };
    let [a, b, c, _] = ip.octets();
    Multiaddr::from(Ipv4Addr::new(a, b, c ^ 1, 99)).with(Protocol::Tcp(50_000))
}

impl Transport for MadeUp {
    type Output = <MemoryTransport as Transport>::Output;
    type Error = <MemoryTransport as Transport>::Error;
    type ListenerUpgrade = <MemoryTransport as Transport>::ListenerUpgrade;
    type Dial = <MemoryTransport as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.0.listen_on(id, to_memory(&address))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        self.0.dial(to_memory(&address), opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.0).poll(cx).map(|event| match event {
            TransportEvent::NewAddress {
                listener_id,
                listen_addr,
            } => TransportEvent::NewAddress {
                listener_id,
                listen_addr: from_memory(&listen_addr),
            },
            TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                ..
            } => {
                let local_addr = from_memory(&local_addr);
                TransportEvent::Incoming {
                    listener_id,
                    upgrade,
                    send_back_addr: neighbour_of(&local_addr),
                    local_addr,
                }
            }
            other => other,
        })
    }
}

fn swarm<B: NetworkBehaviour>(key: &Keypair, behaviour: B) -> Swarm<B> {
    let transport = MadeUp::default()
        .upgrade(Version::V1)
        .authenticate(libp2p_plaintext::Config::new(key))
        .multiplex(libp2p_yamux::Config::default())
        .boxed();
    // Nothing but the behaviour keeps a connection open.
    let config =
        libp2p_swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_millis(10));
    Swarm::new(transport, behaviour, key.public().to_peer_id(), config)
}

/// Runs a swarm that listens at `addresses`, once it does.
async fn run<B>(mut swarm: Swarm<B>, addresses: &[Multiaddr])
where
    B: NetworkBehaviour + Send,
    B::ToSwarm: Send,
{
    for address in addresses {
        swarm.listen_on(address.clone()).unwrap();
    }
    let mut listening = 0;
    while listening < addresses.len() {
        if let SwarmEvent::NewListenAddr { .. } = swarm.select_next_some().await {
            listening += 1;
        }
    }
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
}

async fn node(config: Config, listen: &[Multiaddr]) -> (PeerId, Handle) {
    node_with(config, listen, BTreeMap::new(), vec![]).await
}

async fn node_with(
    config: Config,
    listen: &[Multiaddr],
    peers: BTreeMap<String, Peer>,
    announce: Vec<Multiaddr>,
) -> (PeerId, Handle) {
    let key = Keypair::generate_ed25519();
    let book = "/nonexistent/peers".into();
    let (behaviour, handle, _) = config
        .build(&key, "test", "cardume/test".into(), &peers, announce, book)
        .unwrap();
    run(swarm(&key, behaviour), listen).await;
    (key.public().to_peer_id(), handle)
}

/// Each test has a host number of its own, since memory is one network for all of them.
fn hosts(number: u8) -> [Multiaddr; 3] {
    ["127.0.0", "192.168.1", "198.51.100"].map(|net| format!("/ip4/{net}.{number}/tcp/4011").parse().unwrap())
}

async fn identified(events: &mut broadcast::Receiver<PeerEvent>, wanted: PeerId) {
    let told = async {
        loop {
            match events.recv().await.unwrap() {
                PeerEvent::Identified { peer, .. } if peer == wanted => break,
                _ => {}
            }
        }
    };
    timeout(GUARD, told).await.unwrap();
}

async fn learnt(handle: &Handle, peer: PeerId) -> BTreeSet<Multiaddr> {
    handle.addresses_of(peer).await.unwrap().into_iter().collect()
}

#[tokio::test]
async fn a_peer_learns_addresses_that_reach_as_far_as_it_is_away() {
    let [loopback, private, public] = hosts(1);
    let all = [loopback.clone(), private.clone(), public.clone()];
    let (peer, _handle) = node(Config::default(), &all).await;
    for (dialled, expected) in [
        (public.clone(), vec![public.clone()]),
        (private.clone(), vec![private, public]),
        (loopback, all.to_vec()),
    ] {
        let (_, other) = node(Config::default(), &[]).await;
        let mut events = other.events();
        other.dial(dialled).await.unwrap();
        identified(&mut events, peer).await;
        assert_eq!(learnt(&other, peer).await, expected.into_iter().collect());
    }
}

#[tokio::test]
async fn a_peer_far_away_is_not_believed_when_it_names_private_addresses() {
    let [_, private, public] = hosts(2);
    let key = Keypair::generate_ed25519();
    let liar = key.public().to_peer_id();
    let told: Vec<Multiaddr> = (1..=3)
        .map(|n| format!("/ip4/203.0.113.{n}/tcp/4011").parse().unwrap())
        .collect();
    let mut swarm = swarm(
        &key,
        identify::Behaviour::new(identify::Config::new("liar/1".into(), key.public())),
    );
    for lie in [
        "/ip4/10.0.0.1/tcp/22",
        "/ip4/127.0.0.1/tcp/22",
        "/ip4/169.254.169.254/tcp/80",
    ] {
        swarm.add_external_address(lie.parse().unwrap());
    }
    told.iter()
        .for_each(|address| swarm.add_external_address(address.clone()));
    run(swarm, &[private, public.clone()]).await;

    let (_, ours) = node(Config::default(), &[]).await;
    let mut events = ours.events();
    ours.dial(public.clone()).await.unwrap();
    identified(&mut events, liar).await;
    let learnt = learnt(&ours, liar).await;
    assert_eq!(learnt, told.into_iter().chain([public]).collect());
}

#[tokio::test]
async fn a_configured_address_is_told_to_everybody() {
    let [_, private, public] = hosts(4);
    let announced: Multiaddr = "/dns4/node.example.org/tcp/4011".parse().unwrap();
    let spelt = announced.clone().with_p2p(PeerId::random()).unwrap();
    let listen = [private, public.clone()];
    let (peer, _handle) = node_with(Config::default(), &listen, BTreeMap::new(), vec![spelt]).await;
    let (_, other) = node(Config::default(), &[]).await;
    let mut events = other.events();
    other.dial(public.clone()).await.unwrap();
    identified(&mut events, peer).await;
    assert_eq!(learnt(&other, peer).await, BTreeSet::from([announced, public]));
}

#[tokio::test]
async fn idle_connections_end_when_there_are_many_and_kept_ones_stay() {
    let [_, private, _] = hosts(5);
    let [_, ours, _] = hosts(6);
    let (friend, _friend) = node(Config::default(), std::slice::from_ref(&private)).await;
    let peer = Peer {
        id: friend,
        addresses: vec![private],
        keep: true,
        groups: vec![],
    };
    let config = Config {
        max_connections: 3,
        ..Config::default()
    };
    let peers = BTreeMap::from([("friend".to_owned(), peer)]);
    let (_, handle) = node_with(config, std::slice::from_ref(&ours), peers, vec![]).await;
    let mut events = handle.events();
    handle.connect(friend, vec![]).await.unwrap();
    let (stranger, other) = node(Config::default(), &[]).await;
    other.dial(ours).await.unwrap();
    let gone = async {
        loop {
            match events.recv().await.unwrap() {
                PeerEvent::Disconnected(peer) if peer == stranger => break,
                event => assert_ne!(event, PeerEvent::Disconnected(friend)),
            }
        }
    };
    timeout(GUARD, gone).await.unwrap();
    let peers: Vec<_> = handle
        .peers()
        .await
        .unwrap()
        .iter()
        .map(|info| info.peer)
        .collect();
    assert_eq!(peers, [friend]);
}

#[tokio::test]
async fn one_public_address_gets_a_few_connections_and_private_ones_as_many_as_they_like() {
    let [_, private, public] = hosts(3);
    let config = Config {
        max_per_address: 2,
        ..Config::default()
    };
    let (peer, handle) = node(config, &[private.clone(), public.clone()]).await;
    let mut crowd = Vec::new();
    for _ in 0..2 {
        let (_, other) = node(Config::default(), &[]).await;
        other.dial(public.clone()).await.unwrap();
        crowd.push(other);
    }
    let (_, refused) = node(Config::default(), &[]).await;
    refused.dial(public.clone()).await.unwrap_err();
    for _ in 0..4 {
        let (_, other) = node(Config::default(), &[]).await;
        other.dial(private.clone()).await.unwrap();
    }
    let mut events = handle.events();
    crowd[0].disconnect(peer).await.unwrap();
    let gone = async { while !matches!(events.recv().await.unwrap(), PeerEvent::Disconnected(_)) {} };
    timeout(GUARD, gone).await.unwrap();
    refused.dial(public).await.unwrap();
}
