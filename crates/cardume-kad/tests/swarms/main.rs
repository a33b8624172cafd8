//! Whole DHTs in memory: real behaviours, real connections, no ports.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;

use std::{future::Future, sync::Arc, time::Duration};

use cardume_access::{Action, List, Roll};
use cardume_kad::{Behaviour, Config, Handle, Judge, KadError, Mode, Nothing, Provider};
use futures::StreamExt as _;
use libp2p_identity::PeerId;
use libp2p_swarm::{NetworkBehaviour, Swarm};
use libp2p_swarm_test::SwarmExt as _;
use multiaddr::Multiaddr;
use redb::Database;
use tempfile::TempDir;
use tokio::task::JoinHandle;

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Node {
    kad: Behaviour,
    identify: libp2p_identify::Behaviour,
}

struct Peer {
    id: PeerId,
    address: Multiaddr,
    kad: Handle,
    swarm: Swarm<Node>,
    server: cardume_kad::Server,
    dir: TempDir,
}

async fn peer(config: Config) -> Peer {
    peer_in(tempfile::tempdir().unwrap(), config).await
}

async fn peer_in(dir: TempDir, config: Config) -> Peer {
    peer_of("test", dir, config).await
}

async fn peer_of(network: &str, dir: TempDir, config: Config) -> Peer {
    peer_with(network, dir, config, List::default()).await
}

async fn peer_with(network: &str, dir: TempDir, config: Config, allow: List) -> Peer {
    peer_judging(network, dir, config, allow, Arc::new(Nothing)).await
}

async fn peer_judging(
    network: &str,
    dir: TempDir,
    config: Config,
    allow: List,
    judge: Arc<dyn Judge>,
) -> Peer {
    let database = Arc::new(Database::create(dir.path().join("db")).unwrap());
    let mut built = None;
    let mut swarm = Swarm::new_ephemeral_tokio(|key| {
        let (kad, handle, server) = config
            .build(key.public().to_peer_id(), network, database, allow, judge)
            .unwrap();
        built = Some((handle, server));
        let identify = libp2p_identify::Config::new("/test/1".into(), key.public());
        Node {
            kad,
            identify: libp2p_identify::Behaviour::new(identify),
        }
    });
    let (address, _) = swarm.listen().with_memory_addr_external().await;
    let (kad, server) = built.unwrap();
    Peer {
        id: *swarm.local_peer_id(),
        address,
        kad,
        swarm,
        server,
        dir,
    }
}

impl Peer {
    fn knows(&mut self, other: &Peer) {
        self.swarm.add_peer_address(other.id, other.address.clone());
    }

    /// Lets the swarm run; the handle is what is left to ask.
    fn run(self) -> Handle {
        self.run_until(std::future::pending::<()>()).0
    }

    /// Lets the swarm run until `stop`, and then ends with everything written.
    fn run_until(mut self, stop: impl Future + Send + 'static) -> (Handle, JoinHandle<TempDir>) {
        let running = async move {
            let server = tokio::spawn(self.server.run());
            tokio::select! {
                () = async { while self.swarm.next().await.is_some() {} } => {}
                _ = stop => {}
            }
            drop(self.swarm);
            server.await.unwrap();
            self.dir
        };
        (self.kad.clone(), tokio::spawn(running))
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what)
        .await
        .expect("it takes seconds")
}

