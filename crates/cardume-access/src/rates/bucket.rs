//! One budget and how much of it is spent.
use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

/// Length of the burst after a pause.
const BURST: Duration = Duration::from_millis(50);
/// Time that may be made up for while bytes keep coming: what a late timer loses on a busy machine. Whoever takes
/// nothing for longer has paused.
const LATE: Duration = Duration::from_millis(250);
/// A debt is never longer, so that no sum of instants overflows.
const MAX_DEBT: u64 = 24 * 3600 * 1_000_000_000;

/// A token bucket, held as the instant at which what was taken will be paid for.
///
/// It lends: whoever comes while it is open takes all it asks for, and it stays closed until that is paid.
/// So no chunk is too large for it, and nothing is lost by rounding.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    rate: Option<NonZeroU64>,
    free: Option<Instant>,
    /// When something was taken last.
    taken: Option<Instant>,
}

impl Bucket {
    pub(super) const fn new(rate: Option<NonZeroU64>) -> Self {
        Self {
            rate,
            free: None,
            taken: None,
        }
    }

    /// When something may be taken again; `None` is now.
    pub(super) const fn opens(&self) -> Option<Instant> {
        self.free
    }

    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.free.is_none_or(|free| free <= now)
    }

    pub(super) fn take(&mut self, bytes: u64, now: Instant) {
        let Some(rate) = self.rate else { return };
        let has_paused = self
            .taken
            .is_none_or(|taken| now.saturating_duration_since(taken) > LATE);
        let credit = if has_paused { BURST } else { LATE };
        let earliest = now.checked_sub(credit).unwrap_or(now);
        self.taken = Some(now);
        let paid = self.free.map_or(earliest, |free| free.max(earliest));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        let debt = u64::try_from(nanos).unwrap_or(u64::MAX).min(MAX_DEBT);
        self.free = Some(paid + Duration::from_nanos(debt));
    }

    /// Goes on at another rate; bytes not yet paid for are paid for at the new one.
    pub(super) fn set(&mut self, rate: Option<NonZeroU64>, now: Instant) {
        let Some(old) = std::mem::replace(&mut self.rate, rate) else {
            return;
        };
        let Some(new) = rate else {
            self.free = None;
            return;
        };
        if let Some(debt) = self.free.and_then(|free| free.checked_duration_since(now)) {
            let nanos = debt.as_nanos() * u128::from(old.get()) / u128::from(new.get());
            let nanos = u64::try_from(nanos).unwrap_or(u64::MAX).min(MAX_DEBT);
            self.free = Some(now + Duration::from_nanos(nanos));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_without_a_limit_is_always_open() {
        let now = Instant::now();
        let mut bucket = Bucket::new(None);
        bucket.take(u64::MAX, now);
        assert!(bucket.is_open(now));
    }

    #[test]
    fn a_pause_earns_less_than_lateness() {
        let start = Instant::now();
        let left = |pause: Duration| {
            let mut bucket = Bucket::new(NonZeroU64::new(1_000));
            bucket.take(50, start);
            let now = start + pause;
            let mut taken = 0;
            while bucket.is_open(now) {
                bucket.take(1, now);
                taken += 1;
            }
            taken
        };
        assert_eq!(left(Duration::from_millis(200)), 201);
        assert_eq!(left(Duration::from_secs(2)), 51);
    }

    #[test]
    fn a_debt_is_paid_at_the_rate_that_holds() {
        let now = Instant::now();
        let mut bucket = Bucket::new(NonZeroU64::new(1_000));
        bucket.take(50, now);
        bucket.take(1_000, now);
        assert_eq!(bucket.opens(), Some(now + Duration::from_secs(1)));
        bucket.set(NonZeroU64::new(10_000), now);
        assert_eq!(bucket.opens(), Some(now + Duration::from_millis(100)));
        bucket.set(None, now);
        assert!(bucket.is_open(now));
    }

    #[test]
    fn no_amount_overflows() {
        let now = Instant::now();
        let mut bucket = Bucket::new(NonZeroU64::new(1));
        for _ in 0..3 {
            bucket.take(u64::MAX, now);
        }
        bucket.set(NonZeroU64::new(1), now);
        assert!(!bucket.is_open(now));
    }
}
