//! Nodes that fetch one file from each other, each with the real schedule, in virtual time.
//!
//! A link is a rate up and a rate down, and half a round trip to everybody. Nothing is lost, nobody computes.
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    time::{Duration, Instant},
};

use cardume_content::{PIECE, PieceSet};
use cardume_exchange::{
    giving::{Giving, Verdict},
    schedule::{Ask, Bounds, Order, Refusal, Schedule, Ticket},
};
use libp2p_identity::PeerId;

const BLOB: u32 = 1;
/// Sources of one fetch, and requests that one node answers at a time, as by default.
const MAX_PEERS: usize = 32;
const MAX_SERVING: u32 = 32;
/// Fetchers that begin first, and are named to each other by the source.
const FIRST: usize = 16;
/// How long a question waits for a change.
const LONG_POLL: Duration = Duration::from_secs(25);
const BUSY: Duration = Duration::from_millis(250);
const COME_LATER: Duration = Duration::from_secs(2);
/// Pieces on their way from a node above which it counts as crowded.
const CROWDED: u32 = 2;

/// What takes part, and over what links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Nodes that want the file and start together.
    pub(crate) fetchers: usize,
    /// Nodes that have it.
    pub(crate) sources: usize,
    /// Nodes that say they have it and send something else.
    pub(crate) liars: usize,
    /// Nodes that say they have it and send nothing.
    pub(crate) silent: usize,
    /// MiB of the file.
    pub(crate) pieces: u64,
    /// Bytes a second, each way, of every node.
    pub(crate) rate: u64,
    /// Time from any node to any other.
    pub(crate) delay: Duration,
    /// Decides who knows whom.
    pub(crate) seed: u64,
}

impl Setting {
    /// Time that a piece takes on a link.
    fn piece_time(&self) -> Duration {
        Duration::from_secs_f64(PIECE as f64 / self.rate as f64)
    }
}

/// How it went.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// When the first fetcher had everything, and the last.
    pub(crate) first: Duration,
    pub(crate) last: Duration,
    /// The file's size times this is what the sources sent.
    pub(crate) source_copies: f64,
    /// … and what came to fetchers that they had already.
    pub(crate) wasted_copies: f64,
    /// Fetchers that have everything.
    pub(crate) finished: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    Lies,
    Silent,
}

struct Node {
    peer: PeerId,
    manner: Manner,
    held: PieceSet,
    schedule: Option<Schedule>,
    wake_at: Option<Duration>,
    up_free: Duration,
    down_free: Duration,
    sent: u64,
    wasted: u64,
    finished: Option<Duration>,
    /// Who waits to hear of a change: node, ticket, the version it knows, until when.
    waiting: Vec<(usize, Ticket, u64)>,
    void: HashSet<Ticket>,
    giving: Giving,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A node's schedule wants to be asked.
    Wake(usize),
    /// A request arrives: from, to, ticket, piece or a question.
    Asked(usize, usize, Ticket, Question),
    /// A waiting question is answered as things are.
    Patience(usize, usize, Ticket),
    /// An answer arrives: to, ticket, from.
    Have(usize, usize, Ticket, u64),
    Begins(usize, usize, Ticket, u64),
    Piece(usize, usize, Ticket, u64),
    Busy(usize, Ticket, Duration),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    Have(Option<u64>),
    Piece(u64),
}

pub(crate) struct World {
    setting: Setting,
    began: Instant,
    nodes: Vec<Node>,
    places: HashMap<PeerId, usize>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    number: u64,
    random: u64,
}

/// Runs until every fetcher has everything, or for an hour.
pub(crate) fn run(setting: Setting) -> Outcome {
    let mut world = World::new(setting);
    world.meet();
    let mut left = setting.fetchers;
    while let Some(Reverse((now, _, event))) = world.events.pop() {
        if left == 0 || now > Duration::from_secs(3600) {
            break;
        }
        left -= usize::from(world.on_event(now, event));
    }
    world.outcome()
}

impl World {
    fn new(setting: Setting) -> Self {
        let manners = [
            (setting.sources, Manner::Honest),
            (setting.liars, Manner::Lies),
            (setting.silent, Manner::Silent),
        ];
        let full = PieceSet::full(setting.pieces);
        let mut world = Self {
            setting,
            began: Instant::now(),
            nodes: Vec::new(),
            places: HashMap::new(),
            events: BinaryHeap::new(),
            number: 0,
            random: setting.seed,
        };
        for (count, manner) in manners {
            for _ in 0..count {
                world.add(manner, full.clone(), false);
            }
        }
        for _ in 0..setting.fetchers {
            world.add(Manner::Honest, PieceSet::empty(setting.pieces), true);
        }
        world
    }

