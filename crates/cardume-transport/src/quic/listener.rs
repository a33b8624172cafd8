//! One socket that peers can dial, and that we dial from.
use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, UdpSocket},
    task::{Context, Poll},
};

use futures::{FutureExt as _, future::BoxFuture};
use if_watch::{IfEvent, tokio::IfWatcher};
use libp2p_core::transport::{ListenerId, TransportEvent};
use quinn::{Endpoint, Incoming};

use super::{Error, address, configs::Configs, handshake::Connected, socket};

/// A handshake that a peer has begun.
pub(super) type Upgrade = BoxFuture<'static, Result<Connected, Error>>;
pub(super) type Event = TransportEvent<Upgrade, Error>;

/// What a listener has to say.
pub(super) enum Said {
    /// To the swarm.
    Event(Event),
    /// A peer has sent its first packet.
    Incoming(Box<Incoming>),
}

/// A bound socket.
pub(super) struct Listener {
    pub(super) id: ListenerId,
    pub(super) endpoint: Endpoint,
    /// Where it is bound: perhaps on every interface.
    pub(super) bound: SocketAddr,
    /// For packets that are not quinn's.
    socket: UdpSocket,
    /// Which interfaces there are; `None` for a socket on one of them.
    interfaces: Option<IfWatcher>,
    accepting: BoxFuture<'static, Option<Incoming>>,
    events: VecDeque<Event>,
}

impl Listener {
    pub(super) fn bind(id: ListenerId, at: SocketAddr, configs: &Configs) -> io::Result<Self> {
        let socket = socket::bind(at)?;
        let bound = socket.local_addr()?;
        let interfaces = bound.ip().is_unspecified().then(IfWatcher::new).transpose()?;
        let endpoint = Endpoint::new(
            configs.endpoint.clone(),
            Some((*configs.server(bound)).clone()),
            socket.try_clone()?,
            quinn::default_runtime().ok_or_else(no_runtime)?,
        )?;
        let mut events = VecDeque::new();
        if interfaces.is_none() {
            events.push_back(TransportEvent::NewAddress {
                listener_id: id,
                listen_addr: address::of(bound),
            });
        }
        Ok(Self {
            id,
            accepting: accept(endpoint.clone()),
            endpoint,
            bound,
            socket,
            interfaces,
            events,
        })
    }

    /// The same socket, to send from.
    pub(super) fn socket(&self) -> io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Whether packets from here can come to `remote`.
    pub(super) fn reaches(&self, remote: SocketAddr) -> bool {
        let (here, there) = (self.bound.ip(), remote.ip());
        here.is_ipv4() == there.is_ipv4()
            && (here.is_unspecified() || here.is_loopback() == there.is_loopback())
    }

    /// What is next; `None` when the socket is of no use any more.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Said>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(Some(Said::Event(event)));
        }
        if let Poll::Ready(event) = self.poll_interfaces(cx) {
            return Poll::Ready(Some(Said::Event(event)));
        }
        self.accepting.poll_unpin(cx).map(|incoming| {
            let incoming = incoming?;
            self.accepting = accept(self.endpoint.clone());
            Some(Said::Incoming(Box::new(incoming)))
        })
    }

    fn poll_interfaces(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(interfaces) = &mut self.interfaces else {
            return Poll::Pending;
        };
        let listener_id = self.id;
        while let Poll::Ready(event) = interfaces.poll_if_event(cx) {
            let at = |ip| address::of(SocketAddr::new(ip, self.bound.port()));
            match event {
                Ok(IfEvent::Up(net)) if net.addr().is_ipv4() == self.bound.is_ipv4() => {
                    return Poll::Ready(TransportEvent::NewAddress {
                        listener_id,
                        listen_addr: at(net.addr()),
                    });
                }
                Ok(IfEvent::Down(net)) if net.addr().is_ipv4() == self.bound.is_ipv4() => {
                    return Poll::Ready(TransportEvent::AddressExpired {
                        listener_id,
                        listen_addr: at(net.addr()),
                    });
                }
                Ok(_) => {}
                Err(error) => {
                    // It says the same for ever: the addresses stay as they are.
                    self.interfaces = None;
                    return Poll::Ready(TransportEvent::ListenerError {
                        listener_id,
                        error: error.into(),
                    });
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for Listener {
    /// Nobody is let in any more; connections go on, and the port is free when the last has ended.
    fn drop(&mut self) {
        self.endpoint.set_server_config(None);
    }
}

fn accept(endpoint: Endpoint) -> BoxFuture<'static, Option<Incoming>> {
    async move { endpoint.accept().await }.boxed()
}

/// quinn's tasks run where the transport is used.
pub(super) fn no_runtime() -> io::Error {
    io::Error::other("QUIC needs a tokio runtime")
}
