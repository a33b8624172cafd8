//! How many requests there are: for downloads, which share the room for them, and for who looks at the node.
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Requests of this node and of its peers, now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests for content that downloads may have on their way: the windows of their peers, as far as the limits of
    /// each download leave room for them.
    pub window: usize,
    /// Those that are on their way. More than the window for a moment, when that has just become smaller.
    pub in_flight: usize,
    /// Requests of peers being answered, or waiting for room to be.
    pub answering: usize,
    /// Requests of peers that are answered when there is something new.
    pub waiting: usize,
}

/// The same, as it changes.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    window: AtomicUsize,
    in_flight: AtomicUsize,
    answering: AtomicUsize,
    waiting: AtomicUsize,
}

impl Counted {
    pub(crate) fn now(&self) -> Load {
        let value = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Load {
            window: value(&self.window),
            in_flight: value(&self.in_flight),
            answering: value(&self.answering),
            waiting: value(&self.waiting),
        }
    }

    /// Notes how many requests of peers there are.
    pub(crate) fn set_inbound(&self, answering: usize, waiting: usize) {
        self.answering.store(answering, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}

/// What one download has of it; taken back when dropped.
pub(crate) struct Part {
    all: Arc<Counted>,
    window: usize,
    in_flight: usize,
}

impl Part {
    pub(crate) const fn of(all: Arc<Counted>) -> Self {
        Self {
            all,
            window: 0,
            in_flight: 0,
        }
    }

    /// Requests on their way for the other downloads.
    pub(crate) fn others(&self) -> usize {
        let all = self.all.in_flight.load(Ordering::Relaxed);
        all.saturating_sub(self.in_flight)
    }

    /// Tells the others, and who looks, how many requests this download may have and has.
    pub(crate) fn set(&mut self, window: usize, in_flight: usize) {
        change(&self.all.window, &mut self.window, window);
        change(&self.all.in_flight, &mut self.in_flight, in_flight);
    }
}

/// Added first: what is seen between the two is too much, and never less than nothing.
fn change(all: &AtomicUsize, own: &mut usize, now: usize) {
    all.fetch_add(now, Ordering::Relaxed);
    all.fetch_sub(std::mem::replace(own, now), Ordering::Relaxed);
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_are_gone_when_they_are_dropped() {
        let all = Arc::<Counted>::default();
        let (mut one, mut other) = (Part::of(all.clone()), Part::of(all.clone()));
        one.set(12, 5);
        other.set(4, 4);
        one.set(10, 6);
        assert_eq!((one.others(), other.others()), (4, 6));
        all.set_inbound(3, 1);
        let expected = Load {
            window: 14,
            in_flight: 10,
            answering: 3,
            waiting: 1,
        };
        assert_eq!(all.now(), expected);
        all.set_inbound(0, 0);
        drop((one, other));
        assert_eq!(all.now(), Load::default());
    }
}
