//! Ports where the API is served to who shows a token, and the page to browsers.
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, http::Extensions};
use futures::{
    StreamExt,
    future::{BoxFuture, select_all},
    stream::FuturesUnordered,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use tokio_util::sync::CancellationToken;

use crate::{
    gate::From,
    server::{ACCEPT_PAUSE, serve},
    sessions::Sessions,
};

/// Connections at once, beside those of the socket. One more is closed at once: whoever holds them open without a word
/// loses them within seconds, and must not keep others waiting in a queue.
const MAX_CONNECTIONS: usize = 256;
/// Whoever wants a port for a browser, and waits for it.
const MAX_WAITING: usize = 4;
/// How often is looked whether anybody still needs the port that was opened for browsers.
const LOOK: Duration = Duration::from_secs(1);

/// Listens at `address`, and says in the log whom that lets in.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    if address.ip().is_loopback() {
        tracing::info!(%address, "the control API is served to who shows a token");
    } else {
        tracing::warn!(
            %address,
            "the control API is served to the network, and not encrypted: tokens can be read on the way; put a proxy \
             with TLS before it"
        );
    }
    Ok(listener)
}

/// Asks for a port of this host that a browser can use.
#[derive(Debug, Clone)]
pub(crate) struct Opener(mpsc::Sender<oneshot::Sender<io::Result<SocketAddr>>>);

impl Opener {
    /// Where a browser finds the node: a configured port, else one that is opened for it and closed when nobody is
    /// logged in any more.
    ///
    /// # Errors
    /// What the system says, or that the node stops.
    pub(crate) async fn open(&self) -> io::Result<SocketAddr> {
        let stopping = || io::Error::other("the node is stopping");
        let (reply, answer) = oneshot::channel();
        self.0.send(reply).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

/// The ports, and what is behind them.
pub(crate) struct Ports {
    listeners: Vec<TcpListener>,
    /// Opened for browsers.
    extra: Option<TcpListener>,
    asked: mpsc::Receiver<oneshot::Sender<io::Result<SocketAddr>>>,
    sessions: Arc<Sessions>,
}

impl Ports {
    pub(crate) fn new(listeners: Vec<TcpListener>, sessions: Arc<Sessions>) -> (Self, Opener) {
        let (asks, asked) = mpsc::channel(MAX_WAITING);
        let ports = Self {
            listeners,
            extra: None,
            asked,
            sessions,
        };
        (ports, Opener(asks))
    }

    /// Where they are.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.iter().map(TcpListener::local_addr);
        addresses.filter_map(Result::ok).collect()
    }

    /// Answers callers with `router` until `ending` is cancelled, and those under way to their end.
    pub(crate) async fn run(mut self, router: Router, ending: CancellationToken) {
        let mut connections = FuturesUnordered::<BoxFuture<'static, ()>>::new();
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = ending.cancelled() => break,
                Some(()) = connections.next() => {}
                Some(reply) = self.asked.recv() => {
                    // Whoever has gone meanwhile needs no port.
                    let _ = reply.send(self.for_browsers());
                }
                _ = look.tick(), if self.extra.is_some() => {
                    if self.sessions.is_empty(Instant::now()) {
                        self.extra = None;
                        tracing::info!("the port for browsers is closed: nobody is logged in");
                    }
                }
                taken = accept(&self.listeners, self.extra.as_ref()) => {
                    let Some((stream, from)) = taken else { continue };
                    if connections.len() >= MAX_CONNECTIONS {
                        tracing::debug!(%from, "too many connections; one more is closed");
                        continue;
                    }
                    let mark = move |extensions: &mut Extensions| {
                        let _ = extensions.insert(From(from));
                    };
                    connections.push(Box::pin(serve(stream, mark, router.clone(), ending.clone())));
                }
            }
        }
        self.listeners.clear();
        self.extra = None;
        while connections.next().await.is_some() {}
    }

    /// A port that a browser of this host reaches; opened, if there is none.
    fn for_browsers(&mut self) -> io::Result<SocketAddr> {
        let known = self.listeners.iter().chain(&self.extra);
        let mut known = known.filter_map(|listener| on_loopback(listener.local_addr().ok()?));
        if let Some(address) = known.next() {
            return Ok(address);
        }
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = listener.local_addr()?;
        self.extra = Some(listener);
        Ok(address)
    }
}

/// Where a listener is found from its own host, if it is found on the loopback.
fn on_loopback(address: SocketAddr) -> Option<SocketAddr> {
    match address.ip() {
        ip if ip.is_loopback() => Some(address),
        IpAddr::V4(ip) if ip.is_unspecified() => Some((Ipv4Addr::LOCALHOST, address.port()).into()),
        IpAddr::V6(ip) if ip.is_unspecified() => Some((std::net::Ipv6Addr::LOCALHOST, address.port()).into()),
        _ => None,
    }
}

async fn accept(listeners: &[TcpListener], extra: Option<&TcpListener>) -> Option<(TcpStream, SocketAddr)> {
    let accepting: Vec<_> = listeners
        .iter()
        .chain(extra)
        .map(|listener| Box::pin(listener.accept()))
        .collect();
    if accepting.is_empty() {
        return std::future::pending().await;
    }
    match select_all(accepting).await.0 {
        Ok(taken) => Some(taken),
        Err(error) => {
            tracing::warn!(%error, "no connection could be taken");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
