//! Connections answered, and the work behind them driven.
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{Extensions, Request},
};
use cardume_api::{Event, FollowState, PeerChange};
use cardume_connect::PeerEvent;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixStream},
    sync::{broadcast::error::RecvError, mpsc},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::{
    Follows, Log,
    attempts::Attempts,
    caller::Caller,
    config::{Handles, NodeInfo},
    events::Events,
    flows::Flows,
    gate::Remote,
    hosts::Hosts,
    link::Links,
    operations::{Operations, Work},
    routes::{self, Parts, reached},
    scrape::Port,
    sessions::Sessions,
    socket::Socket,
    tcp::Ports,
    tokens::Tokens,
};

/// Connections at once; others wait in the system's queue.
const MAX_CONNECTIONS: usize = 64;
/// … of which operators may have so many, so that the owner always gets in.
const MAX_OF_OPERATORS: usize = 48;
/// Connections at once at the port for metrics, beside those.
const MAX_SCRAPERS: usize = 8;
/// Time for the head of a request, counted from when one is awaited: idle connections are closed by it too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Fields of a head; more are an attempt to fill memory.
const MAX_HEADERS: usize = 64;
/// Bytes of a head, as above.
const MAX_HEAD: usize = 16 * 1024;
/// Pause when no connection can be taken for lack of file descriptors: trying again at once would spin.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The API behind its socket.
///
/// Answers nothing until it is run; dropping it removes the socket.
pub struct Server {
    socket: Socket,
    grouped: bool,
    router: Router,
    scraped: Option<(Port, Router)>,
    ports: Ports,
    /// What is behind the ports.
    remote: Router,
    work: mpsc::Receiver<Work>,
    events: Arc<Events>,
    connect: cardume_connect::Handle,
    shares: cardume_share::Handle,
    follows: Follows,
    log: Log,
    ending: CancellationToken,
}

/// Where callers come in, and by what they are known.
pub(crate) struct Doors {
    pub(crate) socket: Socket,
    /// Whether who gets to the socket is of its group.
    pub(crate) grouped: bool,
    /// For numbers alone.
    pub(crate) scraped: Option<Port>,
    pub(crate) ports: Vec<TcpListener>,
    pub(crate) hosts: Hosts,
    pub(crate) tokens: Tokens,
}

impl Server {
    pub(crate) fn new(doors: Doors, node: NodeInfo, handles: Handles) -> Self {
        let Doors {
            socket,
            grouped,
            scraped,
            ports,
            hosts,
            tokens,
        } = doors;
        let (tokens, sessions) = (Arc::new(tokens), Arc::<Sessions>::default());
        let (ports, opener) = Ports::new(ports, sessions.clone());
        let ending = CancellationToken::new();
        let events = Arc::new(Events::default());
        let (operations, work) = Operations::new(events.clone(), ending.clone());
        let (connect, shares) = (handles.connect.clone(), handles.shares.clone());
        let (follows, log) = (handles.follows.clone(), handles.log.clone());
        let parts = Arc::new(Parts {
            links: Links::new(node.peer_id, connect.clone()),
            node: Arc::new(node),
            handles,
            operations,
            events: events.clone(),
            ending: ending.clone(),
            started: Instant::now(),
            tokens: tokens.clone(),
            sessions: sessions.clone(),
            opener,
            flows: Flows::default(),
        });
        let scraped = scraped.map(|port| {
            let router = port.router(parts.clone());
            (port, router)
        });
        let remote = Remote {
            hosts,
            tokens,
            sessions,
            attempts: Attempts::default(),
            cookie: cookie(&parts.node),
        };
        let (router, remote) = routes::routers(parts, Arc::new(remote));
        Self {
            socket,
            grouped,
            router,
            scraped,
            ports,
            remote,
            work,
            events,
            connect,
            shares,
            follows,
            log,
            ending,
        }
    }

    /// Where the socket is.
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// Where the API is served over TCP.
    pub fn ports(&self) -> Vec<SocketAddr> {
        self.ports.addresses()
    }

    /// Where metrics are served over TCP, if they are.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.scraped.as_ref().and_then(|(port, _)| port.address())
    }

    /// Answers callers until `stop` is cancelled; then takes no more, ends running operations, tells so on the event
    /// streams and ends them, lets answers under way end within `drain`, and removes the socket.
    ///
    /// All connections and operations run inside this future; the disk is touched on blocking threads.
    pub async fn run(self, stop: CancellationToken, drain: Duration) {
        let Self {
            socket,
            grouped,
            router,
            scraped,
            ports,
            remote,
            mut work,
            events,
            connect,
            shares,
            follows,
            log,
            ending,
        } = self;
        let _ending = ending.clone().drop_guard();
        // Each says at its end whether it was an administrator's.
        let mut connections = FuturesUnordered::<BoxFuture<'static, bool>>::new();
        let mut scrapers = FuturesUnordered::new();
        let mut operations = FuturesUnordered::new();
        let forwarding = async {
            tokio::join!(
                forward(connect, &events),
                forward_shares(&shares, &events),
                forward_follows(&follows, &events)
            )
        };
        // Has its own connections, and ends when answers have to.
        let remote = ports.run(remote, ending.clone());
        tokio::pin!(forwarding, remote);
        let mut of_operators = 0_usize;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = &mut forwarding => unreachable!("forwarding does not end"),
                () = &mut remote => unreachable!("the ports are served until the end"),
                Some(work) = work.recv() => operations.push(work),
                Some(()) = operations.next() => {}
                Some(is_owner) = connections.next() => of_operators -= usize::from(!is_owner),
                Some(()) = scrapers.next() => {}
                taken = accept_scraper(scraped.as_ref()), if scrapers.len() < MAX_SCRAPERS => {
                    let Some((stream, router)) = taken else { continue };
                    scrapers.push(serve(stream, |_| {}, router, ending.clone()));
                }
                taken = accept(&socket, grouped), if connections.len() < MAX_CONNECTIONS => {
                    let Some((stream, caller)) = taken else { continue };
                    let is_owner = caller.is_owner();
                    if !is_owner && of_operators >= MAX_OF_OPERATORS {
                        tracing::warn!("too many connections of operators; one more is refused");
                        continue;
                    }
                    of_operators += usize::from(!is_owner);
                    let mark = move |extensions: &mut Extensions| drop(extensions.insert(caller.clone()));
                    let serving = serve(stream, mark, router.clone(), ending.clone());
                    connections.push(serving.map(move |()| is_owner).boxed());
                }
            }
        }
        drop((socket, scraped));
        ending.cancel();
        let told = async {
            while let Some(()) = operations.next().await {}
            // Only now, so that callers hear how their operations ended.
            events.end();
            log.end();
        };
        let drained = async {
            tokio::join!(
                told,
                remote,
                async { while connections.next().await.is_some() {} },
                async { while scrapers.next().await.is_some() {} },
            )
        };
        if tokio::time::timeout(drain, drained).await.is_err() {
            tracing::info!(?drain, "answers under way were cut off");
        }
    }
}

