//! Finding peers that have a root: those the link names, those connected, those the DHT names, and those that other
//! sources know of.
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use cardume_connect::{ConnectError, PeerEvent};
use cardume_content::{Cid, PieceSet};
use cardume_transfer::{Request, RequestError, Response};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use tokio::sync::{broadcast, mpsc, watch};

use crate::{announce::provider_key, known::Known, load::Counted, sending::Sending};

/// Peers being asked at once.
const MAX_ASKING: usize = 16;
/// Peers waiting to be asked; more are not taken in this round.
const MAX_QUEUE: usize = 256;
/// Peers remembered as asked; above it a round begins anew.
const MAX_SEEN: usize = 4096;
/// First pause between two rounds that found nobody; doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Pause between two rounds while there are sources: others may have begun to fetch since.
const CALM_PAUSE: Duration = Duration::from_secs(5);
/// A peer that asks us for it is asked again if it did not have it so long ago: it has begun to fetch since.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// Pause between two looks at who asks us.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Times a peer that the user named is tried before it counts as failed: it may just be starting anew.
const NAMED_TRIES: u32 = 3;
/// How long a peer is tried over TCP alone.
const HEAD_START: Duration = Duration::from_secs(1);
/// Pause before a peer is asked again that is reading the root from a web server.
const COMING_PAUSE: Duration = Duration::from_secs(1);
/// Peers remembered that are; more are not of interest.
const MAX_COMING: usize = 64;
/// One that got nothing new for so long is not waited for.
const COMING_STALE: Duration = Duration::from_secs(10);
/// How long connecting and asking one peer may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);

/// The ways to other peers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Finder {
    pub(crate) transfer: cardume_transfer::Handle,
    pub(crate) kad: cardume_kad::Handle,
    pub(crate) connect: cardume_connect::Handle,
    pub(crate) origin: cardume_origin::Handle,
    pub(crate) pulls: crate::pulls::Pulls,
    pub(crate) local: PeerId,
    pub(crate) known: Arc<Known>,
    pub(crate) sending: Arc<Sending>,
    /// Requests of all downloads.
    pub(crate) load: Arc<Counted>,
}

/// A peer that says it has the root, or some of it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) peer: PeerId,
    pub(crate) size: u64,
    pub(crate) version: u64,
    pub(crate) pieces: PieceSet,
}

enum Step {
    Candidates(Vec<(PeerId, Vec<Multiaddr>)>),
    Provider(
        Option<(PeerId, Vec<Multiaddr>)>,
        mpsc::Receiver<cardume_kad::Provider>,
    ),
    LookupEnded,
    Event(PeerId, broadcast::Receiver<PeerEvent>),
    /// Somebody asked us for something.
    Asks(watch::Receiver<()>),
    Asked(PeerId, Result<Response, RequestError>),
    /// It is time to ask a peer again.
    Again(PeerId),
    Round,
}

/// Peers with one root, as they are found.
pub(crate) struct Sources {
    finder: Finder,
    root: Cid,
    seen: HashMap<PeerId, Seen>,
    queue: VecDeque<(PeerId, Vec<Multiaddr>)>,
    asking: usize,
    lookups: usize,
    steps: FuturesUnordered<BoxFuture<'static, Step>>,
    pause: Duration,
    /// Rounds in which everybody known said no.
    rounds: u32,
    denied: bool,
    wanted: bool,
    /// Peers that the user named, tried in each round.
    named: HashMap<PeerId, Named>,
    /// Peers that are reading it from a web server: how many bytes they have, and since when.
    coming: HashMap<PeerId, (u64, Instant)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Asking,
    Source,
    Without(Instant),
}

#[derive(Debug)]
struct Named {
    addresses: Vec<Multiaddr>,
    /// What was a source once has not failed.
    was_source: bool,
    said_no: bool,
    /// Times it could not be reached, or was no cardume of this network.
    failures: u32,
}

impl Named {
    const fn has_failed(&self) -> bool {
        !self.was_source && (self.said_no || self.failures >= NAMED_TRIES)
    }
}

