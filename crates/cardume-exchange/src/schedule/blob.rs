//! One large blob: who has what of it, and which piece goes next.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    time::{Duration, Instant},
};

use cardume_content::{PieceSet, pieces::piece_count};
use libp2p_identity::PeerId;

use super::{
    Ask, BlobId, Random, Ticket,
    crowd::{self, Crowd, Member},
    pieces::Pieces,
};

/// Time between two questions to a peer about what it holds, for each peer that is asked.
const POLL_PAUSE: Duration = Duration::from_millis(25);
const MIN_POLL_PAUSE: Duration = Duration::from_millis(100);
const MAX_POLL_PAUSE: Duration = Duration::from_millis(400);
/// … and to one that has nothing; doubled each time.
const FIRST_PATIENCE: Duration = Duration::from_millis(500);
const MAX_PATIENCE: Duration = Duration::from_secs(15);

/// Pieces that come with a proof, at most: what a reader of a mebibyte needs, wherever that begins.
const ALONG: u64 = 2;

/// How long a piece that a source has given to others is not asked of a source again.
const ELSEWHERE: Duration = Duration::from_millis(500);
/// Such pieces remembered; more are forgotten sooner.
const MAX_ELSEWHERE: usize = 4096;

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
    /// Whether it had everything when it was first asked.
    is_source: bool,
    /// When it last had something new.
    grew: Option<Instant>,
    /// Its key in the crowd.
    key: u64,
    /// When to ask again; none while a question is out, or when it has everything.
    ask_at: Option<Instant>,
    patience: Duration,
}

impl Holder {
    fn is_complete(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.pieces.is_full())
    }

    /// Whether it has everything, and had not from the beginning.
    fn has_finished(&self) -> bool {
        !self.is_source && self.is_complete()
    }

    fn member(&self) -> Member {
        let is_fetching = self.held.is_some() && !self.is_complete();
        Member {
            key: self.key,
            is_source: self.is_source,
            grew: self.grew.filter(|_| is_fetching),
        }
    }
}

#[derive(Debug)]
enum Stage {
    /// No size is believed yet: the end is asked of those who claim one.
    Unproven {
        asked: Vec<(Ticket, u64)>,
        proving: bool,
        /// Whether nothing comes along with the proof: a request with more was refused, or late.
        alone: bool,
    },
    Proven(Pieces),
}

#[derive(Debug)]
pub(super) struct Blob {
    salt: u64,
    holders: BTreeMap<PeerId, Holder>,
    /// Who is to be asked when: what `ask_at` of the holders says, in order.
    polls: BTreeSet<(Instant, PeerId)>,
    /// Holders that have finished; those that had everything from the beginning do not count.
    finished: usize,
    stage: Stage,
    crowd: Crowd,
    elsewhere: Elsewhere,
    /// Pieces a reader waits for: these go first and in order.
    focus: Option<Range<u64>>,
    /// Whether nothing outside the focus is wanted.
    only_focus: bool,
}

impl Blob {
    /// `salt` is the same at every node, and another for every blob.
    pub(super) fn new(me: &PeerId, salt: u64, only_focus: bool) -> Self {
        Self {
            salt,
            holders: BTreeMap::new(),
            polls: BTreeSet::new(),
            finished: 0,
            stage: Stage::Unproven {
                asked: Vec::new(),
                proving: false,
                alone: false,
            },
            crowd: Crowd::new(crowd::key(me, salt)),
            elsewhere: Elsewhere::default(),
            focus: None,
            only_focus,
        }
    }

    /// Believes `size`; `held` is here already. Returns those who claimed something else.
    pub(super) fn start(&mut self, size: u64, held: PieceSet) -> Vec<PeerId> {
        let mut pieces = Pieces::new(size, held);
        let mut liars = Vec::new();
        for (peer, holder) in &self.holders {
            match &holder.held {
                Some(held) if held.size == size => pieces.recount(None, Some(&held.pieces)),
                Some(_) => liars.push(*peer),
                None => {}
            }
        }
        self.stage = Stage::Proven(pieces);
        liars
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
        if self.holders.contains_key(&peer) {
            return;
        }
        let holder = Holder {
            held: None,
            refused: false,
            is_source: false,
            grew: None,
            key: crowd::key(&peer, self.salt),
            ask_at: None,
            patience: FIRST_PATIENCE,
        };
        self.holders.insert(peer, holder);
        self.poll_at(&peer, Some(now));
    }

