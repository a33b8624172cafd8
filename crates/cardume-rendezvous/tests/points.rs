//! Points and those who meet there, in memory: real behaviours, real connections, no ports; and libp2p's own
//! implementation of the protocol at the other end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use cardume_rendezvous::{Config, Handle, Limits, PointState};
use futures::StreamExt as _;
use libp2p_identity::PeerId;
use libp2p_rendezvous::{self as stock, ErrorCode, Namespace};
use libp2p_swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt as _;
use multiaddr::Multiaddr;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

/// Far more than any of these tests takes.
const GUARD: Duration = Duration::from_secs(60);

fn often() -> Config {
    Config {
        interval: cardume_units::Duration::from_secs(1),
        ..Config::default()
    }
}

fn server() -> Config {
    Config {
        server: true,
        ..often()
    }
}

/// A node, driven by a task of its own.
struct Node {
    id: PeerId,
    address: Multiaddr,
    handle: Handle,
    connected: mpsc::Receiver<PeerId>,
    task: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn node(config: Config) -> Node {
    let mut built = None;
    let mut swarm = Swarm::new_ephemeral_tokio(|key| {
        let (behaviour, handle) = config.build(&key, "test").unwrap();
        built = Some(handle);
        behaviour
    });
    swarm.listen_on("/memory/0".parse().unwrap()).unwrap();
    // It dials its points meanwhile.
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    swarm.add_external_address(address.clone());
    let (sender, connected) = mpsc::channel(64);
    Node {
        id: *swarm.local_peer_id(),
        address,
        handle: built.unwrap(),
        connected,
        task: tokio::spawn(async move {
            loop {
                if let SwarmEvent::ConnectionEstablished { peer_id, .. } = swarm.select_next_some().await {
                    let _ = sender.try_send(peer_id);
                }
            }
        }),
    }
}

fn at(address: &Multiaddr, peer: PeerId) -> Config {
    Config {
        points: vec![address.clone().with_p2p(peer).unwrap()],
        ..often()
    }
}

impl Node {
    async fn meets(&mut self, peer: PeerId) {
        let meet = async { while self.connected.recv().await.unwrap() != peer {} };
        timeout(GUARD, meet).await.expect("they meet");
    }

