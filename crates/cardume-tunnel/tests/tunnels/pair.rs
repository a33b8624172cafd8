//! Two nodes that are connected, and services beside one of them.
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use cardume_access::{Names, Roll};
use cardume_tunnel::{Behaviour, Config, Handle, Place, Protocol, State, Status};
use futures::{FutureExt as _, StreamExt as _};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::Swarm;
use libp2p_swarm_test::SwarmExt as _;
use multiaddr::Multiaddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Whatever is waited for takes less.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// One of the two.
pub(crate) struct Node {
    pub(crate) tunnels: Handle,
    pub(crate) roll: Roll,
    pub(crate) peer: PeerId,
    _stop: DropGuard,
}

/// `here` beside those who use services, `there` beside the services; each knows the other by the names in `known`.
pub(crate) struct Pair {
    pub(crate) here: Node,
    pub(crate) there: Node,
    /// Where `there` is.
    pub(crate) address: Multiaddr,
}

/// A pair in which `there` knows who is `here` as "here", and is known as "there".
pub(crate) async fn pair() -> Pair {
    let [mut one, mut other] = [node(), node()];
    let (address, _) = other.0.listen().with_memory_addr_external().await;
    one.0.connect(&mut other.0).await;
    let [here, there] = [one, other].map(run);
    let names = |name, peer| Names::new([(name, peer, [])]).unwrap();
    here.roll.rename(names("there", there.peer));
    there.roll.rename(names("here", here.peer));
    Pair { here, there, address }
}

type Made = (Swarm<Behaviour>, Node, cardume_tunnel::Server, CancellationToken);

fn node() -> Made {
    let roll = Roll::default();
    let dial: cardume_tunnel::Dial = Arc::new(|_| async { Ok(()) }.boxed());
    let (behaviour, tunnels, server) = cardume_tunnel::build(&BTreeMap::new(), "test", roll.clone(), dial);
    let swarm = Swarm::new_ephemeral_tokio(|_: Keypair| behaviour);
    let stop = CancellationToken::new();
    let node = Node {
        tunnels,
        roll,
        peer: *swarm.local_peer_id(),
        _stop: stop.clone().drop_guard(),
    };
    (swarm, node, server, stop)
}

fn run((mut swarm, node, server, stop): Made) -> Node {
    tokio::spawn(server.run(stop.clone()));
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        loop {
            swarm.next().await;
        }
    }));
    node
}

impl Node {
    /// How the tunnel of that name is.
    pub(crate) fn status(&self, name: &str) -> Status {
        let all = self.tunnels.list().into_iter();
        all.into_iter().find(|status| status.name == name).unwrap()
    }

    /// Exposes a service to whom the words name.
    pub(crate) async fn expose(&self, name: &str, protocol: Protocol, target: SocketAddr, allow: &[&str]) {
        let allow = allow.iter().map(|word| (*word).to_owned()).collect();
        let config = Config::expose(protocol, Place::Socket(target), allow);
        self.tunnels.open(name, config).await.unwrap();
    }

    /// Listens in the stead of "there", and tells where.
    pub(crate) async fn forward(&self, name: &str, protocol: Protocol) -> SocketAddr {
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = Config::forward(protocol, listen, "there".into(), None);
        let status = self.tunnels.open(name, config).await.unwrap();
        match status.state {
            State::Ready(Some(Place::Socket(at))) => at,
            other => panic!("{other:?}"),
        }
    }
}

/// A service that says what it is told.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                let _ = writer.shutdown().await;
            });
        }
    });
    at
}

/// One that answers datagrams with themselves.
pub(crate) async fn udp_echo() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&buffer[..length], from).await;
        }
    });
    at
}

/// Says something, ends its half, and reads to the end.
pub(crate) async fn ask(at: SocketAddr, text: &[u8]) -> Vec<u8> {
    let asking = async {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let saying = async {
            // Fails when nobody listens, which the answer shows.
            let _ = writer.write_all(text).await;
            let _ = writer.shutdown().await;
        };
        let mut answer = Vec::new();
        let (_, _) = tokio::join!(saying, reader.read_to_end(&mut answer));
        answer
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("an answer")
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect(what);
}
