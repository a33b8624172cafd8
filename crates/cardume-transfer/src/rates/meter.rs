//! How fast bytes go just now.
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Length of one slot.
const SLOT: Duration = Duration::from_millis(250);
/// Whole slots that are looked back at.
const SLOTS: usize = 8;

/// Bytes of the last two seconds.
#[derive(Debug)]
pub(super) struct Meter {
    start: Instant,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    /// Number of the slot that is being filled.
    current: u64,
    /// Whole slots and the current one, each at its number modulo their count.
    slots: [u64; SLOTS + 1],
}

impl Meter {
    pub(super) fn new(start: Instant) -> Self {
        Self {
            start,
            recent: Mutex::default(),
        }
    }

    pub(super) fn add(&self, bytes: u64, now: Instant) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.move_to(self.slot(now));
        let current = index(recent.current);
        recent.slots[current] += bytes;
    }

    /// Bytes a second over the last two seconds.
    pub(super) fn per_second(&self, now: Instant) -> u64 {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.move_to(self.slot(now));
        let whole = recent.slots.iter().sum::<u64>() - recent.slots[index(recent.current)];
        whole * 1_000 / (SLOT.as_millis() as u64 * SLOTS as u64)
    }

    fn slot(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.start);
        (passed.as_millis() / SLOT.as_millis()) as u64
    }
}

impl Recent {
    fn move_to(&mut self, slot: u64) {
        let first = self.current.max(slot.saturating_sub(SLOTS as u64 + 1)) + 1;
        for passed in first..=slot {
            self.slots[index(passed)] = 0;
        }
        self.current = self.current.max(slot);
    }
}

const fn index(slot: u64) -> usize {
    (slot % (SLOTS as u64 + 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_is_told_as_it_is_and_forgotten_after_two_seconds() {
        let start = Instant::now();
        let meter = Meter::new(start);
        for ms in 0..5_000 {
            meter.add(1_000, start + Duration::from_millis(ms));
        }
        let end = start + Duration::from_secs(5);
        assert_eq!(meter.per_second(end), 1_000_000);
        assert_eq!(meter.per_second(end + Duration::from_secs(1)), 500_000);
        assert_eq!(meter.per_second(end + Duration::from_secs(2)), 0);
        assert_eq!(meter.per_second(end + Duration::from_secs(100_000)), 0);
    }
}
