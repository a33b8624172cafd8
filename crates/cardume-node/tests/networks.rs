//! Who gets into a network that is not open, over real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "a test says enough when it panics")]

use std::{
    path::Path,
    pin::pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_connect::Peer;
use cardume_membership::{Access, Armored as _, Authority, Certificate, Serial, Terms};
use cardume_node::{Config, Node};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt};
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
/// What is not on by default, or asks for more than a stream; and a name that is nobody's.
const OTHERS: [&str; 4] = [
    "/libp2p/circuit/relay/0.2.0/hop",
    "/libp2p/dcutr",
    "/libp2p/autonat/2/dial-request",
    "/nobody/1",
];
/// Everything that a node of network `main` answers once it is connected.
const PROTOCOLS: [&str; 5] = [
    "/ipfs/id/1.0.0",
    "/ipfs/ping/1.0.0",
    "/cardume/main/kad/1",
    "/cardume/main/transfer/1",
    "/meshsub/1.1.0",
];

fn quiet(home: &Path) -> Config {
    let mut config = Config::default();
    config.node.data_dir = Some(home.join("data"));
    config.control.listen = Some(format!("unix:{}", home.join("s").display()).into());
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

    /// Says one thing of `membership/1` and hears the answer, before anything else is said.
    async fn shows(&mut self, certificate: &[u8]) -> Vec<u8> {
        let Some(mut stream) = self.opens("/cardume/main/membership/1").await else {
            panic!("the gate answers");
        };
        let talking = async {
            // DAG-CBOR: [0, certificate, [], []].
            let length = match u8::try_from(certificate.len()) {
                Ok(length) => vec![0x58, length],
                Err(_) => [&[0x59], &(certificate.len() as u16).to_be_bytes()[..]].concat(),
            };
            let body = [&[0x84, 0][..], &length, certificate, &[0x80, 0x80]].concat();
            stream
                .write_all(&(body.len() as u32).to_be_bytes())
                .await
                .unwrap();
            stream.write_all(&body).await.unwrap();
            stream.flush().await.unwrap();
            // Up to the end of the stream, or of the connection.
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        };
        let mut talking = pin!(talking);
        let until = async {
            loop {
                tokio::select! {
                    answer = &mut talking => return answer,
                    _ = self.swarm.next() => {}
                }
            }
        };
        timeout(PATIENCE, until).await.expect("it is answered")
    }

    /// What of `PROTOCOLS` the peer answers.
    async fn gets(&mut self) -> Vec<&'static str> {
        let mut answered = Vec::new();
        for protocol in PROTOCOLS.into_iter().chain(OTHERS) {
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

/// What an authority says of a peer of network `main`, from a minute ago until in an hour.
fn terms(peer: PeerId) -> Terms {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Terms {
        network: "main".into(),
        peer,
        groups: ["web".to_owned()].into(),
        from: now - 60,
        until: now + 3_600,
        serial: Serial::random(),
    }
}

/// A configuration of a member, whose key is made here.
fn certified(home: &Path, authority: &Keypair) -> Config {
    let mut config = quiet(home);
    let file = |name: &str| home.join(name).to_str().unwrap().to_owned();
    let key = cardume_node::identity::create(Path::new(&file("key"))).unwrap();
    let certificate = Certificate::sign(terms(key.public().to_peer_id()), authority).unwrap();
    std::fs::write(file("certificate"), certificate.armor()).unwrap();
    config.identity.key_file = Some(file("key"));
    config.network.access = Access::Certified;
    config.network.authorities = vec![Authority::of(authority).unwrap().to_string()];
    config.network.certificate_file = Some(file("certificate"));
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_certified_network_whoever_shows_no_good_certificate_gets_nothing_by_any_protocol() {
    let home = TempDir::new().unwrap();
    let authority = Keypair::generate_ed25519();
    let node = start(certified(home.path(), &authority)).await;
    let key = Keypair::generate_ed25519();
    let peer = key.public().to_peer_id();
    let own = Certificate::sign(terms(peer), &authority).unwrap();
    let mut forged = own.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let stolen = Certificate::sign(terms(PeerId::random()), &authority).unwrap();
    let yard = Terms {
        network: "yard".into(),
        ..terms(peer)
    };
    let yard = Certificate::sign(yard, &authority).unwrap();
    let expired = Terms {
        until: terms(peer).from + 1,
        ..terms(peer)
    };
    let expired = Certificate::sign(expired, &authority).unwrap();
    let self_made = Certificate::sign(terms(peer), &key).unwrap();
    let shown = [
        (&forged[..], 1),
        (&[0; 2_000], 1),
        (yard.bytes(), 2),
        (stolen.bytes(), 3),
        (self_made.bytes(), 4),
        (expired.bytes(), 6),
    ];
    for address in addresses(&node).await {
        let mut stranger = Stranger::knowing(&key, node.peer_id(), address.clone());
        assert_eq!(stranger.gets().await, [""; 0], "{address}");
        for (certificate, code) in shown {
            let mut stranger = Stranger::knowing(&key, node.peer_id(), address.clone());
            let answer = stranger.shows(certificate).await;
            // The reason, and nothing of the node: no certificate, no lists.
            assert_eq!(answer, [0, 0, 0, 5, 0x84, code, 0x40, 0x80, 0x80], "{address}");
        }
        let mut stranger = Stranger::knowing(&key, node.peer_id(), address.clone());
        let answer = stranger.shows(&[0; 4_000]).await;
        assert!(answer.is_empty(), "it is too long to be read: {answer:?}");
        // With a good one it hears the node's, so all of this was the certificates' doing.
        let mut member = Stranger::knowing(&key, node.peer_id(), address.clone());
        let heard = member.shows(own.bytes()).await;
        assert!(heard.len() > 150, "{address}: {heard:?}");
    }
    assert_eq!(node.connect().peers().await.unwrap().len(), 0);
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_go_to_each_other_and_not_into_an_open_network_and_say_why() {
    let [a, b, c] = std::array::from_fn(|_| TempDir::new().unwrap());
    let authority = Keypair::generate_ed25519();
    let one = start(certified(a.path(), &authority)).await;
    let other = start(certified(b.path(), &authority)).await;
    let open = start(quiet(c.path())).await;
    let reach = |node: &Node, address: &Multiaddr| address.clone().with_p2p(node.peer_id()).unwrap();
    for address in addresses(&open).await {
        let dialled = one.connect().dial(reach(&open, &address));
        let error = timeout(PATIENCE, dialled).await.unwrap().unwrap_err().to_string();
        assert!(error.contains("refused"), "{error}");
    }
    for address in addresses(&one).await {
        // An open node may think that it is connected, until it is cut off; it learns nothing.
        let _ = timeout(PATIENCE, open.connect().dial(reach(&one, &address)))
            .await
            .unwrap();
        let dialled = other.connect().dial(reach(&one, &address));
        assert_eq!(timeout(PATIENCE, dialled).await.unwrap().unwrap(), one.peer_id());
    }
    // Who dials is done before who is dialled.
    let met = async {
        loop {
            let peers = one.connect().peers().await.unwrap();
            if !peers.is_empty() {
                return peers;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let peers = timeout(PATIENCE, met).await.unwrap();
    assert_eq!(
        peers.iter().map(|info| info.peer).collect::<Vec<_>>(),
        [other.peer_id()]
    );
    for node in [one, other, open] {
        node.shutdown().await.unwrap();
    }
}
