//! A node with nothing but the transfer protocol.
use std::{iter, time::Duration};

use cardume_access::rates::Class;
use cardume_content::{Cid, Hash};
use cardume_transfer::{Behaviour, Config, Handle, Request, Response, Server, rates};
use libp2p_identity::PeerId;
use libp2p_swarm::Swarm;
use libp2p_swarm_test::SwarmExt as _;
use multiaddr::Multiaddr;

use crate::places;

pub(crate) struct Node {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) handle: Handle,
    pub(crate) server: Server,
}

impl Node {
    /// A node whose connections seem to go as far as `class` says, and where it listens.
    pub(crate) async fn at(class: Class, rates: rates::Handle) -> (Self, Multiaddr) {
        let (behaviour, handle, server) = Config::default().build("test", rates);
        let (swarm, address) = places::listening(class, behaviour).await;
        let node = Self {
            swarm,
            handle,
            server,
        };
        (node, address)
    }

    pub(crate) async fn new(config: Config, network: &str) -> Self {
        Self::with_rates(config, network, rates::Handle::unlimited()).await
    }

    pub(crate) async fn with_rates(config: Config, network: &str, rates: rates::Handle) -> Self {
        let (behaviour, handle, server) = config.build(network, rates);
        let mut swarm = Swarm::new_ephemeral_tokio(|_| behaviour);
        swarm.listen().with_memory_addr_external().await;
        Self {
            swarm,
            handle,
            server,
        }
    }

    pub(crate) fn peer(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Runs the swarm; what comes in is for the caller to answer.
    pub(crate) fn run(self) -> (Handle, Server) {
        let Self {
            swarm,
            handle,
            server,
        } = self;
        tokio::spawn(swarm.loop_on_next());
        (handle, server)
    }

    /// Runs the swarm, and answers what comes in.
    pub(crate) fn serve(self, answer: impl Fn(Request) -> Response + Send + 'static) -> Handle {
        let (handle, mut server) = self.run();
        tokio::spawn(async move {
            while let Some(inbound) = server.next().await {
                inbound.responder.send(answer(inbound.request));
            }
        });
        handle
    }
}

/// Two nodes that are connected.
pub(crate) async fn pair(a: Config, b: Config) -> (Node, Node) {
    let (mut a, mut b) = (Node::new(a, "test").await, Node::new(b, "test").await);
    a.swarm.connect(&mut b.swarm).await;
    (a, b)
}

pub(crate) fn cid(seed: u8) -> Cid {
    Cid::blob(Hash::of(&[seed]))
}

/// Asks for the first byte of a blob made up from `seed`.
pub(crate) fn get(seed: u8) -> Request {
    Request::Get {
        cid: cid(seed),
        ranges: iter::once(0..1).collect(),
    }
}

/// Answers [`get`] with one slice.
pub(crate) fn slice(bytes: &'static [u8]) -> Response {
    Response::Slices {
        size: 1,
        slices: vec![bytes.into()],
    }
}

/// Fails when nothing has happened for far longer than it takes.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(15), future)
        .await
        .expect("it takes far too long")
}
