//! The end beside the service.
use std::{
    collections::HashMap,
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use cardume_access::Action;
use futures::{StreamExt as _, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use libp2p_stream::IncomingStreams;
use libp2p_swarm::Stream;
use tokio::{io::AsyncWriteExt as _, sync::watch, time::timeout};
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use crate::{
    Config, Place, Protocol, Role,
    board::{Board, Tally},
    handle::Entries,
    lines::Lines,
    pipe::{self, Line},
    queue::Queue,
    wire::{Answer, Request},
};

/// Streams of all peers together; as many as a node can have connections of tunnels.
const MAX_STREAMS: usize = 4096;
/// Streams of one peer.
const MAX_PER_PEER: usize = 512;
/// Time for a peer to say what it wants.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for an answer to be taken.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Gives services of this host to peers that may use them.
pub(crate) struct Exposing {
    pub(crate) table: watch::Receiver<Entries>,
    pub(crate) board: Board,
    pub(crate) lines: Lines,
}

impl Exposing {
    /// Takes streams until the behaviour is dropped.
    pub(crate) async fn run(self, mut incoming: IncomingStreams) {
        let mut serving = FuturesUnordered::new();
        let mut by_peer = HashMap::<PeerId, usize>::new();
        loop {
            tokio::select! {
                next = incoming.next() => {
                    let Some((peer, stream)) = next else { return };
                    let own = by_peer.get(&peer).copied().unwrap_or_default();
                    // One that is too many is dropped, which tells the peer.
                    if serving.len() < MAX_STREAMS && own < MAX_PER_PEER {
                        by_peer.insert(peer, own + 1);
                        serving.push(self.serve(peer, stream));
                    }
                }
                Some((peer, ended)) = serving.next() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "a connection with a service has ended");
                    }
                    if let Some(own) = by_peer.get_mut(&peer) {
                        *own -= 1;
                        if *own == 0 {
                            by_peer.remove(&peer);
                        }
                    }
                }
            }
        }
    }

    async fn serve(&self, peer: PeerId, stream: Stream) -> (PeerId, io::Result<()>) {
        (peer, self.answer(peer, stream.compat()).await)
    }

    async fn answer(&self, peer: PeerId, mut line: Line) -> io::Result<()> {
        let request = timeout(REQUEST_TIMEOUT, Request::receive(&mut line)).await??;
        let Some((config, place)) = self.service(&peer, &request) else {
            return refuse(line, Answer::Unknown).await;
        };
        let tally = self.board.of(&request.service);
        let Some(_taken) = tally.place(config.max_connections) else {
            tally.failed(format!("max_connections is {}", config.max_connections));
            return refuse(line, Answer::Busy).await;
        };
        let passing = pass(line, &config, &place, &tally);
        tokio::select! {
            ended = passing => ended,
            // Dropped with it is the connection, on both sides.
            () = self.until_denied(&peer, &request, &config) => {
                tracing::info!(%peer, service = request.service, "a connection is ended: it is not for this peer any more");
                Ok(())
            }
        }
    }

    /// The service that is meant, if it is for this peer. Whoever may not have it is told what is told of one that is not
    /// there.
    fn service(&self, peer: &PeerId, request: &Request) -> Option<(Config, Place)> {
        let config = self.exposed(request)?;
        let place = config.target.clone()?;
        let rules = self.rules(&config);
        let admitted =
            self.lines
                .roll
                .admits(Action::Tunnel, &rules, peer, &request.service, SystemTime::now());
        admitted.then_some((config, place))
    }

    fn exposed(&self, request: &Request) -> Option<Config> {
        let table = self.table.borrow();
        let config = table.config(&request.service)?;
        (config.role == Role::Expose && config.protocol == request.protocol).then(|| config.clone())
    }

    fn rules(&self, config: &Config) -> cardume_access::Rules {
        let words = config.allow.iter().flatten();
        self.lines.roll.names().rules_left(words).0
    }

    /// Waits until a peer may not use a service any more, or it is another.
    async fn until_denied(&self, peer: &PeerId, request: &Request, config: &Config) {
        let mut table = self.table.clone();
        while table.changed().await.is_ok() {
            let is_same = self.exposed(request).as_ref() == Some(config);
            let rules = self.rules(config);
            if !is_same || !self.lines.roll.allows(&rules, peer, SystemTime::now()) {
                return;
            }
        }
        std::future::pending().await
    }
}

/// What a connection leads to.
enum Service {
    Bytes(pipe::Local),
    Datagrams(tokio::net::UdpSocket),
}

async fn reach(config: &Config, place: &Place) -> io::Result<Service> {
    match (config.protocol, place) {
        (Protocol::Udp, Place::Socket(socket)) => pipe::udp_to(*socket).await.map(Service::Datagrams),
        _ => pipe::connect(place).await.map(Service::Bytes),
    }
}

async fn pass(mut line: Line, config: &Config, place: &Place, tally: &Tally) -> io::Result<()> {
    let service = match reach(config, place).await {
        Ok(service) => service,
        Err(error) => {
            tally.failed(format!("{place}: {error}"));
            return refuse(line, Answer::Dead).await;
        }
    };
    timeout(ANSWER_TIMEOUT, Answer::Open.send(&mut line)).await??;
    tally.opened();
    let socket = match service {
        Service::Bytes(local) => return pipe::bytes(line, local, tally).await,
        Service::Datagrams(socket) => socket,
    };
    let outgoing = Queue::default();
    let send = async |datagram: Bytes| socket.send(&datagram).await.map(drop);
    tokio::select! {
        ended = pipe::datagrams(line, &outgoing, send, tally, config.idle_timeout.get()) => ended,
        ended = pipe::read_all(&socket, &outgoing, tally) => ended,
    }
}

async fn refuse(mut line: Line, answer: Answer) -> io::Result<()> {
    let telling = async {
        answer.send(&mut line).await?;
        line.shutdown().await
    };
    timeout(ANSWER_TIMEOUT, telling).await?
}