async fn accept(socket: &Socket, grouped: bool) -> Option<(UnixStream, Caller)> {
    match socket.listener().accept().await {
        Ok((stream, _)) => {
            let caller = Caller::of(&stream, grouped).ok()?;
            Some((stream, caller))
        }
        Err(error) => {
            tracing::warn!(%error, "no connection could be taken");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Takes a connection of who scrapes metrics; never, where they are not served.
async fn accept_scraper(scraped: Option<&(Port, Router)>) -> Option<(TcpStream, Router)> {
    let Some((port, router)) = scraped else {
        return std::future::pending().await;
    };
    match port.accept().await {
        Ok(stream) => Some((stream, router.clone())),
        Err(error) => {
            tracing::warn!(%error, "no connection for metrics could be taken");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// The name of the cookie of this node: a browser has one jar for all ports of a host.
fn cookie(node: &NodeInfo) -> String {
    let peer = node.peer_id.to_string();
    format!("cardume-{}", &peer[peer.len().saturating_sub(8)..])
}

/// Answers one connection to its end, or until the answer under way when the node stops; `mark` tells of each request
/// where it comes from.
pub(crate) async fn serve<S, M>(stream: S, mark: M, router: Router, ending: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    M: Fn(&mut Extensions) + Send + 'static,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        mark(request.extensions_mut());
        router.clone().oneshot(request)
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a control connection ended early");
    }
}

/// Passes on who comes and goes. Never ends: without a swarm there is nothing to tell.
async fn forward(connect: cardume_connect::Handle, events: &Events) {
    let mut changes = connect.events();
    loop {
        let event = match changes.recv().await {
            Ok(PeerEvent::Connected(peer)) => change(peer, PeerChange::Connected, None, None),
            Ok(PeerEvent::Disconnected(peer)) => change(peer, PeerChange::Disconnected, None, None),
            Ok(PeerEvent::Identified { peer, agent, .. }) => {
                change(peer, PeerChange::Identified, Some(agent), None)
            }
            Ok(PeerEvent::Rerouted { peer, path }) => {
                change(peer, PeerChange::Rerouted, None, Some(reached(path)))
            }
            Err(RecvError::Lagged(count)) => Event::Lost { count: Some(count) },
            Err(RecvError::Closed) => std::future::pending().await,
        };
        events.publish(&event);
    }
}

/// Passes on when a share has another id. Never ends.
async fn forward_shares(shares: &cardume_share::Handle, events: &Events) {
    let mut states = shares.follow();
    let mut known = BTreeMap::new();
    loop {
        let shared: Vec<_> = states
            .borrow_and_update()
            .iter()
            .filter_map(|(name, state)| Some((name.clone(), state.cid?, state.files, state.size)))
            .collect();
        for (name, cid, files, size) in shared {
            let previous = known.insert(name.clone(), cid);
            if previous != Some(cid) {
                events.publish(&Event::Share {
                    name,
                    cid,
                    previous,
                    files,
                    size,
                });
            }
        }
        if states.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// Passes on when what is followed has another version in place. Never ends.
async fn forward_follows(follows: &Follows, events: &Events) {
    let mut rows = follows.watch();
    let mut known = BTreeMap::new();
    loop {
        let present: Vec<_> = rows
            .borrow_and_update()
            .values()
            .filter(|row| row.state == FollowState::Present)
            .filter_map(|row| {
                Some((
                    row.name.clone(),
                    row.channel.clone(),
                    row.present?,
                    row.present_cid?,
                ))
            })
            .collect();
        for (name, channel, number, cid) in present {
            let previous = known.insert(name.clone(), number);
            if previous != Some(number) {
                events.publish(&Event::Follow {
                    name,
                    channel,
                    number,
                    cid,
                    previous,
                });
            }
        }
        if rows.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

fn change(
    peer: libp2p_identity::PeerId,
    change: PeerChange,
    agent: Option<String>,
    path: Option<cardume_api::Path>,
) -> Event {
    Event::Peer {
        peer_id: peer.to_string(),
        change,
        agent,
        path,
    }
}