    fn add(&mut self, manner: Manner, held: PieceSet, fetches: bool) {
        let place = self.nodes.len();
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&(place as u64).to_le_bytes());
        let key = libp2p_identity::Keypair::ed25519_from_bytes(bytes).expect("32 bytes");
        let peer = key.public().to_peer_id();
        let bounds = Bounds {
            window: 12,
            in_flight: 32,
        };
        let schedule = fetches.then(|| {
            let mut schedule = Schedule::new(peer, bounds, self.next());
            schedule.add_blob(BLOB, 1, false, self.began);
            let size = self.setting.pieces * PIECE;
            assert!(schedule.start_blob(BLOB, size, held.clone()).is_empty());
            schedule
        });
        self.places.insert(peer, place);
        let mut giving = Giving::default();
        if fetches {
            giving.relay();
        }
        self.nodes.push(Node {
            peer,
            manner,
            held,
            schedule,
            wake_at: None,
            up_free: Duration::ZERO,
            down_free: Duration::ZERO,
            sent: 0,
            wasted: 0,
            finished: None,
            waiting: Vec::new(),
            void: HashSet::new(),
            giving,
        });
    }

    /// Everybody learns of the sources, the first of each other, and the rest of some others.
    fn meet(&mut self) {
        let givers = self.setting.sources + self.setting.liars + self.setting.silent;
        for place in givers..self.nodes.len() {
            let mut others: Vec<usize> = (0..givers).collect();
            let cohort = givers..(givers + FIRST).min(self.nodes.len());
            if cohort.contains(&place) {
                others.extend(cohort.filter(|other| *other != place));
            }
            while others.len() < MAX_PEERS.min(self.nodes.len() - 1) {
                let other = givers + (self.next() % (self.nodes.len() - givers) as u64) as usize;
                if other != place && !others.contains(&other) {
                    others.push(other);
                }
            }
            others.truncate(MAX_PEERS.max(givers));
            for other in others {
                let (peer, began) = (self.nodes[other].peer, self.began);
                if let Some(schedule) = &mut self.nodes[place].schedule {
                    schedule.add_peer(peer, began);
                }
            }
            self.push(Duration::ZERO, Event::Wake(place));
        }
    }

    fn next(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.random >> 16
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, event)));
    }

    /// Whether a fetcher has finished by it.
    fn on_event(&mut self, now: Duration, event: Event) -> bool {
        let delay = self.setting.delay;
        let at = self.began + now;
        match event {
            Event::Wake(place) => {
                self.nodes[place].wake_at = None;
                self.turn(place, now);
            }
            Event::Asked(from, to, ticket, Question::Have(since)) => {
                let version = self.nodes[to].held.count();
                if since == Some(version) && version < self.setting.pieces {
                    self.nodes[to].waiting.push((from, ticket, version));
                    self.push(now + LONG_POLL, Event::Patience(to, from, ticket));
                } else {
                    self.push(now + delay, Event::Have(from, to, ticket, version));
                }
            }
            Event::Patience(place, from, ticket) => {
                let waiting = &mut self.nodes[place].waiting;
                let before = waiting.len();
                waiting.retain(|(who, which, _)| (*who, *which) != (from, ticket));
                if waiting.len() < before {
                    let version = self.nodes[place].held.count();
                    self.push(now + delay, Event::Have(from, place, ticket, version));
                }
            }
            Event::Asked(from, to, ticket, Question::Piece(piece)) => {
                self.serve(now, from, to, ticket, piece)
            }
            Event::Have(place, of, ticket, version) => {
                let (peer, pieces) = (self.nodes[of].peer, self.nodes[of].held.clone());
                let size = self.setting.pieces * PIECE;
                if let Some(schedule) = &mut self.nodes[place].schedule
                    && !schedule.on_have(ticket, at, size, version, pieces)
                {
                    schedule.ban(peer);
                }
                self.turn(place, now);
            }
            Event::Busy(place, ticket, pause) => {
                if let Some(schedule) = &mut self.nodes[place].schedule {
                    let refusal = match pause {
                        Duration::ZERO => Refusal::Elsewhere,
                        pause => Refusal::Busy(pause),
                    };
                    schedule.on_refusal(ticket, at, refusal);
                }
                self.turn(place, now);
            }
            Event::Begins(place, from, ticket, piece) => {
                let node = &mut self.nodes[place];
                node.down_free = node.down_free.max(now) + self.setting.piece_time();
                let at = node.down_free;
                self.push(at, Event::Piece(place, from, ticket, piece));
            }
            Event::Piece(place, from, ticket, piece) => return self.take(now, place, from, ticket, piece),
        }
        false
    }

    /// Sends a piece when the link has room for it.
    fn serve(&mut self, now: Duration, from: usize, to: usize, ticket: Ticket, piece: u64) {
        let (time, delay) = (self.setting.piece_time(), self.setting.delay);
        let node = &mut self.nodes[to];
        if node.manner == Manner::Silent {
            return;
        }
        let queue = node.up_free.saturating_sub(now);
        let refused = if queue > time * MAX_SERVING {
            Some(BUSY)
        } else {
            let asker = self.nodes[from].peer;
            let node = &mut self.nodes[to];
            match node
                .giving
                .ask(asker, piece, queue > time * CROWDED, self.began + now)
            {
                Verdict::Give => None,
                Verdict::AskOthers => Some(Duration::ZERO),
                Verdict::ComeLater => Some(COME_LATER),
            }
        };
        if let Some(pause) = refused {
            return self.push(now + delay, Event::Busy(from, ticket, pause));
        }
        let node = &mut self.nodes[to];
        assert!(node.held.contains(piece), "asked for what it does not have");
        node.up_free = node.up_free.max(now) + time;
        node.sent += PIECE;
        // When its first byte arrives; the taker's own link may be busy then.
        let begins = node.up_free - time + delay;
        self.push(begins, Event::Begins(from, to, ticket, piece));
    }

    fn take(&mut self, now: Duration, place: usize, from: usize, ticket: Ticket, piece: u64) -> bool {
        let at = self.began + now;
        let (giver, lies) = (self.nodes[from].peer, self.nodes[from].manner == Manner::Lies);
        let node = &mut self.nodes[place];
        let Some(schedule) = &mut node.schedule else {
            return false;
        };
        if node.void.remove(&ticket) {
            node.wasted += PIECE;
            return false;
        }
        schedule.on_content(ticket, at);
        if lies {
            let void = schedule.ban(giver);
            node.void.extend(void);
            self.turn(place, now);
            return false;
        }
        let void = schedule.verified(BLOB, piece);
        schedule.end(ticket);
        node.void.extend(void);
        if !node.held.insert(piece) {
            node.wasted += PIECE;
        }
        let version = node.held.count();
        for (who, ticket, _) in std::mem::take(&mut node.waiting) {
            self.push(now + self.setting.delay, Event::Have(who, place, ticket, version));
        }
        let node = &mut self.nodes[place];
        if node.held.is_full() && node.finished.is_none() {
            node.finished = Some(now);
            node.schedule = None;
            return true;
        }
        self.turn(place, now);
        false
    }

    /// Sends what a schedule wants sent.
    fn turn(&mut self, place: usize, now: Duration) {
        let at = self.began + now;
        let Some(mut schedule) = self.nodes[place].schedule.take() else {
            return;
        };
        schedule.expire(at);
        while let Some(Order { ticket, peer, ask }) = schedule.next(at) {
            let to = self.places[&peer];
            let question = match ask {
                Ask::Have { since, .. } => Question::Have(since),
                Ask::Piece { piece, .. } => Question::Piece(piece),
                Ask::Proof { .. } | Ask::Many { .. } => unreachable!("the size is known, and it is no tree"),
            };
            self.push(
                now + self.setting.delay,
                Event::Asked(place, to, ticket, question),
            );
        }
        let wake = schedule
            .wake(at)
            .map(|wake| wake.max(at + Duration::from_millis(1)) - self.began);
        let node = &mut self.nodes[place];
        node.schedule = Some(schedule);
        if let Some(wake) = wake
            && node.wake_at.is_none_or(|old| wake < old)
        {
            node.wake_at = Some(wake);
            self.push(wake, Event::Wake(place));
        }
    }

    fn outcome(&self) -> Outcome {
        let file = (self.setting.pieces * PIECE) as f64;
        let sources = self.nodes.get(..self.setting.sources).unwrap_or_default();
        let finished: Vec<Duration> = self.nodes.iter().filter_map(|node| node.finished).collect();
        Outcome {
            first: finished.iter().min().copied().unwrap_or_default(),
            last: finished.iter().max().copied().unwrap_or_default(),
            source_copies: sources.iter().map(|node| node.sent).sum::<u64>() as f64 / file,
            wasted_copies: self.nodes.iter().map(|node| node.wasted).sum::<u64>() as f64 / file,
            finished: finished.len(),
        }
    }
}
