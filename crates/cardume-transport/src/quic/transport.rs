//! The sockets of a node: those that peers dial, and those that it dials from while there are none.
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{FutureExt as _, future::BoxFuture};
use libp2p_core::{
    Endpoint as Role, Multiaddr,
    transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent},
};
use libp2p_identity::PeerId;
use quinn::{Endpoint, Incoming};

use super::{
    Error, address,
    configs::Configs,
    handshake::{self, Connected, Knock, Places},
    listener::{self, Event, Listener, Said, Upgrade},
    punch::{self, Awaited},
    socket,
};
use crate::screened::Screen;

/// Handshakes under way from where on a stranger has to show that it is where it says it is.
const UNPROVEN: usize = 16;
/// … and from where on nobody is let in.
const MOST: usize = 512;
/// First packets that are answered without one of them leading to anything, before others have their turn.
const TURN: usize = 64;
/// What a client calls its server: an address, so that no name is sent, as the specification wants.
const NOBODY: &str = "0.0.0.0";

/// The QUIC transport.
pub(super) struct Transport {
    configs: Configs,
    listeners: Vec<Listener>,
    /// Sockets to dial from where no listener reaches, one for IPv4 and one for IPv6.
    dialers: [Option<Endpoint>; 2],
    awaited: Awaited,
    places: Places,
    screen: Option<Screen>,
    events: VecDeque<Event>,
    waker: Option<Waker>,
}

impl Transport {
    pub(super) fn new(configs: Configs, screen: Option<Screen>) -> Self {
        Self {
            configs,
            listeners: Vec::new(),
            dialers: [None, None],
            awaited: Awaited::default(),
            places: Places::default(),
            screen,
            events: VecDeque::new(),
            waker: None,
        }
    }

    /// A listener that can be reached from `remote`; one on every interface knows more ways.
    fn listener(&self, remote: SocketAddr) -> Option<&Listener> {
        let mut able = self.listeners.iter().filter(|one| one.reaches(remote));
        let first = able.clone().next();
        able.find(|one| one.bound.ip().is_unspecified()).or(first)
    }

    /// The socket to dial `remote` from.
    fn dialer(&mut self, remote: SocketAddr, port: PortUse) -> io::Result<Endpoint> {
        if port == PortUse::New {
            return self.unbound(remote);
        }
        if let Some(listener) = self.listener(remote) {
            return Ok(listener.endpoint.clone());
        }
        let family = usize::from(remote.is_ipv6());
        if let Some(dialer) = &self.dialers[family] {
            return Ok(dialer.clone());
        }
        let dialer = self.unbound(remote)?;
        Ok(self.dialers[family].insert(dialer).clone())
    }

    fn unbound(&self, remote: SocketAddr) -> io::Result<Endpoint> {
        Endpoint::new(
            self.configs.endpoint.clone(),
            None,
            socket::bind(socket::any(remote))?,
            quinn::default_runtime().ok_or_else(listener::no_runtime)?,
        )
    }

    /// Connects to `remote`.
    fn connect(&mut self, remote: SocketAddr, peer: Option<PeerId>, port: PortUse) -> Result<Upgrade, Error> {
        let (endpoint, config) = (self.dialer(remote, port)?, self.configs.client(remote));
        let connect = async move {
            let connecting = endpoint.connect_with(config, remote, NOBODY)?;
            handshake::finish(connecting, peer).await
        };
        Ok(connect.boxed())
    }

    /// Lets `remote` connect to us through our NAT.
    fn await_peer(&mut self, remote: SocketAddr, peer: Option<PeerId>) -> Result<Upgrade, Error> {
        let listener = self.listener(remote).ok_or(Error::NoListener)?;
        let socket = listener.socket()?;
        let arrival = self.awaited.add(remote)?;
        Ok(punch::wait(socket, remote, arrival, peer).boxed())
    }

    /// Answers a first packet, unless there are too many of them.
    fn incoming(&mut self, incoming: Incoming, listener_id: ListenerId, bound: SocketAddr) -> Option<Event> {
        let taken = self.places.taken();
        let ip = incoming.remote_address().ip();
        let is_screened = self.screen.as_ref().is_some_and(|screen| screen.turns_away(ip));
        if taken >= MOST || is_screened {
            incoming.refuse();
            return None;
        }
        if taken >= UNPROVEN && !incoming.remote_address_validated() {
            // Whoever lies about its address does not get the answer, and may not come again with it.
            let _ = incoming.retry();
            return None;
        }
        let local = incoming.local_ip().unwrap_or_else(|| bound.ip());
        let remote = incoming.remote_address();
        let config = self.configs.server(remote);
        let knock = self.awaited.arrived(Knock { incoming, config }).err()?;
        let place = self.places.take();
        // The swarm may have no place for it: it is dropped then, before there was any cryptography.
        let upgrade = async move {
            let _place = place;
            knock.answer(None).await
        };
        Some(TransportEvent::Incoming {
            listener_id,
            upgrade: upgrade.boxed(),
            local_addr: address::of(SocketAddr::new(local, bound.port())),
            send_back_addr: address::of(remote),
        })
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn closed(&mut self, index: usize) -> Event {
        let listener = self.listeners.remove(index);
        TransportEvent::ListenerClosed {
            listener_id: listener.id,
            reason: Ok(()),
        }
    }
}

impl libp2p_core::Transport for Transport {
    type Output = Connected;
    type Error = Error;
    type ListenerUpgrade = Upgrade;
    type Dial = BoxFuture<'static, Result<Connected, Error>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Error>> {
        let Some((at, _)) = address::parse(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let listener =
            Listener::bind(id, at, &self.configs).map_err(|error| TransportError::Other(error.into()))?;
        self.listeners.push(listener);
        // From now on peers are dialled from where they can dial us. Connections keep their sockets.
        self.dialers[usize::from(at.is_ipv6())] = None;
        self.wake();
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(index) = self.listeners.iter().position(|one| one.id == id) else {
            return false;
        };
        let event = self.closed(index);
        self.events.push_back(event);
        self.wake();
        true
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        let Some((remote, peer)) = address::parse_remote(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let dialling = match options.role {
            Role::Dialer => self.connect(remote, peer, options.port_use),
            Role::Listener => self.await_peer(remote, peer),
        };
        dialling.map_err(TransportError::Other)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        let this = &mut *self;
        if let Some(event) = this.events.pop_front() {
            return Poll::Ready(event);
        }
        let (mut index, mut turned_away) = (0, 0);
        while let Some(listener) = this.listeners.get_mut(index) {
            let (id, bound) = (listener.id, listener.bound);
            let event = match listener.poll(cx) {
                Poll::Pending => {
                    index += 1;
                    continue;
                }
                Poll::Ready(None) => Some(this.closed(index)),
                Poll::Ready(Some(Said::Event(event))) => Some(event),
                Poll::Ready(Some(Said::Incoming(incoming))) => this.incoming(*incoming, id, bound),
            };
            if let Some(event) = event {
                return Poll::Ready(event);
            }
            turned_away += 1;
            if turned_away == TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        this.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
