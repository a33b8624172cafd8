//! The pieces of a blob whose size is proven: here, on their way, or open.
use std::{collections::BTreeMap, ops::Range};

use cardume_content::PieceSet;

use super::{
    Random, Ticket,
    crowd::{Crowd, Turn},
};

/// Open pieces looked at for one choice: the rarest of a random sample is rare enough, and cheap to find.
const SAMPLE: usize = 128;
/// Open pieces looked at for one that is ours to ask the source for; ours are one in as many as there are fetchers.
const SEARCH: usize = 2_048;
/// An owner with fewer of the pieces that would be ours next is left to bring them itself: it has asked for them.
const MANY_LEFT: usize = 2;
/// Requests for one piece at once, in the end game.
const MAX_COPIES: usize = 2;

/// Where each piece is.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) size: u64,
    held: PieceSet,
    /// Neither here nor on their way.
    open: PieceSet,
    /// On their way or being verified.
    asked: BTreeMap<u64, Asked>,
    /// How many peers that do not have everything have each.
    counts: Vec<u16>,
}

/// Requests for one piece.
#[derive(Debug, Default)]
struct Asked {
    live: Vec<Ticket>,
    /// Overdue: others are asked, but a late answer still counts.
    late: Vec<Ticket>,
}

impl Pieces {
    pub(super) fn new(size: u64, held: PieceSet) -> Self {
        let mut open = PieceSet::empty(held.len());
        held.iter_missing().for_each(|piece| {
            open.insert(piece);
        });
        Self {
            size,
            counts: vec![0; usize::try_from(held.len()).unwrap_or(0)],
            held,
            open,
            asked: BTreeMap::new(),
        }
    }

    // -- who has them

    /// Takes in what a peer has now instead of what it had. Those who have everything are not counted.
    pub(super) fn recount(&mut self, old: Option<&PieceSet>, new: Option<&PieceSet>) {
        let none = PieceSet::empty(0);
        let old = old.filter(|set| !set.is_full()).unwrap_or(&none);
        let new = new.filter(|set| !set.is_full()).unwrap_or(&none);
        for piece in new.iter_beyond(old) {
            self.change(piece, |count| count.saturating_add(1));
        }
        for piece in old.iter_beyond(new) {
            self.change(piece, |count| count.saturating_sub(1));
        }
    }

    fn change(&mut self, piece: u64, change: impl Fn(u16) -> u16) {
        let place = usize::try_from(piece).ok().and_then(|at| self.counts.get_mut(at));
        if let Some(count) = place {
            *count = change(*count);
        }
    }

    fn count(&self, piece: u64) -> u16 {
        let place = usize::try_from(piece).ok().and_then(|at| self.counts.get(at));
        place.copied().unwrap_or(0)
    }

    // -- which to ask for

    /// The first piece of `focus` that nobody has been asked for and that is in `has`.
    pub(super) fn first_in(&self, focus: Range<u64>, has: &PieceSet) -> Option<u64> {
        let end = focus.end.min(self.held.len());
        (focus.start..end).find(|piece| self.open.contains(*piece) && has.contains(*piece))
    }

    /// The open piece that the fewest peers have, of those in `has`; a random one of equals.
    pub(super) fn rarest(
        &self,
        has: &PieceSet,
        random: &mut Random,
        may: impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let start = random.below(self.held.len());
        let mine = self.open.iter_shared(has, start).take(SAMPLE);
        let mine = mine.filter(|piece| may(*piece));
        mine.min_by_key(|piece| self.count(*piece))
    }

    /// An open piece in `has` that no fetcher has, for us to bring to the others: the first that is ours; when there is
    /// none, the last of an owner who has many left.
    pub(super) fn ours(
        &self,
        has: &PieceSet,
        crowd: &Crowd,
        random: &mut Random,
        may: impl Fn(u64) -> bool,
    ) -> Option<u64> {
        let is_long = self.open.count() > SEARCH as u64;
        let from = if is_long { random.below(self.held.len()) } else { 0 };
        let open = self.open.iter_shared(has, from);
        let mut left: BTreeMap<u32, (usize, u64)> = BTreeMap::new();
        let fresh = |piece: &u64| self.count(*piece) == 0 && may(*piece);
        for piece in open.filter(fresh).take(SEARCH) {
            match crowd.turn(piece) {
                Turn::Ours => return Some(piece),
                Turn::Next { owner } => {
                    let (count, last) = left.entry(owner).or_default();
                    *count += 1;
                    *last = piece;
                }
                Turn::Others => {}
            }
        }
        let (count, last) = left.into_values().max()?;
        (count >= MANY_LEFT).then_some(last)
    }

    /// Pieces that one request is out for, with those that are late: another may bring them as well.
    pub(super) fn asked_once(&self) -> impl Iterator<Item = (u64, Vec<Ticket>)> {
        let once = |asked: &Asked| (1..MAX_COPIES).contains(&asked.live.len());
        let all = |asked: &Asked| asked.live.iter().chain(&asked.late).copied().collect();
        let asked = self.asked.iter().filter(move |(_, asked)| once(asked));
        asked.map(move |(piece, asked)| (*piece, all(asked)))
    }

    /// Whether every missing piece is on its way.
    pub(super) fn is_all_asked(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether nothing is on its way.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    // -- what becomes of them

    pub(super) fn asked(&mut self, ticket: Ticket, piece: u64) {
        self.open.remove(piece);
        self.asked.entry(piece).or_default().live.push(ticket);
    }

    /// Forgets a request; its piece is open again unless somebody else brings it. Whether it is.
    pub(super) fn unasked(&mut self, ticket: Ticket, piece: u64) -> bool {
        let Some(asked) = self.asked.get_mut(&piece) else {
            return false;
        };
        asked.live.retain(|other| *other != ticket);
        asked.late.retain(|other| *other != ticket);
        let (is_live, is_late) = (!asked.live.is_empty(), !asked.late.is_empty());
        if !is_live && !is_late {
            self.asked.remove(&piece);
        }
        if !is_live {
            self.reopen(piece);
        }
        !is_live
    }

    /// Lets others be asked for a piece whose answer is overdue; a late answer still counts.
    pub(super) fn overdue(&mut self, ticket: Ticket, piece: u64) {
        let Some(asked) = self.asked.get_mut(&piece) else {
            return;
        };
        asked.live.retain(|other| *other != ticket);
        asked.late.push(ticket);
        if asked.live.is_empty() {
            self.reopen(piece);
        }
    }

    /// Notes that the answer to a request is here and being verified: nobody else need be asked.
    pub(super) fn arrived(&mut self, ticket: Ticket, piece: u64) {
        if let Some(asked) = self.asked.get_mut(&piece)
            && let Some(at) = asked.late.iter().position(|late| *late == ticket)
        {
            asked.live.push(asked.late.swap_remove(at));
            self.open.remove(piece);
        }
    }

    /// Notes a piece that is here and verified; returns the requests that are not needed any more.
    pub(super) fn verified(&mut self, piece: u64) -> Vec<Ticket> {
        self.held.insert(piece);
        self.open.remove(piece);
        let asked = self.asked.remove(&piece).unwrap_or_default();
        asked.live.into_iter().chain(asked.late).collect()
    }

    fn reopen(&mut self, piece: u64) {
        if !self.held.contains(piece) {
            self.open.insert(piece);
        }
    }
}
