//! A DHT of a hundred peers in memory, of which a quarter mean ill.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod liar;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cardume_access::List;
use cardume_kad::{Behaviour, Config, Handle, Nothing};
use futures::{StreamExt as _, stream};
use libp2p_identity::PeerId;
use libp2p_swarm::{NetworkBehaviour, Swarm};
use libp2p_swarm_test::SwarmExt as _;
use redb::Database;

use self::liar::{Known, Liar, Manner};

const HONEST: usize = 75;
const HOSTILE: usize = 25;
const KEYS: usize = 25;
const LOOKUPS: usize = 100;

/// How many lookups go on at once: all hundred peers share the cores of one machine, and a request that is answered after its
/// deadline, because others were computed first, says nothing of what peers that mean ill can do.
const AT_ONCE: usize = 8;

/// Peers that a newcomer is told of, of all kinds.
const TOLD: usize = 16;

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Node {
    kad: Behaviour,
    identify: libp2p_identify::Behaviour,
}

struct Peer {
    known: Known,
    kad: Handle,
    swarm: Swarm<Node>,
}

async fn peer() -> Peer {
    let backend = redb::backends::InMemoryBackend::new();
    let database = Arc::new(Database::builder().create_with_backend(backend).unwrap());
    let mut handle = None;
    let mut swarm = Swarm::new_ephemeral_tokio(|key| {
        let local = key.public().to_peer_id();
        let (kad, built, _) = Config::default()
            .build(local, "test", database, List::default(), Arc::new(Nothing))
            .unwrap();
        handle = Some(built);
        let identify = libp2p_identify::Config::new("/test/1".into(), key.public());
        Node {
            kad,
            identify: libp2p_identify::Behaviour::new(identify),
        }
    });
    let (address, _) = swarm.listen().with_memory_addr_external().await;
    Peer {
        known: (*swarm.local_peer_id(), address),
        kad: handle.unwrap(),
        swarm,
    }
}

/// Numbers that are the same in every run.
fn pick(of: usize, seed: usize) -> usize {
    let mixed = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 33) as usize) % of
}

/// Starts the network; the honest ones' handles, once each knows enough peers.
async fn network() -> Vec<(PeerId, Handle)> {
    let manners = [Manner::Accomplices, Manner::Silent, Manner::Phantoms];
    let liars = (0..HOSTILE).map(|n| Liar::new(manners[n % manners.len()]));
    let liars = futures::future::join_all(liars).await;
    let honest = futures::future::join_all((0..HONEST).map(|_| peer())).await;
    let accomplices: Vec<_> = liars.iter().map(|liar| liar.known.clone()).collect();
    let everybody: Vec<_> = honest.iter().map(|peer| peer.known.clone()).collect();
    let everybody = [everybody, accomplices.clone()].concat();
    for liar in liars {
        liar.run(accomplices.clone());
    }
    let mut handles = Vec::new();
    for (n, mut peer) in honest.into_iter().enumerate() {
        for seed in 0..TOLD {
            let (id, address) = everybody[pick(everybody.len(), n * TOLD + seed)].clone();
            if id != peer.known.0 {
                peer.swarm.add_peer_address(id, address);
            }
        }
        handles.push((peer.known.0, peer.kad));
        tokio::spawn(async move { while peer.swarm.next().await.is_some() {} });
    }
    for (_, kad) in &handles {
        while kad.status().await.unwrap().peers < 20 {
            tokio::task::yield_now().await;
        }
    }
    handles
}

fn key(n: usize) -> Vec<u8> {
    format!("file {n}").into_bytes()
}

/// Whether the lookup finds the one honest provider.
async fn finds(kad: &Handle, key: Vec<u8>, provider: PeerId) -> bool {
    let mut found = kad.providers(key).await.unwrap();
    while let Some(one) = found.recv().await {
        if one.peer == provider {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quarter_of_hostile_peers_hides_no_provider() {
    let started = Instant::now();
    let handles = tokio::time::timeout(Duration::from_secs(300), network())
        .await
        .expect("a hundred peers meet");
    println!(
        "{HONEST} honest and {HOSTILE} hostile peers met in {:?}",
        started.elapsed()
    );
    let started = Instant::now();
    let announcing = (0..KEYS).map(|n| handles[n % HONEST].1.provide(key(n)));
    for announced in futures::future::join_all(announcing).await {
        announced.unwrap();
    }
    println!("{KEYS} keys announced in {:?}", started.elapsed());
    let started = Instant::now();
    let lookups = stream::iter(0..LOOKUPS).map(|n| {
        let asked = n % KEYS;
        let provider = handles[asked % HONEST].0;
        let asker = (asked + 1 + pick(HONEST - 1, n)) % HONEST;
        finds(&handles[asker].1, key(asked), provider)
    });
    let found = lookups
        .buffer_unordered(AT_ONCE)
        .filter(|found| std::future::ready(*found));
    let found = found.count().await;
    println!(
        "{found} of {LOOKUPS} lookups found the provider, in {:?}",
        started.elapsed()
    );
    assert!(found * 100 >= LOOKUPS * 99, "{found} of {LOOKUPS}");
}
