//! The end beside those who use a service of a peer.
use std::{
    collections::HashMap,
    fs, io,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::net::{TcpListener, UdpSocket, UnixListener};
use tokio_util::either::Either;

use crate::{
    Config, Place, Protocol, State,
    board::{Taken, Tally},
    lines::Lines,
    pipe::{self, Local},
    queue::Queue,
    wire::{MAX_DATAGRAM, Request},
};

/// Pause before a place that could not be listened at is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// Pause after a connection that could not be taken: the system has too many files open, most likely.
const BREATH: Duration = Duration::from_millis(100);

/// Listens in a peer's stead, for ever.
pub(crate) async fn run(name: &str, config: &Config, lines: &Lines, tally: &Arc<Tally>) {
    let (Some(listen), Some(peer)) = (&config.listen, &config.peer) else {
        return;
    };
    let forward = Forward {
        peer,
        request: Request {
            protocol: config.protocol,
            service: config.service.clone().unwrap_or_else(|| name.to_owned()),
        },
        config,
        lines,
        tally,
    };
    loop {
        let reason = match forward.listen(listen).await {
            Ok(never) => match never {},
            Err(error) => format!("{listen}: {error}"),
        };
        if *tally.state.borrow() != State::Failed(reason.clone()) {
            tracing::warn!(tunnel = name, reason, "a tunnel cannot listen; it tries again");
            tally.state.send_replace(State::Failed(reason));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

struct Forward<'a> {
    peer: &'a str,
    request: Request,
    config: &'a Config,
    lines: &'a Lines,
    tally: &'a Arc<Tally>,
}

enum Never {}

impl Forward<'_> {
    /// Takes whoever comes.
    ///
    /// # Errors
    /// When it cannot listen, or not any more.
    async fn listen(&self, place: &Place) -> io::Result<Never> {
        match (self.config.protocol, place) {
            (Protocol::Udp, Place::Socket(socket)) => self.datagrams(UdpSocket::bind(socket).await?).await,
            (_, Place::Socket(socket)) => {
                let listener = TcpListener::bind(socket).await?;
                self.ready(Place::Socket(listener.local_addr()?));
                self.connections(Listener::Tcp(listener)).await
            }
            (_, Place::Unix(path)) => {
                let door = Door::open(path)?;
                self.ready(place.clone());
                self.connections(Listener::Unix(door)).await
            }
        }
    }

    fn ready(&self, place: Place) {
        self.tally.state.send_replace(State::Ready(Some(place)));
    }

    async fn connections(&self, listener: Listener) -> io::Result<Never> {
        let mut passing = FuturesUnordered::new();
        loop {
            tokio::select! {
                // Those above the number wait with the system, as at any server that is busy.
                accepted = listener.accept(), if passing.len() < self.config.max_connections => match accepted {
                    Ok(local) => passing.push(self.pass(local)),
                    Err(error) => {
                        tracing::warn!(service = self.request.service, %error, "a connection was not taken");
                        tokio::time::sleep(BREATH).await;
                    }
                },
                Some(()) = passing.next() => {}
            }
        }
    }

    async fn pass(&self, local: Local) {
        let Some(_taken) = self.tally.place(self.config.max_connections) else {
            return;
        };
        let line = match self.lines.open(self.peer, &self.request).await {
            Ok(line) => line,
            Err(reason) => return self.failed(reason),
        };
        self.tally.opened();
        if let Err(error) = pipe::bytes(line, local, self.tally).await {
            tracing::debug!(service = self.request.service, %error, "a connection has ended");
        }
    }

    fn failed(&self, reason: String) {
        tracing::info!(
            service = self.request.service,
            peer = self.peer,
            reason,
            "no connection through a tunnel"
        );
        self.tally.failed(reason);
    }

    async fn datagrams(&self, socket: UdpSocket) -> io::Result<Never> {
        self.ready(Place::Socket(socket.local_addr()?));
        let mut senders = HashMap::<SocketAddr, Arc<Queue>>::new();
        let mut passing = FuturesUnordered::<BoxFuture<'_, SocketAddr>>::new();
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            tokio::select! {
                received = socket.recv_from(&mut buffer) => {
                    // What the system tells is of one that was sent, to somebody who has gone.
                    let Ok((length, from)) = received else { continue };
                    let datagram = Bytes::copy_from_slice(&buffer[..length]);
                    if let Some(queue) = senders.get(&from) {
                        self.tally.lost(queue.push(datagram));
                        continue;
                    }
                    let Some(taken) = self.tally.place(self.config.max_connections) else {
                        self.tally.lost(1);
                        continue;
                    };
                    let queue = Arc::<Queue>::default();
                    queue.push(datagram);
                    senders.insert(from, queue.clone());
                    passing.push(self.converse(&socket, from, queue, taken).boxed());
                }
                Some(from) = passing.next() => {
                    senders.remove(&from);
                }
            }
        }
    }

    /// Passes datagrams between one sender and the service.
    async fn converse(
        &self,
        socket: &UdpSocket,
        from: SocketAddr,
        outgoing: Arc<Queue>,
        _taken: Taken,
    ) -> SocketAddr {
        let line = match self.lines.open(self.peer, &self.request).await {
            Ok(line) => line,
            Err(reason) => {
                self.failed(reason);
                return from;
            }
        };
        self.tally.opened();
        let send = async |datagram: Bytes| socket.send_to(&datagram, from).await.map(drop);
        let idle = self.config.idle_timeout.get();
        if let Err(error) = pipe::datagrams(line, &outgoing, send, self.tally, idle).await {
            tracing::debug!(service = self.request.service, %error, "a sender is forgotten");
        }
        from
    }
}

/// Where connections come.
enum Listener {
    Tcp(TcpListener),
    Unix(Door),
}

impl Listener {
    async fn accept(&self) -> io::Result<Local> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                pipe::prepare(&stream);
                Ok(Either::Left(stream))
            }
            Self::Unix(door) => Ok(Either::Right(door.listener.accept().await?.0)),
        }
    }
}

/// A unix socket, and its file.
struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Listens where nobody does: a file that was left there goes.
    fn open(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left(path) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let path = path.to_owned();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660))?;
        Ok(Self { listener, path })
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // One that is left is taken over by the next.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a file is a socket that nobody listens at.
fn is_left(path: &Path) -> bool {
    let connected = std::os::unix::net::UnixStream::connect(path);
    connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
