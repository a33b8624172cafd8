//! Connections in memory between addresses that are made up: near, far, or through a relay.
use std::{
    net::Ipv4Addr,
    pin::Pin,
    sync::atomic::{AtomicU16, Ordering},
    task::{Context, Poll},
};

use cardume_access::rates::Class;
use futures::StreamExt as _;
use libp2p_core::{
    Transport,
    transport::{DialOpts, ListenerId, MemoryTransport, TransportError, TransportEvent},
    upgrade::Version,
};
use libp2p_identity::Keypair;
use libp2p_swarm::{NetworkBehaviour, Swarm, SwarmEvent};
use multiaddr::{Multiaddr, Protocol};

/// Memory is one network for all tests, and others have the lower numbers.
const FIRST: u64 = 1 << 40;

/// Carries addresses of one class.
struct MadeUp {
    memory: MemoryTransport,
    class: Class,
}

fn address(class: Class, port: u16) -> Multiaddr {
    let ip = match class {
        Class::Lan => Ipv4Addr::new(192, 168, 1, 1),
        Class::Wan | Class::Relay => Ipv4Addr::new(198, 51, 100, 1),
    };
    let direct = Multiaddr::from(ip).with(Protocol::Tcp(port));
    match class {
        Class::Relay => direct.with(Protocol::P2pCircuit),
        Class::Lan | Class::Wan => direct,
    }
}

fn to_memory(address: &Multiaddr) -> Multiaddr {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    Protocol::Memory(FIRST + u64::from(port.unwrap())).into()
}

impl MadeUp {
    fn shown(&self, memory: &Multiaddr) -> Multiaddr {
        let Some(Protocol::Memory(number)) = memory.iter().next() else {
            panic!("{memory} is not in memory");
        };
        address(self.class, number.saturating_sub(FIRST) as u16)
    }
}

impl Transport for MadeUp {
    type Output = <MemoryTransport as Transport>::Output;
    type Error = <MemoryTransport as Transport>::Error;
    type ListenerUpgrade = <MemoryTransport as Transport>::ListenerUpgrade;
    type Dial = <MemoryTransport as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        self.memory.listen_on(id, to_memory(&address))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.memory.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        self.memory.dial(to_memory(&address), opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.memory).poll(cx).map(|event| match event {
            TransportEvent::NewAddress {
                listener_id,
                listen_addr,
            } => TransportEvent::NewAddress {
                listener_id,
                listen_addr: self.shown(&listen_addr),
            },
            TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr,
                send_back_addr,
            } => TransportEvent::Incoming {
                listener_id,
                upgrade,
                local_addr: self.shown(&local_addr),
                send_back_addr: self.shown(&send_back_addr),
            },
            other => other,
        })
    }
}

/// A swarm whose connections are of `class`, and where it listens.
pub(crate) async fn listening<B: NetworkBehaviour>(class: Class, behaviour: B) -> (Swarm<B>, Multiaddr) {
    static PORT: AtomicU16 = AtomicU16::new(1);
    let key = Keypair::generate_ed25519();
    let transport = MadeUp {
        memory: MemoryTransport::default(),
        class,
    };
    let transport = transport
        .upgrade(Version::V1)
        .authenticate(libp2p_plaintext::Config::new(&key))
        .multiplex(libp2p_yamux::Config::default())
        .boxed();
    let config = libp2p_swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(std::time::Duration::from_secs(3600));
    let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), config);
    let at = address(class, PORT.fetch_add(1, Ordering::Relaxed));
    swarm.listen_on(at).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    (swarm, address)
}
