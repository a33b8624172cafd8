//! The pieces of one large blob, and who has which.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::{Duration, Instant},
};

use cardume_content::{PieceSet, pieces::piece_count};
use libp2p_identity::PeerId;

use super::{Random, Ticket};

/// Open pieces looked at for one choice: the rarest of a random sample is rare enough, and cheap to find.
const SAMPLE: usize = 256;
/// Open pieces kept at hand; the choice is random among them, so this is also how far writes spread.
const HORIZON: usize = 16 * 1024;
/// Requests for one piece at once, in the end game.
const MAX_COPIES: usize = 2;
/// Time between two questions to a peer about what it holds.
const POLL_PAUSE: Duration = Duration::from_millis(500);
const MAX_POLL_PAUSE: Duration = Duration::from_secs(15);

/// What a peer said it holds.
#[derive(Debug, Clone)]
struct Held {
    size: u64,
    version: u64,
    pieces: PieceSet,
}

/// One peer's part in one blob.
#[derive(Debug)]
struct Holder {
    held: Option<Held>,
    /// Whether its last answer was that it has nothing.
    refused: bool,
    /// When to ask again; none while a question is out, or when it has everything.
    ask_at: Option<Instant>,
    pause: Duration,
}

#[derive(Debug)]
enum Stage {
    /// No size is believed yet: the last piece is asked of those who claim one.
    Unproven {
        asked: Vec<(Ticket, u64)>,
        proving: bool,
    },
    Proven(Proven),
}

#[derive(Debug)]
struct Proven {
    size: u64,
    held: PieceSet,
    /// Neither here nor on their way, below `frontier`.
    open: BTreeSet<u64>,
    frontier: u64,
    /// On their way or being verified.
    asked: BTreeMap<u64, Asked>,
}

/// Requests for one piece.
#[derive(Debug, Default)]
struct Asked {
    live: Vec<Ticket>,
    /// Overdue: others are asked, but a late answer still counts.
    late: Vec<Ticket>,
}

#[derive(Debug)]
pub(super) struct Blob {
    holders: BTreeMap<PeerId, Holder>,
    stage: Stage,
    /// Pieces a reader waits for: these go first and in order.
    focus: Option<Range<u64>>,
    /// Whether nothing outside the focus is wanted.
    only_focus: bool,
}

impl Blob {
    pub(super) fn new(only_focus: bool) -> Self {
        Self {
            holders: BTreeMap::new(),
            stage: Stage::Unproven {
                asked: Vec::new(),
                proving: false,
            },
            focus: None,
            only_focus,
        }
    }

    /// Believes `size`; `held` is here already. Returns those who claimed something else.
    pub(super) fn start(&mut self, size: u64, held: PieceSet) -> Vec<PeerId> {
        self.stage = Stage::Proven(Proven {
            size,
            held,
            open: BTreeSet::new(),
            frontier: 0,
            asked: BTreeMap::new(),
        });
        let lied = |holder: &Holder| holder.held.as_ref().is_some_and(|held| held.size != size);
        let liars = self.holders.iter().filter(|(_, holder)| lied(holder));
        liars.map(|(peer, _)| *peer).collect()
    }

    pub(super) fn set_focus(&mut self, focus: Range<u64>) {
        self.focus = Some(focus);
    }

    pub(super) fn is_proven(&self) -> bool {
        matches!(self.stage, Stage::Proven(_))
    }

    /// Marks the claim as being checked, or failed.
    pub(super) fn set_proving(&mut self, now_proving: bool) {
        if let Stage::Unproven { proving, .. } = &mut self.stage {
            *proving = now_proving;
        }
    }

    // -- who has what

    pub(super) fn add_peer(&mut self, peer: PeerId, now: Instant) {
        self.holders.entry(peer).or_insert(Holder {
            held: None,
            refused: false,
            ask_at: Some(now),
            pause: POLL_PAUSE,
        });
    }

    pub(super) fn drop_peer(&mut self, peer: &PeerId) {
        self.holders.remove(peer);
    }

    /// The question that is due to `peer`: since which version, if any.
    pub(super) fn poll_due(&self, peer: &PeerId, now: Instant) -> Option<Option<u64>> {
        let holder = self.holders.get(peer)?;
        let due = holder.ask_at.is_some_and(|at| at <= now);
        due.then(|| holder.held.as_ref().map(|held| held.version))
    }