    pub(super) fn drop_peer(&mut self, peer: &PeerId) {
        self.poll_at(peer, None);
        let holder = self.holders.remove(peer);
        self.finished -= usize::from(holder.as_ref().is_some_and(Holder::has_finished));
        self.recount(holder.and_then(|holder| holder.held).as_ref(), None);
        self.crowd.changed();
    }

    /// Who is to be asked first, if that is due: since which version, if any.
    pub(super) fn poll_due(&self, now: Instant) -> Option<(PeerId, Option<u64>)> {
        let (at, peer) = self.polls.first()?;
        let holder = self.holders.get(peer)?;
        (*at <= now).then(|| (*peer, holder.held.as_ref().map(|held| held.version)))
    }

    /// Has `peer` asked then, or not at all while a question is out or when it has everything.
    pub(super) fn poll_at(&mut self, peer: &PeerId, at: Option<Instant>) {
        if let Some(holder) = self.holders.get_mut(peer)
            && holder.ask_at != at
        {
            if let Some(old) = std::mem::replace(&mut holder.ask_at, at) {
                self.polls.remove(&(old, *peer));
            }
            self.polls.extend(at.map(|at| (at, *peer)));
        }
    }

    pub(super) fn next_poll(&self) -> Option<Instant> {
        self.polls.first().map(|(at, _)| *at)
    }

    /// Whether `peer` had everything from the beginning.
    pub(super) fn is_source(&self, peer: &PeerId) -> bool {
        self.holders.get(peer).is_some_and(|holder| holder.is_source)
    }

    pub(super) fn has(&self, peer: &PeerId, piece: u64) -> bool {
        let held = self.holders.get(peer).and_then(|holder| holder.held.as_ref());
        held.is_some_and(|held| held.pieces.contains(piece))
    }

    pub(super) fn size(&self) -> Option<u64> {
        match &self.stage {
            Stage::Unproven { .. } => None,
            Stage::Proven(pieces) => Some(pieces.size),
        }
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
        let pause = poll_pause(self.holders.len());
        let Some(holder) = self.holders.get_mut(peer) else {
            return true;
        };
        let had_finished = holder.has_finished();
        let old = holder.held.take();
        let is_first = holder.grew.is_none();
        if old.as_ref().is_none_or(|old| old.pieces.count() < pieces.count()) {
            holder.grew = Some(now);
        }
        holder.is_source |= is_first && pieces.is_full();
        holder.patience = FIRST_PATIENCE;
        let ask_at = (!pieces.is_full()).then_some(now + pause);
        holder.refused = false;
        let held = Held {
            size,
            version,
            pieces,
        };
        self.recount(old.as_ref(), Some(&held));
        if let Some(holder) = self.holders.get_mut(peer) {
            holder.held = Some(held);
            self.finished += usize::from(holder.has_finished());
            self.finished -= usize::from(had_finished);
        }
        self.poll_at(peer, ask_at);
        if is_first {
            self.crowd.changed();
        }
        true
    }

    /// Notes that `peer` has nothing (any more); it is asked again, ever later.
    pub(super) fn lacks(&mut self, peer: &PeerId, now: Instant) {
        let Some(holder) = self.holders.get_mut(peer) else {
            return;
        };
        holder.refused = true;
        let ask_at = now + holder.patience;
        holder.patience = (holder.patience * 2).min(MAX_PATIENCE);
        self.finished -= usize::from(holder.has_finished());
        let old = holder.held.take();
        self.recount(old.as_ref(), None);
        self.poll_at(peer, Some(ask_at));
    }

    fn recount(&mut self, old: Option<&Held>, new: Option<&Held>) {
        if let Stage::Proven(pieces) = &mut self.stage {
            let of_size = |held: &&Held| held.size == pieces.size;
            let old = old.filter(of_size).map(|held| &held.pieces);
            let new = new.filter(of_size).map(|held| &held.pieces);
            pieces.recount(old, new);
        }
    }

