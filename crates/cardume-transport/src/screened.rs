//! Connections that are not worth a handshake.
use std::{
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use libp2p_core::{
    Multiaddr, Transport,
    multiaddr::Protocol,
    transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};

/// Says whether whoever comes from an address is to be turned away, before a handshake costs anything. Cheap to clone.
#[derive(Clone)]
pub struct Screen(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl Screen {
    /// Turns away those for whom `turns_away` is true; it is asked where connections are taken, and must not wait.
    pub fn new(turns_away: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(turns_away))
    }

    pub(crate) fn turns_away(&self, ip: IpAddr) -> bool {
        (self.0)(ip)
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Screen")
    }
}

/// Connections that are turned away without anything else having its turn.
const TURN: usize = 64;

/// A transport that drops those connections of others that its screen turns away.
pub(crate) struct Screened<T> {
    inner: T,
    screen: Option<Screen>,
}

impl<T> Screened<T> {
    pub(crate) fn new(inner: T, screen: Option<Screen>) -> Self {
        Self { inner, screen }
    }

    fn turns_away(&self, remote: &Multiaddr) -> bool {
        let ip = match remote.iter().next() {
            Some(Protocol::Ip4(ip)) => ip.into(),
            Some(Protocol::Ip6(ip)) => ip.into(),
            _ => return false,
        };
        self.screen.as_ref().is_some_and(|screen| screen.turns_away(ip))
    }
}

impl<T: Transport + Unpin> Transport for Screened<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, at: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, at)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, to: Multiaddr, options: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        self.inner.dial(to, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        for _ in 0..TURN {
            match Pin::new(&mut self.inner).poll(cx) {
                Poll::Ready(TransportEvent::Incoming { send_back_addr, .. })
                    if self.turns_away(&send_back_addr) => {}
                event => return event,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