    pub(super) fn polled(&mut self, peer: &PeerId) {
        if let Some(holder) = self.holders.get_mut(peer) {
            holder.ask_at = None;
        }
    }

    pub(super) fn next_poll(&self) -> Option<Instant> {
        self.holders.values().filter_map(|holder| holder.ask_at).min()
    }

    /// Takes in what `peer` holds. `false`: it claims a size that has been disproven, or sets that make no sense.
    pub(super) fn have(
        &mut self,
        peer: &PeerId,
        now: Instant,
        size: u64,
        version: u64,
        pieces: PieceSet,
    ) -> bool {
        if pieces.len() != piece_count(size) {
            return false;
        }
        if let Stage::Proven(proven) = &self.stage
            && proven.size != size
        {
            return false;
        }
        let Some(holder) = self.holders.get_mut(peer) else {
            return true;
        };
        holder.pause = POLL_PAUSE;
        holder.ask_at = (!pieces.is_full()).then_some(now + POLL_PAUSE);
        holder.held = Some(Held {
            size,
            version,
            pieces,
        });
        holder.refused = false;
        true
    }

    /// Notes that `peer` has nothing (any more); it is asked again, ever later.
    pub(super) fn lacks(&mut self, peer: &PeerId, now: Instant) {
        if let Some(holder) = self.holders.get_mut(peer) {
            holder.held = None;
            holder.refused = true;
            holder.ask_at = Some(now + holder.pause);
            holder.pause = (holder.pause * 2).min(MAX_POLL_PAUSE);
        }
    }

    /// Whether everybody who was asked has nothing of it.
    pub(super) fn is_refused(&self) -> bool {
        self.holders.values().all(|holder| holder.refused)
    }

    // -- what to ask for

    /// The next piece to ask `peer` for, as (size, piece).
    pub(super) fn pick(&mut self, peer: &PeerId, random: &mut Random) -> Option<(u64, u64)> {
        let Self {
            holders,
            stage,
            focus,
            only_focus,
        } = self;
        let has = &holders.get(peer)?.held.as_ref()?;
        match stage {
            Stage::Unproven { asked, proving } => {
                let last = piece_count(has.size).saturating_sub(1);
                let free = !*proving && !asked.iter().any(|(_, size)| *size == has.size);
                (free && has.pieces.contains(last)).then_some((has.size, last))
            }
            Stage::Proven(proven) => {
                let wanted = focus
                    .clone()
                    .and_then(|focus| proven.first_in(focus, &has.pieces));
                let wanted = wanted.or_else(|| {
                    (!*only_focus)
                        .then(|| proven.rarest(has, holders, random))
                        .flatten()
                });
                wanted.map(|piece| (proven.size, piece))
            }
        }
    }

    /// A piece that is on its way from somebody else already, for `peer` to bring as well.
    pub(super) fn pick_again(&self, peer: &PeerId, may: impl Fn(Ticket) -> bool) -> Option<(u64, u64)> {
        let has = self.holders.get(peer)?.held.as_ref()?;
        let Stage::Proven(proven) = &self.stage else {
            return None;
        };
        let mut pieces = proven.asked.iter();
        let (piece, _) = pieces.find(|(piece, asked)| {
            (1..MAX_COPIES).contains(&asked.live.len())
                && has.pieces.contains(**piece)
                && asked.live.iter().chain(&asked.late).all(|ticket| may(*ticket))
        })?;
        Some((proven.size, *piece))
    }

    /// Whether every missing piece is on its way.
    pub(super) fn is_all_asked(&self) -> bool {
        match &self.stage {
            Stage::Unproven { .. } => false,
            Stage::Proven(proven) => {
                self.only_focus || (proven.open.is_empty() && proven.frontier >= proven.held.len())
            }
        }
    }

    pub(super) fn asked(&mut self, ticket: Ticket, size: u64, piece: u64) {
        match &mut self.stage {
            Stage::Unproven { asked, .. } => asked.push((ticket, size)),
            Stage::Proven(proven) => {
                proven.open.remove(&piece);
                proven.asked.entry(piece).or_default().live.push(ticket);
            }
        }
    }

