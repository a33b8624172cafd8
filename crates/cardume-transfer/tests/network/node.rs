//! A node with nothing but the transfer protocol.
use std::time::Duration;

use cardume_content::{Cid, Hash};
use cardume_transfer::{Behaviour, Config, Handle, Request, Response, Server};
use libp2p_identity::PeerId;
use libp2p_swarm::Swarm;
use libp2p_swarm_test::SwarmExt as _;

pub(crate) struct Node {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) handle: Handle,
    pub(crate) server: Server,
}

impl Node {
    pub(crate) async fn new(config: Config) -> Self {
        let (behaviour, handle, server) = config.build("test");
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

    /// Runs the swarm; requests that come in wait for ever.
    pub(crate) fn run(self) -> Handle {
        let Self {
            swarm,
            handle,
            server,
        } = self;
        tokio::spawn(async move {
            let _unanswered = server;
            swarm.loop_on_next().await;
        });
        handle
    }

    /// Runs the swarm, and answers what comes in.
    pub(crate) fn serve(self, answer: impl Fn(Request) -> Response + Send + 'static) -> Handle {
        let Self {
            swarm,
            handle,
            mut server,
        } = self;
        tokio::spawn(swarm.loop_on_next());
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
    let (mut a, mut b) = (Node::new(a).await, Node::new(b).await);
    a.swarm.connect(&mut b.swarm).await;
    (a, b)
}

/// The first byte of a blob made up from `seed`.
pub(crate) fn get(seed: u8) -> Request {
    Request::Get {
        cid: Cid::blob(Hash::of(&[seed])),
        ranges: vec![0..1],
    }
}

/// Fails when nothing has happened for far longer than it takes.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("it takes far too long")
}
