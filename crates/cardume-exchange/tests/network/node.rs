//! One node as far as the exchange needs it, and peers that answer as a test says.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cardume_connect as connect;
use cardume_content::Cid;
use cardume_exchange::{Config, Destination, FetchError, FetchRequest, Fetched, Handle};
use cardume_store::{Mode, Store};
use cardume_testkit::web::Web;
use cardume_transfer as transfer;
use futures::{FutureExt as _, StreamExt as _};
use libp2p_identity::PeerId;
use libp2p_swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt as _;
use multiaddr::{Multiaddr, Protocol};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing here takes as long, unless it never comes.
pub(crate) const GUARD: Duration = Duration::from_secs(25);
const NETWORK: &str = "test";

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Behaviour {
    connect: connect::Behaviour,
    transfer: transfer::Behaviour,
}

/// The network side of a node.
pub(crate) struct Limb {
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) connect: connect::Handle,
    pub(crate) transfer: transfer::Handle,
    pub(crate) inbound: transfer::Server,
    pub(crate) swarm: JoinHandle<()>,
}

pub(crate) async fn limb() -> Limb {
    let mut parts = None;
    let mut swarm: Swarm<Behaviour> = Swarm::new_ephemeral_tokio(|key| {
        let book = PathBuf::from("/nonexistent/peers");
        let (connect, connect_handle, _) = connect::Config::default()
            .build(
                &key,
                NETWORK,
                "cardume/test".into(),
                &BTreeMap::new(),
                vec![],
                book,
            )
            .unwrap();
        let (transfer, transfer_handle, inbound) =
            transfer::Config::default().build(NETWORK, transfer::rates::Handle::unlimited());
        parts = Some((connect_handle, transfer_handle, inbound));
        Behaviour { connect, transfer }
    });
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.next_swarm_event().await {
            break address;
        }
    };
    let (connect, transfer, inbound) = parts.unwrap();
    let peer = *swarm.local_peer_id();
    Limb {
        peer,
        address: address.with(Protocol::P2p(peer)),
        connect,
        transfer,
        inbound,
        swarm: tokio::spawn(async move { while swarm.next().await.is_some() {} }),
    }
}

pub(crate) struct Node {
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) roll: cardume_access::Roll,
    pub(crate) store: Store,
    pub(crate) exchange: Handle,
    pub(crate) connect: connect::Handle,
    pub(crate) transfer: transfer::Handle,
    pub(crate) dir: PathBuf,
    _temporary: Option<tempfile::TempDir>,
    stop: CancellationToken,
    server: JoinHandle<()>,
    swarm: JoinHandle<()>,
}

/// A configuration that gives up soon.
pub(crate) fn config() -> Config {
    Config {
        find_timeout: cardume_units::Duration::from_secs(3),
        lost_timeout: cardume_units::Duration::from_secs(3),
        give_up_after: cardume_units::Duration::from_secs(1),
        ..Config::default()
    }
}

pub(crate) async fn node() -> Node {
    node_with(config()).await
}

pub(crate) async fn node_with(config: Config) -> Node {
    node_with_store(config, Default::default()).await
}

pub(crate) async fn node_with_store(config: Config, store: cardume_store::Config) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let mut node = node_of(dir.path(), config, &store, cardume_origin::Handle::closed()).await;
    node._temporary = Some(dir);
    node
}

/// A node that trusts a web server, and asks it soon.
pub(crate) async fn node_near(web: &Web) -> Node {
    let origin = cardume_origin::Config {
        patience: cardume_units::Duration::from_millis(300),
        stall_timeout: cardume_units::Duration::from_millis(500),
        ..Default::default()
    };
    node_near_as(web, origin, config()).await
}

/// A node that trusts a web server.
pub(crate) async fn node_near_as(web: &Web, origin: cardume_origin::Config, config: Config) -> Node {
    let origin = cardume_origin::Config {
        ca_file: Some(web.authority().to_owned()),
        ..origin
    };
    let pace = Arc::new(|_| async {}.boxed());
    let (handle, server) = origin.build("cardume/test".into(), pace).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut node = node_of(dir.path(), config, &Default::default(), handle).await;
    tokio::spawn(server.run(node.stop.clone()));
    node._temporary = Some(dir);
    node
}

