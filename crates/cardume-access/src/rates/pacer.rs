//! Who may go next.
use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

use libp2p_identity::PeerId;

use super::{Budgets, Class, bucket::Bucket};

/// Peers remembered before those without a debt are forgotten.
const MANY_LANES: usize = 256;
/// Bytes that a peer held back by a limit of its own may be ahead of others once that limit goes.
const MAX_LEAD: u64 = 1 << 20;

/// Hands out the budgets of one direction, chunk by chunk: what is first in line of the peer that has had
/// the least, among peers whose own budgets are not spent.
///
/// `T` is what waits: a sender that wakes it, or a number.
#[derive(Debug)]
pub struct Pacer<T> {
    budgets: Budgets,
    total: Bucket,
    classes: [Bucket; 3],
    lanes: HashMap<(PeerId, Class), Lane<T>>,
    /// Where the peers that share the line have come to, in bytes.
    round: u64,
}

#[derive(Debug)]
struct Lane<T> {
    bucket: Bucket,
    /// Bytes it has had, in the count of [`Pacer::round`]: who was away joins where the others are.
    served: u64,
    waiting: VecDeque<(T, u64)>,
}

impl<T> Pacer<T> {
    /// Starts with nothing spent.
    pub fn new(budgets: Budgets) -> Self {
        Self {
            budgets,
            total: Bucket::new(budgets.total()),
            classes: Class::ALL.map(|class| Bucket::new(budgets.class(class))),
            lanes: HashMap::new(),
            round: 0,
        }
    }

    /// Goes on with other budgets. Who waits keeps its place.
    pub fn set(&mut self, budgets: Budgets, now: Instant) {
        self.budgets = budgets;
        self.total.set(budgets.total(), now);
        for class in Class::ALL {
            self.classes[class as usize].set(budgets.class(class), now);
        }
        for ((_, class), lane) in &mut self.lanes {
            lane.bucket.set(budgets.per_peer(*class), now);
        }
    }

    /// Returns the budgets that hold.
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Takes a place in the line of `peer` for `bytes` bytes, which should be [`Budgets::chunk`] or less.
    pub fn ask(&mut self, peer: PeerId, class: Class, bytes: u64, ticket: T, now: Instant) {
        if self.lanes.len() >= MANY_LANES {
            self.lanes
                .retain(|_, lane| !lane.waiting.is_empty() || !lane.bucket.is_open(now));
        }
        let lane = self.lanes.entry((peer, class)).or_insert_with(|| Lane {
            bucket: Bucket::new(self.budgets.per_peer(class)),
            served: 0,
            waiting: VecDeque::new(),
        });
        if lane.waiting.is_empty() {
            lane.served = lane.served.max(self.round);
        }
        lane.waiting.push_back((ticket, bytes));
    }

    /// Takes out who may go now, and its bytes from the budgets; `None` when nobody may.
    ///
    /// Tickets that are not `wanted` any more are thrown away and cost nothing.
    pub fn grant(&mut self, now: Instant, wanted: impl Fn(&T) -> bool) -> Option<T> {
        while self.total.is_open(now) {
            let classes = &self.classes;
            let (key, lane) = self
                .lanes
                .iter_mut()
                .filter(|((_, class), lane)| {
                    !lane.waiting.is_empty()
                        && classes[*class as usize].is_open(now)
                        && lane.bucket.is_open(now)
                })
                .min_by_key(|(_, lane)| lane.served)?;
            let (ticket, bytes) = lane.waiting.pop_front()?;
            if !wanted(&ticket) {
                continue;
            }
            lane.bucket.take(bytes, now);
            let class = key.1;
            let served = lane.served.max(self.round.saturating_sub(MAX_LEAD));
            lane.served = served.saturating_add(bytes);
            self.round = self.round.max(served);
            self.classes[class as usize].take(bytes, now);
            self.total.take(bytes, now);
            return Some(ticket);
        }
        None
    }

    /// Returns when [`grant`](Self::grant) may give something again, not before `now`; `None` when nobody waits.
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let waiting = self.lanes.iter().filter(|(_, lane)| !lane.waiting.is_empty());
        let opens = waiting.map(|((_, class), lane)| {
            // No instant is now, and less than any.
            let own = self.classes[*class as usize].opens().max(lane.bucket.opens());
            self.total.opens().max(own)
        });
        opens.min().map(|opens| opens.map_or(now, |opens| opens.max(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rates::Rates;

    #[test]
    fn strangers_that_come_and_go_are_forgotten() {
        let start = Instant::now();
        let mut pacer = Pacer::new(Rates::default().upload());
        for second in 0..10_000 {
            let now = start + Duration::from_secs(second);
            pacer.ask(PeerId::random(), Class::Wan, 1, second, now);
            assert_eq!(pacer.grant(now, |_| true), Some(second));
            assert!(pacer.lanes.len() <= MANY_LANES);
        }
    }
}