    /// Waits until the point stands as it is to.
    async fn stands(&self, done: impl Fn(&cardume_rendezvous::Point) -> bool) {
        let wait = async {
            while !done(&self.handle.status().await.unwrap().points[0]) {
                tokio::task::yield_now().await;
            }
        };
        timeout(GUARD, wait).await.expect("the point stands so");
    }
}

#[tokio::test]
async fn peers_that_know_a_point_only_meet_there() {
    let point = node(server()).await;
    let mut early = node(at(&point.address, point.id)).await;
    early.stands(|point| point.state == PointState::Registered).await;
    let mut late = node(at(&point.address, point.id)).await;
    late.meets(early.id).await;
    early.meets(late.id).await;
    assert_eq!(point.handle.status().await.unwrap().registrations, Some(2));
    late.stands(|point| point.found == 2).await;
}

#[tokio::test]
async fn a_point_that_is_away_is_found_when_it_comes() {
    let away: Multiaddr = "/memory/77001".parse().unwrap();
    let asker = node(at(&away, PeerId::random())).await;
    asker.stands(|point| point.problem.is_some()).await;
    asker.stands(|point| point.state == PointState::Waiting).await;
    let status = asker.handle.status().await.unwrap();
    assert_eq!(status.registrations, None);
    assert_eq!(status.points[0].address, away);
}

async fn stock_peer<B>(behaviour: impl FnOnce(libp2p_identity::Keypair) -> B) -> (Swarm<B>, Multiaddr)
where
    B: NetworkBehaviour + Send,
    B::ToSwarm: std::fmt::Debug,
{
    let mut swarm = Swarm::new_ephemeral_tokio(behaviour);
    let (address, _) = swarm.listen().with_memory_addr_external().await;
    (swarm, address)
}

/// The next thing that libp2p's client says.
async fn said(swarm: &mut Swarm<stock::client::Behaviour>) -> stock::client::Event {
    let wait = async {
        loop {
            if let SwarmEvent::Behaviour(event) = swarm.select_next_some().await {
                return event;
            }
        }
    };
    timeout(GUARD, wait).await.expect("it says something")
}

fn namespace(name: &str) -> Namespace {
    Namespace::new(name.to_owned()).unwrap()
}

#[tokio::test]
async fn clients_of_the_stock_implementation_are_served_within_bounds() {
    let limits = Limits {
        per_peer: 2,
        ..Limits::default()
    };
    let point = node(Config { limits, ..server() }).await;
    let ours = node(at(&point.address, point.id)).await;
    ours.stands(|point| point.state == PointState::Registered).await;
    let (mut theirs, _) = stock_peer(stock::client::Behaviour::new).await;
    theirs.dial_and_wait(point.address.clone()).await;
    for (name, granted) in [
        ("cardume/test", true),
        ("other", true),
        ("cardume/test", true),
        ("third", false),
    ] {
        theirs
            .behaviour_mut()
            .register(namespace(name), point.id, Some(7200))
            .unwrap();
        match said(&mut theirs).await {
            stock::client::Event::Registered { ttl, .. } => assert!(granted && ttl == 7200, "{name}"),
            stock::client::Event::RegisterFailed { error, .. } => {
                assert!(!granted && error == ErrorCode::Unavailable, "{name}: {error:?}");
            }
            event => panic!("{event:?}"),
        }
    }
    let ask = |theirs: &mut Swarm<stock::client::Behaviour>, cookie, limit| {
        let wanted = Some(namespace("cardume/test"));
        theirs.behaviour_mut().discover(wanted, cookie, limit, point.id);
    };
    ask(&mut theirs, None, Some(1));
    let stock::client::Event::Discovered {
        registrations,
        cookie,
        ..
    } = said(&mut theirs).await
    else {
        panic!("they are found")
    };
    let mut found: Vec<_> = registrations.iter().map(|one| one.record.peer_id()).collect();
    ask(&mut theirs, Some(cookie), None);
    let stock::client::Event::Discovered { registrations, .. } = said(&mut theirs).await else {
        panic!("the rest is found")
    };
    found.extend(registrations.iter().map(|one| one.record.peer_id()));
    found.sort();
    found.dedup();
    let mut both = [ours.id, *theirs.local_peer_id()];
    both.sort();
    assert_eq!(found, both);
    theirs.behaviour_mut().unregister(namespace("other"), point.id);
    let gone = async {
        while point.handle.status().await.unwrap().registrations != Some(2) {
            tokio::select! {
                _ = theirs.select_next_some() => {}
                () = tokio::task::yield_now() => {}
            }
        }
    };
    timeout(GUARD, gone).await.expect("it is known no longer");
}

#[tokio::test]
async fn peers_meet_at_a_point_of_the_stock_implementation() {
    let (server, address) =
        stock_peer(|_| stock::server::Behaviour::new(stock::server::Config::default())).await;
    let id = *server.local_peer_id();
    tokio::spawn(server.loop_on_next());
    let early = node(at(&address, id)).await;
    early.stands(|point| point.state == PointState::Registered).await;
    let mut late = node(at(&address, id)).await;
    late.meets(early.id).await;
}

#[tokio::test]
async fn who_registers_later_is_found_in_the_next_round() {
    let point = node(server()).await;
    let early = node(at(&point.address, point.id)).await;
    early
        .stands(|point| point.state == PointState::Registered && point.found == 1)
        .await;
    // Somebody who dials nobody, so that only asking again finds it. The usual interval is longer than this test.
    let (mut late, _) = stock_peer(stock::client::Behaviour::new).await;
    late.dial_and_wait(point.address.clone()).await;
    let home = namespace("cardume/test");
    late.behaviour_mut().register(home, point.id, Some(7200)).unwrap();
    said(&mut late).await;
    tokio::spawn(late.loop_on_next());
    early.stands(|point| point.found == 2).await;
}

#[tokio::test]
async fn a_registration_lasts_as_long_as_its_node_asks_for() {
    let point = node(server()).await;
    let short = node(Config {
        ttl: cardume_units::Duration::from_secs(600),
        ..at(&point.address, point.id)
    })
    .await;
    short.stands(|point| point.state == PointState::Registered).await;
    let (mut theirs, _) = stock_peer(stock::client::Behaviour::new).await;
    theirs.dial_and_wait(point.address.clone()).await;
    theirs.behaviour_mut().discover(None, None, None, point.id);
    let stock::client::Event::Discovered { registrations, .. } = said(&mut theirs).await else {
        panic!("it is found")
    };
    let [one] = registrations.as_slice() else {
        panic!("one is found: {registrations:?}")
    };
    assert!((1..=600).contains(&one.ttl), "{}", one.ttl);
}

#[tokio::test]
async fn of_those_found_no_more_are_dialled_than_may_be() {
    let point = node(server()).await;
    let calm = |max_connections| Config {
        max_connections,
        ..at(&point.address, point.id)
    };
    let mut found = Vec::new();
    for _ in 0..3 {
        let node = node(calm(0)).await;
        node.stands(|point| point.state == PointState::Registered).await;
        found.push(node);
    }
    let connections = async |mut node: Node, wanted: usize| {
        let mut peers = std::collections::BTreeSet::new();
        while peers.len() < wanted {
            let connected = timeout(GUARD, node.connected.recv()).await;
            peers.insert(connected.expect("they meet").unwrap());
        }
        (node, peers)
    };
    // The point, and all whom it names.
    connections(node(calm(3)).await, 4).await;
    let (mut one, mut peers) = connections(node(calm(1)).await, 2).await;
    // Rounds go on, with dials for whoever has room; so many of them that the others would have been reached.
    for _ in 0..2 {
        let late = node(calm(0)).await;
        late.stands(|point| point.state == PointState::Registered).await;
        found.push(late);
        let all = found.len();
        one.stands(|point| point.found >= all).await;
    }
    while let Ok(peer) = one.connected.try_recv() {
        peers.insert(peer);
    }
    assert_eq!(peers.len(), 2, "{peers:?}");
}