/// Opens the database; a blocking thread of the last node may hold it for a moment longer.
async fn open(path: &Path) -> redb::Database {
    let opened = async {
        loop {
            match redb::Database::create(path) {
                Err(redb::DatabaseError::DatabaseAlreadyOpen) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, opened)
        .await
        .expect("the last node lets go of its database")
}

pub(crate) async fn node_at(dir: &Path, config: Config) -> Node {
    node_of(dir, config, &Default::default(), cardume_origin::Handle::closed()).await
}

async fn node_of(
    dir: &Path,
    config: Config,
    store: &cardume_store::Config,
    origin: cardume_origin::Handle,
) -> Node {
    let limb = limb().await;
    let data = dir.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let database = Arc::new(open(&data.join("database")).await);
    let store = Store::open(&data.join("store"), database.clone(), store).unwrap();
    let names = cardume_access::Names::default().with_certified_groups();
    let roll = cardume_access::Roll::new(names);
    let (exchange, server) = config.build(
        store.clone(),
        limb.transfer.clone(),
        limb.inbound,
        cardume_kad::Handle::closed(),
        limb.connect.clone(),
        limb.peer,
        database,
        roll.clone(),
    );
    let stop = CancellationToken::new();
    Node {
        peer: limb.peer,
        address: limb.address,
        roll,
        store,
        exchange,
        connect: limb.connect,
        transfer: limb.transfer,
        dir: dir.to_owned(),
        _temporary: None,
        server: tokio::spawn(server.keep_out_of(data).with_origins(origin).run(stop.clone())),
        stop,
        swarm: limb.swarm,
    }
}

impl Node {
    /// Stops it in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.server.await.unwrap();
        self.swarm.abort();
        let _ = self.swarm.await;
    }

    pub(crate) async fn meet(&self, other: &Multiaddr) {
        self.connect.dial(other.clone()).await.unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes and shares a file.
    pub(crate) fn share(&self, name: &str, bytes: &[u8]) -> Cid {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        self.share_path(&path)
    }

    pub(crate) fn share_path(&self, path: &Path) -> Cid {
        self.store.import(path, Mode::InPlace, &()).unwrap().cid
    }

    pub(crate) fn request(&self, cid: Cid, name: &str, from: &[&Multiaddr]) -> FetchRequest {
        let destination = Destination::Path {
            path: self.path(name),
            force: false,
        };
        let mut request = FetchRequest::new(cid, destination);
        request.peers = from.iter().map(|address| (*address).clone()).collect();
        request
    }

    pub(crate) async fn get(&self, cid: Cid, name: &str, from: &[&Multiaddr]) -> Result<Fetched, FetchError> {
        finish(self.exchange.fetch(self.request(cid, name, from))).await
    }

    /// Bytes of content that went to others.
    pub(crate) fn sent(&self) -> u64 {
        self.transfer
            .traffic()
            .iter()
            .map(|(_, traffic)| traffic.sent)
            .sum()
    }
}

pub(crate) async fn finish(fetch: cardume_exchange::Fetch) -> Result<Fetched, FetchError> {
    tokio::time::timeout(GUARD, fetch.finished())
        .await
        .expect("the fetch ends")
}

/// A peer that answers as `answer` says, with the number of the request; `None` leaves it unanswered.
pub(crate) struct Scripted {
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) connect: connect::Handle,
    pub(crate) asked: Arc<Mutex<Vec<transfer::Request>>>,
    _tasks: (JoinHandle<()>, JoinHandle<()>),
}

pub(crate) async fn scripted(
    mut answer: impl FnMut(usize, &transfer::Request) -> Option<transfer::Response> + Send + 'static,
) -> Scripted {
    let Limb {
        peer,
        address,
        connect,
        mut inbound,
        transfer,
        swarm,
    } = limb().await;
    let asked = Arc::<Mutex<Vec<transfer::Request>>>::default();
    let log = asked.clone();
    let count = AtomicUsize::new(0);
    let serving = tokio::spawn(async move {
        let _transfer = transfer;
        let mut kept = Vec::new();
        while let Some(request) = inbound.next().await {
            log.lock().unwrap().push(request.request.clone());
            match answer(count.fetch_add(1, Ordering::Relaxed), &request.request) {
                Some(response) => request.responder.send(response),
                None => kept.push(request.responder),
            }
        }
    });
    Scripted {
        peer,
        address,
        connect,
        asked,
        _tasks: (serving, swarm),
    }
}

/// Bytes that are the same every time and compress to nothing.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}
