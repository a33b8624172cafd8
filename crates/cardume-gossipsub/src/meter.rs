//! How much comes from one side, held against a limit.
use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

/// How long somebody may go on above its rate after a pause: messages come in bursts.
const BURST: Duration = Duration::from_secs(2);

/// A rate of messages, and of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Messages a second.
    pub(crate) messages: u32,
    /// Bytes a second.
    pub(crate) bytes: u64,
}

impl Rate {
    /// The time that one message takes up.
    fn cost(self, bytes: usize) -> Duration {
        let by_count = 1.0 / f64::from(self.messages.max(1));
        let by_size = bytes as f64 / self.bytes.max(1) as f64;
        Duration::from_secs_f64(by_count.max(by_size))
    }
}

/// What one side has sent, as the instant at which all of it is within the rate (a generic cell rate algorithm).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Meter(Option<Instant>);

impl Meter {
    /// Takes a message of so many bytes, unless that is more than the rate allows.
    pub(crate) fn take(&mut self, rate: Rate, bytes: usize, now: Instant) -> bool {
        let until = self.0.map_or(now, |until| until.max(now)) + rate.cost(bytes);
        let is_within = until <= now + BURST;
        if is_within {
            self.0 = Some(until);
        }
        is_within
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.0.is_none_or(|until| until <= now)
    }
}

/// A meter for each of many, a bounded number of them at the same time.
#[derive(Debug)]
pub(crate) struct Meters<K> {
    of: HashMap<K, Meter>,
    max: usize,
}

impl<K: Hash + Eq> Meters<K> {
    /// Meters for at most `max` sides that are not idle.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            of: HashMap::new(),
            max,
        }
    }

    /// Takes a message from one side, unless that is more than the rate allows or too many sides are sending.
    pub(crate) fn take(&mut self, side: K, rate: Rate, bytes: usize, now: Instant) -> bool {
        if self.of.len() >= self.max && !self.of.contains_key(&side) {
            self.sweep(now);
            if self.of.len() >= self.max {
                return false;
            }
        }
        self.of.entry(side).or_default().take(rate, bytes, now)
    }

    /// Forgets who is idle.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.of.retain(|_, meter| !meter.is_idle(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        messages: 10,
        bytes: 10_000,
    };

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let taken = |meter: &mut Meter, now| (0..100).filter(|_| meter.take(RATE, 1, now)).count();
        assert_eq!(taken(&mut meter, start), 20);
        assert_eq!(taken(&mut meter, start + Duration::from_secs(1)), 10);
        assert_eq!(taken(&mut meter, start + Duration::from_secs(60)), 20);
    }

    #[test]
    fn large_messages_count_by_their_bytes() {
        let now = Instant::now();
        let mut meter = Meter::default();
        assert_eq!((0..100).filter(|_| meter.take(RATE, 5_000, now)).count(), 4);
    }

    #[test]
    fn authors_made_up_by_the_thousand_find_no_room_and_the_room_comes_back() {
        let start = Instant::now();
        let mut meters = Meters::new(100);
        let taken = (0..10_000)
            .filter(|author| meters.take(*author, RATE, 1, start))
            .count();
        assert_eq!(taken, 100);
        assert!(meters.take(20_000, RATE, 1, start + Duration::from_secs(1)));
    }
}