    /// Forgets a request; its piece is open again unless somebody else brings it.
    pub(super) fn unasked(&mut self, ticket: Ticket, piece: u64) {
        match &mut self.stage {
            Stage::Unproven { asked, .. } => asked.retain(|(other, _)| *other != ticket),
            Stage::Proven(proven) => {
                let Some(asked) = proven.asked.get_mut(&piece) else {
                    return;
                };
                asked.live.retain(|other| *other != ticket);
                asked.late.retain(|other| *other != ticket);
                let (is_live, is_late) = (!asked.live.is_empty(), !asked.late.is_empty());
                if !is_live && !is_late {
                    proven.asked.remove(&piece);
                }
                if !is_live {
                    proven.reopen(piece);
                }
            }
        }
    }

    /// Lets others be asked for a piece whose answer is overdue; a late answer still counts.
    pub(super) fn overdue(&mut self, ticket: Ticket, piece: u64) {
        match &mut self.stage {
            Stage::Unproven { asked, .. } => asked.retain(|(other, _)| *other != ticket),
            Stage::Proven(proven) => {
                let Some(asked) = proven.asked.get_mut(&piece) else {
                    return;
                };
                asked.live.retain(|other| *other != ticket);
                asked.late.push(ticket);
                if asked.live.is_empty() {
                    proven.reopen(piece);
                }
            }
        }
    }

    /// Notes that the answer to a request is here and being verified: nobody else need be asked.
    pub(super) fn arrived(&mut self, ticket: Ticket, piece: u64) {
        if let Stage::Proven(proven) = &mut self.stage
            && let Some(asked) = proven.asked.get_mut(&piece)
            && let Some(at) = asked.late.iter().position(|late| *late == ticket)
        {
            asked.live.push(asked.late.swap_remove(at));
            proven.open.remove(&piece);
        }
    }

    /// Notes a piece that is here and verified; returns the requests that are not needed any more.
    pub(super) fn verified(&mut self, piece: u64) -> Vec<Ticket> {
        let Stage::Proven(proven) = &mut self.stage else {
            return Vec::new();
        };
        proven.held.insert(piece);
        proven.open.remove(&piece);
        let asked = proven.asked.remove(&piece).unwrap_or_default();
        asked.live.into_iter().chain(asked.late).collect()
    }
}

impl Proven {
    fn reopen(&mut self, piece: u64) {
        if !self.held.contains(piece) {
            self.open.insert(piece);
        }
    }

    /// The first piece of `focus` that nobody has been asked for and that is in `has`.
    fn first_in(&self, focus: Range<u64>, has: &PieceSet) -> Option<u64> {
        let end = focus.end.min(self.held.len());
        (focus.start..end).find(|piece| {
            !self.held.contains(*piece)
                && has.contains(*piece)
                && (!self.asked.contains_key(piece) || self.open.contains(piece))
        })
    }

    /// The open piece that the fewest peers have, of those in `has`; a random one of equals.
    fn rarest(&mut self, has: &Held, holders: &BTreeMap<PeerId, Holder>, random: &mut Random) -> Option<u64> {
        self.refill();
        let sets: Vec<&PieceSet> = holders
            .values()
            .filter_map(|holder| holder.held.as_ref())
            .filter(|held| held.size == self.size && !held.pieces.is_full())
            .map(|held| &held.pieces)
            .collect();
        let (first, last) = (*self.open.first()?, *self.open.last()?);
        let start = first + random.below(last - first + 1);
        let in_turn = self.open.range(start..).chain(self.open.range(..start)).copied();
        let mine = in_turn.filter(|piece| has.pieces.contains(*piece)).take(SAMPLE);
        mine.min_by_key(|piece| sets.iter().filter(|set| set.contains(*piece)).count())
    }

    /// Brings in the next missing pieces, so that the choice stays wide without a list of the whole blob.
    fn refill(&mut self) {
        if self.open.len() > HORIZON / 2 {
            return;
        }
        while self.open.len() < HORIZON && self.frontier < self.held.len() {
            let piece = self.frontier;
            if !self.held.contains(piece) && !self.asked.contains_key(&piece) {
                self.open.insert(piece);
            }
            self.frontier += 1;
        }
    }
}
