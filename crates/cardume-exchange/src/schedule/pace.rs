//! How much is asked of all peers together.
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::peer::QUEUE;

/// Answers that a rate is worked out from.
const ANSWERS: usize = 16;
/// Peers up to which each one's own window is enough.
const FEW: usize = 4;
/// Requests beyond what rate and delay need: these find out whether there could be more.
const BEYOND: usize = 3;

/// What comes from all peers, and how soon.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When they came, and how long they took.
    answers: VecDeque<(Instant, Duration)>,
    /// What the faster half of them took.
    usual: Option<Duration>,
    /// What an answer needs if nothing is queued, over the peers that answer.
    least: Option<Duration>,
}

impl Pace {
    /// Notes an answer that took `delay`, of a peer that needs `least` at best.
    pub(super) fn answered(&mut self, now: Instant, delay: Duration, least: Duration) {
        if self.answers.len() == ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back((now, delay));
        let mut delays: Vec<Duration> = self.answers.iter().map(|(_, delay)| *delay).collect();
        delays.sort_unstable();
        self.usual = delays.get(delays.len().saturating_sub(1) / 2).copied();
        self.least = Some(self.least.map_or(least, |old| (old * 7 + least) / 8));
    }

    /// What the faster half of the last answers needed.
    pub(super) const fn usual(&self) -> Option<Duration> {
        self.usual
    }

    /// Requests that keep our link full; with many peers more only queues at them, in the way of others' requests.
    ///
    /// The windows of peers say the same of each of them, but are one at least: with many peers that is too much.
    pub(super) fn window(&self, peers: usize, most: usize) -> usize {
        let (Some((first, _)), Some((last, _)), Some(least)) =
            (self.answers.front(), self.answers.back(), self.least)
        else {
            return most;
        };
        if self.answers.len() < ANSWERS || peers <= FEW {
            return most;
        }
        let time = last
            .saturating_duration_since(*first)
            .max(Duration::from_millis(1));
        let rate = (ANSWERS - 1) as f64 / time.as_secs_f64();
        let aim = rate * (least.mul_f64(1.25) + QUEUE).as_secs_f64();
        (aim as usize).saturating_add(BEYOND).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_of_many_follows_rate_and_delay() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.window(100, 32), 32, "nothing is known yet");
        for number in 0..ANSWERS as u32 {
            let least = Duration::from_millis(80);
            pace.answered(start + Duration::from_millis(100) * number, least * 2, least);
        }
        assert_eq!(pace.window(100, 32), 2 + BEYOND);
        assert_eq!(pace.window(FEW, 32), 32, "each has a window of its own");
    }
}
