//! One stream's bytes, credit and ends.
use std::{
    task::Waker,
    time::{Duration, Instant},
};

use super::chunks::{Chunks, Pool};

/// Unread bytes that each stream may have from the start, by the specification.
pub(super) const CREDIT: u32 = 256 * 1024;
/// Unread bytes of one stream, at most.
const MOST: u32 = 16 * 1024 * 1024;
/// A window of which half is read within this time is too small for its line, and is doubled.
const BRISK: Duration = Duration::from_millis(200);

/// What all streams of a connection may have unread beyond what each has from the start.
#[derive(Debug)]
pub(super) struct Spare(pub(super) u32);

impl Spare {
    /// Takes up to `wanted`.
    pub(super) fn take(&mut self, wanted: u32) -> u32 {
        let taken = wanted.min(self.0);
        self.0 -= taken;
        taken
    }
}

/// One stream as its connection knows it.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) chunks: Chunks,
    /// Bytes that the peer may still send.
    receive: u32,
    /// Bytes read since the peer was last given more.
    read: u32,
    /// What it may have unread, at most.
    window: u32,
    /// When it was last given more.
    given: Instant,
    /// Bytes that we may still send.
    pub(super) send: u32,
    /// Neither we nor the peer have ended it by force.
    pub(super) is_whole: bool,
    /// The peer may send more.
    pub(super) is_coming: bool,
    /// We may send more.
    pub(super) is_going: bool,
    /// Flags of our next frame.
    pub(super) flags: u16,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Flow {
    pub(super) fn new(pool: Pool, send: u32, extra: u32, flags: u16) -> Self {
        Self {
            chunks: Chunks::new(pool),
            receive: CREDIT + extra,
            read: 0,
            window: CREDIT + extra,
            given: Instant::now(),
            send,
            is_whole: true,
            is_coming: true,
            is_going: true,
            flags,
            reader: None,
            writer: None,
        }
    }

    /// Counts bytes that come; false if they are more than may.
    pub(super) fn receives(&mut self, bytes: u32) -> bool {
        match self.receive.checked_sub(bytes) {
            Some(left) => {
                self.receive = left;
                true
            }
            None => false,
        }
    }

    /// Counts bytes that were read; returns what the peer may send more, once that is worth a frame.
    pub(super) fn reads(&mut self, bytes: usize, spare: &mut Spare) -> Option<u32> {
        self.read += bytes as u32;
        if self.read < self.window / 2 || !self.is_coming {
            return None;
        }
        let now = Instant::now();
        let mut more = self.read;
        if now.duration_since(self.given) < BRISK {
            let grown = spare.take(self.window.min(MOST.saturating_sub(self.window)));
            self.window += grown;
            more += grown;
        }
        self.given = now;
        self.read = 0;
        self.receive += more;
        Some(more)
    }

    /// What it took of the spare window.
    pub(super) fn extra(&self) -> u32 {
        self.window - CREDIT
    }

    /// Ends it by force.
    pub(super) fn cut(&mut self) {
        (self.is_whole, self.is_coming, self.is_going) = (false, false, false);
        self.wake();
    }

    /// Has both ends look again.
    pub(super) fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_that_is_used_up_fast_grows_as_far_as_there_is_room() {
        let mut spare = Spare(600_000);
        let mut flow = Flow::new(Pool::default(), CREDIT, 0, 0);
        assert!(flow.receives(CREDIT) && !flow.receives(1));
        assert_eq!(flow.reads(1000, &mut spare), None);
        assert_eq!(flow.reads(CREDIT as usize - 1000, &mut spare), Some(2 * CREDIT));
        assert!(flow.receives(2 * CREDIT) && !flow.receives(1));
        let left = 600_000 - CREDIT;
        assert_eq!(
            flow.reads(2 * CREDIT as usize, &mut spare),
            Some(2 * CREDIT + left)
        );
        assert_eq!((spare.0, flow.extra()), (0, 600_000));
    }

    #[test]
    fn a_window_that_is_used_up_slowly_stays() {
        let mut spare = Spare(600_000);
        let mut flow = Flow::new(Pool::default(), CREDIT, 0, 0);
        flow.given = Instant::now().checked_sub(BRISK).unwrap();
        assert!(flow.receives(CREDIT));
        assert_eq!(flow.reads(CREDIT as usize, &mut spare), Some(CREDIT));
        assert_eq!(spare.0, 600_000);
    }
}