    /// Whether everybody who was asked has nothing of it.
    pub(super) fn is_refused(&self) -> bool {
        self.holders.values().all(|holder| holder.refused)
    }

    // -- what to ask for

    /// What to ask `peer` for next, being the blob `id`.
    pub(super) fn pick(
        &mut self,
        id: BlobId,
        peer: &PeerId,
        now: Instant,
        random: &mut Random,
    ) -> Option<Ask> {
        let holder = self.holders.get(peer)?;
        let has = holder.held.as_ref()?;
        if let Stage::Unproven {
            asked,
            proving,
            alone,
        } = &self.stage
        {
            let size = has.size;
            let last = piece_count(size).saturating_sub(1);
            let free = !*proving && !asked.iter().any(|(_, asked)| *asked == size);
            let along = if *alone {
                0..0
            } else {
                self.waited_for(&has.pieces)
            };
            return (free && has.pieces.contains(last)).then_some(Ask::Proof {
                blob: id,
                size,
                along,
            });
        }
        let (size, piece) = self.pick_piece(peer, now, random)?;
        Some(Ask::Piece {
            blob: id,
            size,
            piece,
        })
    }

    /// The first pieces that a reader waits for, as many as go with a proof, if nothing else is wanted and they are in `has`.
    fn waited_for(&self, has: &PieceSet) -> Range<u64> {
        let focus = self.focus.clone().filter(|_| self.only_focus).unwrap_or(0..0);
        // The last piece holds the proof, and ranges are disjoint.
        let last = has.len().saturating_sub(1);
        let end = focus.end.min(last).min(focus.start.saturating_add(ALONG));
        let mut along = focus.start..end;
        if along.all(|piece| has.contains(piece)) {
            focus.start..end.max(focus.start)
        } else {
            0..0
        }
    }

    fn pick_piece(&mut self, peer: &PeerId, now: Instant, random: &mut Random) -> Option<(u64, u64)> {
        let holder = self.holders.get(peer)?;
        let has = holder.held.as_ref()?;
        let pieces = match &self.stage {
            Stage::Proven(pieces) if !pieces.is_all_asked() => pieces,
            _ => return None,
        };
        let wanted = self.focus.clone();
        let wanted = wanted.and_then(|focus| pieces.first_in(focus, &has.pieces));
        if wanted.is_some() || self.only_focus {
            return wanted.map(|piece| (pieces.size, piece));
        }
        if holder.is_source {
            self.elsewhere.forget(now);
            self.crowd.look(now, self.holders.values().map(Holder::member));
            if self.crowd.spares() {
                let is_served = self.finished > 0;
                let deal = Deal {
                    pieces,
                    has: &has.pieces,
                    elsewhere: &self.elsewhere,
                };
                let piece = deal.next(&mut self.crowd, is_served, now, random);
                return piece.map(|piece| (pieces.size, piece));
            }
        }
        let may = |piece| !holder.is_source || !self.elsewhere.contains(piece);
        let piece = pieces.rarest(&has.pieces, random, may);
        piece.map(|piece| (pieces.size, piece))
    }

    /// Pieces that one request is out for, with those that are late.
    pub(super) fn asked_once(&self) -> impl Iterator<Item = (u64, Vec<Ticket>)> {
        let pieces = match &self.stage {
            Stage::Unproven { .. } => None,
            Stage::Proven(pieces) => Some(pieces),
        };
        pieces.into_iter().flat_map(Pieces::asked_once)
    }

    /// When a source that is spared may be asked for more.
    pub(super) fn next_extra(&self, now: Instant) -> Option<Instant> {
        let extra = self.crowd.next_extra().filter(|at| *at > now);
        let elsewhere = self.elsewhere.next().filter(|at| *at > now);
        extra.into_iter().chain(elsewhere).min()
    }

    /// Whether every missing piece is on its way.
    pub(super) fn is_all_asked(&self) -> bool {
        match &self.stage {
            Stage::Unproven { .. } => false,
            Stage::Proven(pieces) => self.only_focus || pieces.is_all_asked(),
        }
    }

    // -- what becomes of it

    pub(super) fn proof_asked(&mut self, ticket: Ticket, size: u64) {
        if let Stage::Unproven { asked, .. } = &mut self.stage {
            asked.push((ticket, size));
        }
    }