impl Sources {
    pub(crate) fn new(finder: Finder, root: Cid, peers: &[Multiaddr]) -> Self {
        let mut sources = Self {
            root,
            seen: HashMap::new(),
            queue: VecDeque::new(),
            asking: 0,
            lookups: 0,
            steps: FuturesUnordered::new(),
            pause: FIRST_PAUSE,
            rounds: 0,
            denied: false,
            wanted: true,
            named: HashMap::new(),
            coming: HashMap::new(),
            finder,
        };
        for address in peers {
            if let Some(Protocol::P2p(peer)) = address.iter().last() {
                let named = sources.named.entry(peer).or_insert_with(|| Named {
                    addresses: Vec::new(),
                    was_source: false,
                    said_no: false,
                    failures: 0,
                });
                named.addresses.push(address.clone());
            }
        }
        let events = sources.finder.connect.events();
        sources.steps.push(next_event(events));
        sources.steps.push(next_asks(sources.finder.known.subscribe()));
        sources.begin_round();
        sources
    }

    /// Whether everybody known was asked and no lookup is under way.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.rounds > 0 && self.asking == 0 && self.lookups == 0 && self.queue.is_empty()
    }

    /// Whether peers were named, and none of them has it or could be asked.
    pub(crate) fn named_failed(&self) -> bool {
        !self.named.is_empty() && self.named.values().all(Named::has_failed)
    }

    /// Whether somebody has it and refused to give it.
    pub(crate) fn was_denied(&self) -> bool {
        self.denied
    }

    /// Peers that are reading the root from a web server and get on with it, and how many bytes they have.
    pub(crate) fn coming(&self, now: Instant) -> impl Iterator<Item = (PeerId, u64)> + '_ {
        let alive = move |since: Instant| now.saturating_duration_since(since) < COMING_STALE;
        let coming = self.coming.iter().filter(move |(_, (_, since))| alive(*since));
        coming.map(|(peer, (bytes, _))| (*peer, *bytes))
    }

    /// Says whether more sources are of use.
    pub(crate) fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
        self.ask_more();
    }

    /// Lets a peer that was a source be asked again in a later round.
    pub(crate) fn lost(&mut self, peer: &PeerId) {
        self.seen.insert(*peer, Seen::Without(Instant::now()));
    }

    /// Waits for the next peer that has some of it. Goes on for ever.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Found {
        loop {
            self.ask_more();
            match self.steps.next().await {
                Some(step) => {
                    if let Some(found) = self.take(step) {
                        return found;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    fn take(&mut self, step: Step) -> Option<Found> {
        match step {
            Step::Candidates(candidates) => {
                self.lookups = self.lookups.saturating_sub(1);
                self.take_candidates(candidates);
            }
            Step::Provider(provider, rest) => {
                self.take_candidates(provider.into_iter().collect());
                self.steps.push(next_provider(rest));
            }
            Step::LookupEnded => self.lookups = self.lookups.saturating_sub(1),
            Step::Event(peer, events) => {
                self.reconsider(peer, Duration::ZERO);
                self.steps.push(next_event(events));
            }
            Step::Asks(changed) => {
                // Who asks for it fetches it, and has some of it soon.
                for peer in self.finder.known.peers(self.root, Instant::now()) {
                    self.reconsider(peer, ASK_AGAIN);
                }
                self.steps.push(next_asks(changed));
            }
            Step::Asked(peer, answer) => return self.on_answer(peer, answer),
            Step::Again(peer) => self.reconsider(peer, Duration::ZERO),
            Step::Round => self.begin_round(),
        }
        None
    }

    /// Asks a peer again that did not have it when it was asked last, if that is long enough ago.
    fn reconsider(&mut self, peer: PeerId, pause: Duration) {
        if let Some(Seen::Without(asked)) = self.seen.get(&peer)
            && asked.elapsed() >= pause
        {
            self.seen.remove(&peer);
        }
        self.take_candidates(vec![(peer, Vec::new())]);
    }

    fn on_answer(&mut self, peer: PeerId, answer: Result<Response, RequestError>) -> Option<Found> {
        self.asking = self.asking.saturating_sub(1);
        let answered = answer.is_ok();
        // One that turns us away, or is slow, is there, and may have room later.
        let is_useless = !matches!(
            answer,
            Ok(_) | Err(RequestError::Lost(_) | RequestError::TimedOut)
        );
        match &answer {
            Ok(Response::Coming { bytes }) => self.is_coming(peer, *bytes),
            _ => {
                self.coming.remove(&peer);
            }
        }
        let has = match answer {
            Ok(Response::Have {
                size,
                version,
                pieces,
            }) => Some(Found {
                peer,
                size,
                version,
                pieces,
            }),
            Ok(Response::Denied) => {
                self.denied = true;
                None
            }
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(%peer, %error, "a peer could not be asked");
                None
            }
        };
        let seen = if has.is_some() {
            Seen::Source
        } else {
            Seen::Without(Instant::now())
        };
        self.seen.insert(peer, seen);
        if let Some(named) = self.named.get_mut(&peer) {
            named.was_source |= has.is_some();
            named.said_no |= answered && has.is_none();
            named.failures += u32::from(is_useless);
        }
        if has.is_some() {
            self.finder.known.saw(self.root, peer, Instant::now());
            self.pause = FIRST_PAUSE;
            self.ask_for_others(peer);
        }
        has
    }

    fn is_coming(&mut self, peer: PeerId, bytes: u64) {
        let now = Instant::now();
        if self.coming.len() >= MAX_COMING && !self.coming.contains_key(&peer) {
            return;
        }
        let last = self.coming.entry(peer).or_insert((bytes, now));
        if last.0 < bytes {
            *last = (bytes, now);
        }
        let again = tokio::time::sleep(COMING_PAUSE).map(move |()| Step::Again(peer));
        self.steps.push(again.boxed());
    }

    fn take_candidates(&mut self, candidates: Vec<(PeerId, Vec<Multiaddr>)>) {
        for (peer, addresses) in candidates {
            let known = self.seen.contains_key(&peer) || self.queue.iter().any(|(queued, _)| *queued == peer);
            if peer == self.finder.local || known || self.queue.len() >= MAX_QUEUE {
                continue;
            }
            self.queue.push_back((peer, addresses));
        }
        self.ask_more();
    }

    fn ask_more(&mut self) {
        while self.wanted && self.asking < MAX_ASKING {
            let Some((peer, addresses)) = self.queue.pop_front() else {
                return;
            };
            self.seen.insert(peer, Seen::Asking);
            self.asking += 1;
            let (finder, root) = (self.finder.clone(), self.root);
            self.steps.push(ask(finder, root, peer, addresses).boxed());
        }
    }

    /// Asks everybody again who did not have it, and those who are new.
    fn begin_round(&mut self) {
        self.rounds = self.rounds.saturating_add(1);
        let sources: Vec<PeerId> = self
            .seen
            .iter()
            .filter(|(_, seen)| **seen == Seen::Source)
            .map(|(peer, _)| *peer)
            .collect();
        if self.seen.len() > MAX_SEEN || self.wanted {
            self.seen.retain(|_, seen| !matches!(seen, Seen::Without(_)));
        }
        let pause = if sources.is_empty() {
            self.pause
        } else {
            CALM_PAUSE
        };
        // A crowd that was turned away together does not come back together.
        let pause = pause.mul_f64(rand::random_range(0.5..1.5));
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        let named = self.named.iter();
        self.take_candidates(
            named
                .map(|(peer, named)| (*peer, named.addresses.clone()))
                .collect(),
        );
        self.steps
            .push(tokio::time::sleep(pause).map(|()| Step::Round).boxed());
        if !self.wanted || self.lookups > 0 {
            return;
        }
        self.lookups += 1;
        let finder = self.finder.clone();
        let root = self.root;
        self.steps.push(connected(finder.clone(), root).boxed());
        for peer in &sources {
            self.ask_for_others(*peer);
        }
        if sources.is_empty() {
            self.lookups += 1;
            let lookup = async move {
                match finder.kad.providers(provider_key(root)).await {
                    Ok(providers) => next_provider(providers).await,
                    Err(_) => Step::LookupEnded,
                }
            };
            self.steps.push(lookup.boxed());
        }
    }

    /// Asks a source for other peers with the root.
    fn ask_for_others(&mut self, peer: PeerId) {
        self.lookups += 1;
        let (finder, cid) = (self.finder.clone(), self.root);
        let asked = async move {
            match finder.transfer.request(peer, Request::Swarm { cid }).await {
                Ok(Response::Swarm { peers }) => Step::Candidates(
                    peers
                        .into_iter()
                        .map(|other| (other.peer, other.addresses))
                        .collect(),
                ),
                _ => Step::LookupEnded,
            }
        };
        self.steps.push(asked.boxed());
    }
}

/// Connects to a peer, if it is named with addresses, and asks what it has of the root.
async fn ask(finder: Finder, cid: Cid, peer: PeerId, addresses: Vec<Multiaddr>) -> Step {
    let answer = async {
        if !addresses.is_empty() {
            let connected = connect(&finder, peer, addresses).await;
            connected.map_err(|error| match error {
                ConnectError::TurnedAway(_) => RequestError::Lost(error.to_string()),
                _ => RequestError::Unreachable(error.to_string()),
            })?;
        }
        loop {
            match finder
                .transfer
                .request(peer, Request::Have { cid, since: None })
                .await
            {
                Ok(Response::Busy { retry_after }) => {
                    let pause = retry_after.clamp(Duration::from_millis(50), Duration::from_secs(5));
                    tokio::time::sleep(pause).await;
                }
                answer => return answer,
            }
        }
    };
    let answer = tokio::time::timeout(ASK_TIMEOUT, answer).await;
    Step::Asked(peer, answer.unwrap_or(Err(RequestError::TimedOut)))
}

/// Connects over TCP if that goes quickly, or over anything: a byte over TCP costs both sides less than half of what it
/// does over QUIC.
async fn connect(finder: &Finder, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), ConnectError> {
    let tcp: Vec<Multiaddr> = addresses
        .iter()
        .filter(|address| is_tcp(address))
        .cloned()
        .collect();
    if !tcp.is_empty() && tcp.len() < addresses.len() {
        let first = tokio::time::timeout(HEAD_START, finder.connect.connect(peer, tcp));
        if let Ok(Ok(())) = first.await {
            return Ok(());
        }
    }
    finder.connect.connect(peer, addresses).await
}

fn is_tcp(address: &Multiaddr) -> bool {
    let is = |found: fn(&Protocol<'_>) -> bool| address.iter().any(|part| found(&part));
    is(|part| matches!(part, Protocol::Tcp(_))) && !is(|part| matches!(part, Protocol::P2pCircuit))
}

/// Peers we are connected to, and those that asked us for it lately.
async fn connected(finder: Finder, root: Cid) -> Step {
    let mut candidates = Vec::new();
    if let Ok(peers) = finder.connect.peers().await {
        let able = peers.into_iter().filter(|peer| may_transfer(&peer.protocols));
        candidates.extend(able.map(|peer| (peer.peer, Vec::new())));
    }
    let known = finder.known.peers(root, Instant::now());
    candidates.extend(known.into_iter().map(|peer| (peer, Vec::new())));
    Step::Candidates(candidates)
}

fn may_transfer(protocols: &[String]) -> bool {
    // Not identified yet: asking tells.
    protocols.is_empty() || protocols.iter().any(|protocol| protocol.ends_with("/transfer/1"))
}

fn next_provider(mut providers: mpsc::Receiver<cardume_kad::Provider>) -> BoxFuture<'static, Step> {
    async move {
        match providers.recv().await {
            Some(provider) => Step::Provider(Some((provider.peer, provider.addresses)), providers),
            None => Step::LookupEnded,
        }
    }
    .boxed()
}

/// The next time that somebody asks us for something; not more often than it is of use to look.
fn next_asks(mut changed: watch::Receiver<()>) -> BoxFuture<'static, Step> {
    async move {
        tokio::time::sleep(LOOK_PAUSE).await;
        match changed.changed().await {
            Ok(()) => Step::Asks(changed),
            Err(_) => std::future::pending().await,
        }
    }
    .boxed()
}

fn next_event(mut events: broadcast::Receiver<PeerEvent>) -> BoxFuture<'static, Step> {
    async move {
        loop {
            match events.recv().await {
                Ok(PeerEvent::Identified { peer, protocols, .. }) if may_transfer(&protocols) => {
                    return Step::Event(peer, events);
                }
                Ok(_) => {}
                // The next round asks everybody who is connected.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
    .boxed()
}