/// Asks again until the routing table has as many peers.
async fn has_peers(kad: &Handle, peers: usize) {
    soon(async {
        while kad.status().await.unwrap().peers < peers {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn all(mut found: tokio::sync::mpsc::Receiver<Provider>) -> Vec<Provider> {
    soon(async {
        let mut all = Vec::new();
        while let Some(provider) = found.recv().await {
            all.push(provider);
        }
        all
    })
    .await
}

/// Three peers, of which the second and the third know only the first.
async fn three() -> ([Handle; 3], [PeerId; 3], [Multiaddr; 3]) {
    let first = peer(Config::default()).await;
    let mut second = peer(Config::default()).await;
    let mut third = peer(Config::default()).await;
    second.knows(&first);
    third.knows(&first);
    let ids = [first.id, second.id, third.id];
    let addresses = [&first, &second, &third].map(|p| p.address.clone());
    let handles = [first.run(), second.run(), third.run()];
    has_peers(&handles[0], 2).await;
    has_peers(&handles[1], 1).await;
    has_peers(&handles[2], 1).await;
    (handles, ids, addresses)
}

#[tokio::test]
async fn a_provider_is_found_with_its_addresses_through_a_peer_that_both_know() {
    let (kads, ids, addresses) = three().await;
    soon(kads[1].provide(b"file".to_vec())).await.unwrap();
    let found = all(kads[2].providers(b"file".to_vec()).await.unwrap()).await;
    let [provider] = found.as_slice() else {
        panic!("one provider, once: {found:?}")
    };
    assert_eq!(provider.peer, ids[1]);
    let address = addresses[1].clone().with_p2p(ids[1]).unwrap();
    assert!(provider.addresses.contains(&address), "{provider:?}");
    assert_eq!(kads[1].status().await.unwrap().provided, 1);
}

#[tokio::test]
async fn a_value_put_by_one_peer_is_read_by_another() {
    let (kads, _, _) = three().await;
    soon(kads[1].put(b"name".to_vec(), b"value".to_vec()))
        .await
        .unwrap();
    assert_eq!(soon(kads[2].get(b"name".to_vec())).await.unwrap(), b"value");
    let missing = soon(kads[2].get(b"other".to_vec())).await;
    assert!(matches!(missing, Err(KadError::NotFound)), "{missing:?}");
    soon(kads[2].put(b"name".to_vec(), b"newer".to_vec()))
        .await
        .unwrap();
    assert_eq!(soon(kads[0].get(b"name".to_vec())).await.unwrap(), b"newer");
}

#[tokio::test]
async fn the_largest_value_fits_and_a_larger_one_is_refused() {
    let (kads, _, _) = three().await;
    let value = vec![7; 64 * 1024];
    soon(kads[1].put(vec![b'k'; 1024], value.clone())).await.unwrap();
    assert_eq!(soon(kads[2].get(vec![b'k'; 1024])).await.unwrap(), value);
    let refused = soon(kads[1].put(b"k".to_vec(), vec![7; 64 * 1024 + 1])).await;
    assert!(
        matches!(&refused, Err(KadError::Refused(why)) if why.contains("65537")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_peer_is_found_by_its_id() {
    let (kads, ids, _) = three().await;
    let found = soon(kads[2].find_peer(ids[1])).await.unwrap();
    assert_eq!(found[0].peer, ids[1]);
    assert!(!found[0].addresses.is_empty());
    let nobody = soon(kads[2].find_peer(PeerId::random())).await;
    assert!(matches!(nobody, Err(KadError::NotFound)), "{nobody:?}");
}

#[tokio::test]
async fn a_key_provided_before_any_peer_was_known_is_announced_when_one_comes() {
    let first = peer(Config::default()).await;
    let mut second = peer(Config::default()).await;
    let kad = second.kad.clone();
    let id = second.id;
    let provided = tokio::spawn(async move { kad.provide(b"early".to_vec()).await });
    soon(async {
        while !provided.is_finished() {
            futures::future::poll_fn(|cx| {
                let _ = second.swarm.poll_next_unpin(cx);
                cx.waker().wake_by_ref();
                std::task::Poll::Ready(())
            })
            .await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    provided.await.unwrap().unwrap();
    second.knows(&first);
    let first = first.run();
    let _second = second.run();
    soon(async {
        loop {
            let found = all(first.providers(b"early".to_vec()).await.unwrap()).await;
            if found.iter().any(|p| p.peer == id) {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_withdrawn_key_is_no_longer_answered_by_its_provider() {
    let first = peer(Config::default()).await;
    let mut second = peer(Config {
        mode: Mode::Client,
        ..Config::default()
    })
    .await;
    second.knows(&first);
    let (first, second) = (first.run(), second.run());
    has_peers(&second, 1).await;
    soon(first.provide(b"file".to_vec())).await.unwrap();
    assert_eq!(
        all(second.providers(b"file".to_vec()).await.unwrap()).await.len(),
        1
    );
    soon(first.withdraw(b"file".to_vec())).await.unwrap();
    assert!(
        all(second.providers(b"file".to_vec()).await.unwrap())
            .await
            .is_empty()
    );
    let status = first.status().await.unwrap();
    // A client has asked, and is in no routing table for it.
    assert_eq!((status.provided, status.peers), (0, 0));
    assert!(status.server && !second.status().await.unwrap().server);
}

#[tokio::test]
async fn announcements_and_values_are_kept_of_those_on_the_list_and_of_nobody_else() {
    let mut friend = peer(Config::default()).await;
    let mut stranger = peer(Config::default()).await;
    let roll = Roll::default();
    let allow = List::new(roll.clone(), Some(&[friend.id.to_string()]));
    let dir = tempfile::tempdir().unwrap();
    let keeper = peer_with("test", dir, Config::default(), allow.clone()).await;
    friend.knows(&keeper);
    stranger.knows(&keeper);
    let (friend_id, keeper, friend, stranger) = (friend.id, keeper.run(), friend.run(), stranger.run());
    has_peers(&keeper, 2).await;
    for (key, peer) in [(b"ours", &friend), (b"them", &stranger)] {
        soon(peer.provide(key.to_vec())).await.unwrap();
        // Others take the value all the same.
        let _ = soon(peer.put(key.to_vec(), b"value".to_vec())).await;
    }
    soon(async {
        while roll.denied(Action::Record) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let found = all(keeper.providers(b"ours".to_vec()).await.unwrap()).await;
    assert_eq!(
        found.iter().map(|found| found.peer).collect::<Vec<_>>(),
        [friend_id]
    );
    assert_eq!(keeper.status().await.unwrap().records, 1);

    allow.set(None);
    soon(stranger.put(b"them".to_vec(), b"value".to_vec()))
        .await
        .unwrap();
    assert_eq!(
        keeper.status().await.unwrap().records,
        2,
        "and of everybody without it"
    );
}

#[tokio::test]
async fn a_node_alone_answers_at_once() {
    let alone = peer(Config::default()).await.run();
    soon(alone.provide(b"mine".to_vec())).await.unwrap();
    assert!(
        all(alone.providers(b"mine".to_vec()).await.unwrap())
            .await
            .is_empty()
    );
    assert!(matches!(
        soon(alone.get(b"key".to_vec())).await,
        Err(KadError::NoPeers)
    ));
    let put = soon(alone.put(b"key".to_vec(), b"value".to_vec())).await;
    assert!(matches!(put, Err(KadError::NoPeers)));
    let find = soon(alone.find_peer(PeerId::random())).await;
    assert!(matches!(find, Err(KadError::NoPeers)));
}

#[tokio::test]
async fn a_dropped_reader_ends_its_lookup() {
    let mut lonely = peer(Config {
        parallel_queries: 1,
        ..Config::default()
    })
    .await;
    // Nobody listens there, so the lookup would wait for its dials.
    let silent = peer(Config::default()).await;
    lonely.knows(&silent);
    let kad = lonely.run();
    let found = kad.providers(b"file".to_vec()).await.unwrap();
    soon(async { while kad.status().await.unwrap().queries == 0 {} }).await;
    drop(found);
    soon(async {
        while kad.status().await.unwrap().queries > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(silent);
}

#[tokio::test]
async fn a_dht_switched_off_says_so_at_once() {
    let closed = Handle::closed();
    assert!(closed.status().await.is_err());
    assert!(closed.providers(b"k".to_vec()).await.is_err());
    assert!(matches!(
        closed.provide(b"k".to_vec()).await,
        Err(KadError::Closed(_))
    ));
    assert!(matches!(
        closed.get(b"k".to_vec()).await,
        Err(KadError::Closed(_))
    ));
}

#[tokio::test]
async fn what_others_announced_and_put_is_still_known_after_a_restart() {
    let client = Config {
        mode: Mode::Client,
        ..Config::default()
    };
    let keeper = peer(Config::default()).await;
    let mut giver = peer(client).await;
    giver.knows(&keeper);
    let (id, address) = (giver.id, giver.address.clone().with_p2p(giver.id).unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (keeper, ended) = keeper.run_until(stopped);
    let giver = giver.run();
    has_peers(&giver, 1).await;
    soon(giver.provide(b"file".to_vec())).await.unwrap();
    soon(giver.put(b"key".to_vec(), b"value".to_vec())).await.unwrap();
    // The keeper asks nobody, for it knows only a client: what it answers, it has.
    soon(async {
        while all(keeper.providers(b"file".to_vec()).await.unwrap())
            .await
            .is_empty()
        {}
    })
    .await;
    stop.send(()).unwrap();
    let dir = soon(ended).await.unwrap();
    let again = peer_in(dir, Config::default()).await.run();
    let found = all(again.providers(b"file".to_vec()).await.unwrap()).await;
    assert_eq!(found[0].peer, id);
    assert!(found[0].addresses.contains(&address), "{found:?}");
    assert_eq!(soon(again.get(b"key".to_vec())).await.unwrap(), b"value");
}

#[tokio::test]
async fn a_peer_of_the_routing_table_is_asked_again_after_a_restart_though_nobody_names_it() {
    let first = peer(Config::default()).await;
    let mut second = peer(Config::default()).await;
    second.knows(&first);
    let id = first.id;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let first = first.run();
    let (kad, ended) = second.run_until(stopped);
    soon(first.provide(b"file".to_vec())).await.unwrap();
    has_peers(&first, 1).await;
    has_peers(&kad, 1).await;
    stop.send(()).unwrap();
    let dir = soon(ended).await.unwrap();
    let again = peer_in(dir, Config::default()).await.run();
    assert_eq!(again.status().await.unwrap().peers, 1);
    let found = all(again.providers(b"file".to_vec()).await.unwrap()).await;
    assert_eq!(found[0].peer, id);
}

#[tokio::test]
async fn two_thousand_keys_are_provided_whatever_strangers_have_announced() {
    let keeper = peer(Config {
        max_providers: 64,
        ..Config::default()
    })
    .await;
    let mut greedy = peer(Config {
        mode: Mode::Client,
        ..Config::default()
    })
    .await;
    greedy.knows(&keeper);
    let (keeper, greedy) = (keeper.run(), greedy.run());
    has_peers(&greedy, 1).await;
    let announcing = (0..100_u32).map(|n| greedy.provide(n.to_be_bytes().to_vec()));
    for provided in soon(futures::future::join_all(announcing)).await {
        provided.unwrap();
    }
    let providing = (0..2000_u32).map(|n| keeper.provide((n + 1000).to_be_bytes().to_vec()));
    for provided in soon(futures::future::join_all(providing)).await {
        provided.unwrap();
    }
    assert_eq!(keeper.status().await.unwrap().provided, 2000);
}

#[tokio::test]
async fn two_networks_never_mix() {
    let first = peer(Config::default()).await;
    let dir = tempfile::tempdir().unwrap();
    let mut second = peer_of("other", dir, Config::default()).await;
    second.knows(&first);
    let first_id = first.id;
    let (first, second) = (first.run(), second.run());
    // The second takes the first for one of its own until it has said what it speaks.
    soon(async {
        while second.status().await.unwrap().peers > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(first.status().await.unwrap().peers, 0);
    assert!(second.find_peer(first_id).await.is_err());
}

/// Values of every key count what their first byte says, and are untrue if that is 0.
struct FirstByte;

impl Judge for FirstByte {
    fn knows(&self, _: &[u8]) -> bool {
        true
    }

    fn rank(&self, _: &[u8], value: &[u8]) -> Option<u64> {
        value.first().copied().filter(|rank| *rank > 0).map(u64::from)
    }
}

#[tokio::test]
async fn where_values_are_judged_the_best_is_found_whatever_most_peers_say() {
    let judging = || {
        let dir = tempfile::tempdir().unwrap();
        peer_judging(
            "test",
            dir,
            Config::default(),
            List::default(),
            Arc::new(FirstByte),
        )
    };
    let first = judging().await;
    let mut second = judging().await;
    // Takes, keeps and tells whatever it is told.
    let mut gullible = peer(Config::default()).await;
    second.knows(&first);
    gullible.knows(&first);
    gullible.knows(&second);
    let kads = [first.run(), second.run(), gullible.run()];
    for kad in &kads {
        has_peers(kad, 2).await;
    }
    let [first, second, gullible] = kads;
    let key = || b"key".to_vec();
    soon(first.put(key(), vec![2, 1])).await.unwrap();
    // Older, untrue: both are refused by those who judge, and stay where nobody does.
    for worse in [vec![1, 9], vec![0, 9]] {
        let _ = soon(gullible.put(key(), worse)).await;
        assert_eq!(soon(second.get(key())).await.unwrap(), [2, 1]);
    }
    let older = soon(second.put(key(), vec![1])).await;
    assert!(matches!(older, Err(KadError::Outdated)), "{older:?}");
    let untrue = soon(second.put(key(), vec![0])).await;
    assert!(matches!(untrue, Err(KadError::Refused(_))), "{untrue:?}");
    // Ours too gives way to a better one.
    soon(second.put(key(), vec![3])).await.unwrap();
    assert_eq!(soon(first.get(key())).await.unwrap(), [3]);
}
