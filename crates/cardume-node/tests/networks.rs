//! Who gets into a network that is not open, over real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "a test says enough when it panics")]

use std::{path::Path, pin::pin, time::Duration};

use cardume_connect::Peer;
use cardume_membership::Access;
use cardume_node::{Config, Node};
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder,
    identity::Keypair,
    noise,
    swarm::{
        SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, yamux,
};
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Everything that a node of network `main` answers once it is connected.
const PROTOCOLS: [&str; 4] = [
    "/ipfs/id/1.0.0",
    "/ipfs/ping/1.0.0",
    "/cardume/main/kad/1",
    "/cardume/main/transfer/1",
];

fn quiet(home: &Path) -> Config {
    let mut config = Config::default();
    config.node.data_dir = Some(home.join("data"));
    config.control.listen = Some(format!("unix:{}", home.join("s").display()));
    config.listen.addresses = vec![
        "/ip4/127.0.0.1/tcp/0".parse().unwrap(),
        "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap(),
    ];
    config.mdns.enabled = false;
    config
}

async fn start(config: Config) -> Node {
    timeout(PATIENCE, Node::start(config))
        .await
        .expect("a node starts at once")
        .unwrap()
}

/// Where a node listens, once it does over both transports.
async fn addresses(node: &Node) -> Vec<Multiaddr> {
    let until = async {
        loop {
            let addresses = node.addresses().await.listen;
            if addresses.len() >= 2 {
                return addresses;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, until).await.expect("it listens")
}

/// A peer with the stock stack and whatever key.
struct Stranger {
    swarm: Swarm<libp2p_stream::Behaviour>,
    peer: PeerId,
    address: Multiaddr,
}

impl Stranger {
    fn knowing(key: &Keypair, peer: PeerId, address: Multiaddr) -> Self {
        let swarm = SwarmBuilder::with_existing_identity(key.clone())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_quic()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .build();
        Self { swarm, peer, address }
    }

    /// Connects, if it is not, and does `work` with a stream of `protocol` if it gets one.
    async fn opens(&mut self, protocol: &str) -> Option<Stream> {
        let dial = DialOpts::peer_id(self.peer)
            .condition(PeerCondition::Disconnected)
            .addresses(vec![self.address.clone()])
            .build();
        let trying = async {
            if self.swarm.dial(dial).is_ok() {
                loop {
                    match self.swarm.select_next_some().await {
                        SwarmEvent::ConnectionEstablished { .. } => break,
                        SwarmEvent::OutgoingConnectionError { .. } => return None,
                        _ => {}
                    }
                }
            }
            let protocol = StreamProtocol::try_from_owned(protocol.to_owned()).unwrap();
            let mut control = self.swarm.behaviour().new_control();
            let mut opened = pin!(control.open_stream(self.peer, protocol));
            loop {
                tokio::select! {
                    opened = &mut opened => return opened.ok(),
                    _ = self.swarm.next() => {}
                }
            }
        };
        timeout(PATIENCE, trying)
            .await
            .expect("it is cut off, not kept waiting")
    }

    /// What of `PROTOCOLS` the peer answers.
    async fn gets(&mut self) -> Vec<&'static str> {
        let mut answered = Vec::new();
        for protocol in PROTOCOLS {
            if self.opens(protocol).await.is_some() {
                answered.push(protocol);
            }
        }
        answered
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_listed_network_whoever_is_not_listed_gets_nothing_by_any_protocol() {
    let home = TempDir::new().unwrap();
    let [listed, stranger] = std::array::from_fn(|_| Keypair::generate_ed25519());
    let mut config = quiet(home.path());
    config.network.access = Access::Listed;
    let friend = Peer {
        id: listed.public().to_peer_id(),
        addresses: vec![],
        keep: false,
        groups: vec![],
    };
    config.peer.insert("friend".into(), friend);
    let node = start(config).await;
    for address in addresses(&node).await {
        let peer = node.peer_id();
        let mut friend = Stranger::knowing(&listed, peer, address.clone());
        assert_eq!(friend.gets().await, PROTOCOLS, "{address}");
        let mut stranger = Stranger::knowing(&stranger, peer, address.clone());
        assert_eq!(stranger.gets().await, [""; 0], "{address}");
    }
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lists_its_peers_does_not_go_to_others_either() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let open = start(quiet(a.path())).await;
    let mut config = quiet(b.path());
    config.network.access = Access::Listed;
    let closed = start(config).await;
    for address in addresses(&open).await {
        let dialled = closed.connect().dial(address.with_p2p(open.peer_id()).unwrap());
        let error = timeout(PATIENCE, dialled).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("is in no [peer.*]"), "{error}");
    }
    assert_eq!(closed.connect().peers().await.unwrap().len(), 0);
    open.shutdown().await.unwrap();
    closed.shutdown().await.unwrap();
}