    /// Forgets a request for a proof; somebody else may bring it.
    pub(super) fn proof_ended(&mut self, ticket: Ticket) {
        if let Stage::Unproven { asked, alone, .. } = &mut self.stage {
            asked.retain(|(other, _)| *other != ticket);
            *alone = true;
        }
    }

    /// Notes that a source has given a piece to others.
    pub(super) fn is_elsewhere(&mut self, piece: u64, now: Instant) {
        self.elsewhere.note(piece, now);
    }

    pub(super) fn asked(&mut self, ticket: Ticket, piece: u64) {
        if let Stage::Proven(pieces) = &mut self.stage {
            pieces.asked(ticket, piece);
        }
    }

    /// Forgets a request; its piece is open again unless somebody else brings it. Whether it is.
    pub(super) fn unasked(&mut self, ticket: Ticket, piece: u64) -> bool {
        match &mut self.stage {
            Stage::Unproven { .. } => false,
            Stage::Proven(pieces) => pieces.unasked(ticket, piece),
        }
    }

    /// Lets others be asked for a piece whose answer is overdue; a late answer still counts.
    pub(super) fn overdue(&mut self, ticket: Ticket, piece: u64) {
        if let Stage::Proven(pieces) = &mut self.stage {
            pieces.overdue(ticket, piece);
        }
    }

    /// Notes that the answer to a request is here and being verified: nobody else need be asked.
    pub(super) fn arrived(&mut self, ticket: Ticket, piece: u64) {
        if let Stage::Proven(pieces) = &mut self.stage {
            pieces.arrived(ticket, piece);
        }
    }

    /// Notes a piece that is here and verified; returns the requests that are not needed any more.
    pub(super) fn verified(&mut self, piece: u64) -> Vec<Ticket> {
        match &mut self.stage {
            Stage::Unproven { .. } => Vec::new(),
            Stage::Proven(pieces) => pieces.verified(piece),
        }
    }
}

/// Pieces that sources have given to others.
#[derive(Debug, Default)]
struct Elsewhere {
    until: BTreeMap<u64, Instant>,
    order: VecDeque<(Instant, u64)>,
}

impl Elsewhere {
    fn note(&mut self, piece: u64, now: Instant) {
        if self.order.len() == MAX_ELSEWHERE {
            self.drop_first();
        }
        let until = now + ELSEWHERE;
        self.until.insert(piece, until);
        self.order.push_back((until, piece));
    }

    fn contains(&self, piece: u64) -> bool {
        self.until.contains_key(&piece)
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.drop_first();
        }
    }

    fn next(&self) -> Option<Instant> {
        self.order.front().map(|(until, _)| *until)
    }

    fn drop_first(&mut self) {
        if let Some((until, piece)) = self.order.pop_front()
            && self.until.get(&piece) == Some(&until)
        {
            self.until.remove(&piece);
        }
    }
}

/// What there is to ask a source for that is spared.
struct Deal<'a> {
    pieces: &'a Pieces,
    has: &'a PieceSet,
    elsewhere: &'a Elsewhere,
}

impl Deal<'_> {
    /// The next piece: one of ours that nobody has, or, now and then, the rarest.
    fn next(&self, crowd: &mut Crowd, is_served: bool, now: Instant, random: &mut Random) -> Option<u64> {
        let may = |piece| !self.elsewhere.contains(piece);
        if !is_served && crowd.may_have_ours(now) {
            match self.pieces.ours(self.has, crowd, random, may) {
                Some(piece) => return Some(piece),
                None => crowd.has_none(now),
            }
        }
        if !crowd.may_ask_extra(now, self.pieces.is_idle()) {
            return None;
        }
        let piece = self.pieces.rarest(self.has, random, may);
        if piece.is_some() {
            crowd.asked_extra(now);
        }
        piece
    }
}

/// Many peers are asked less often each, so that the questions of all stay few.
fn poll_pause(peers: usize) -> Duration {
    let peers = u32::try_from(peers).unwrap_or(u32::MAX);
    POLL_PAUSE
        .saturating_mul(peers)
        .clamp(MIN_POLL_PAUSE, MAX_POLL_PAUSE)
}
