//! When a download gives up.
use std::time::{Duration, Instant};

use super::Download;
use crate::{Config, FetchError};

/// A download with requests out counts as stuck only after this much longer.
const IN_FLIGHT_GRACE: Duration = Duration::from_secs(60);

/// How long a download hopes for what.
pub(super) struct Hope {
    /// What its user said, if anything.
    deadline: Option<Duration>,
    /// For somebody who has it.
    find: Duration,
    /// For a source to come back, once something has come.
    lost: Duration,
    /// For anybody else, once every source has failed for good.
    give_up: Duration,
    /// When something last went forward.
    moved: Instant,
    /// Since when every source has failed for good.
    forsaken: Option<Instant>,
}

impl Hope {
    pub(super) fn new(config: &Config, deadline: Option<Duration>) -> Self {
        let find = deadline.unwrap_or_else(|| config.find_timeout.get());
        Self {
            deadline,
            find,
            lost: find.max(config.lost_timeout.get()),
            give_up: config.give_up_after.get(),
            moved: Instant::now(),
            forsaken: None,
        }
    }

    /// Notes that something has gone forward.
    pub(super) fn moved(&mut self, now: Instant) {
        self.moved = now;
        self.forsaken = None;
    }

    /// Notes that there is another source.
    pub(super) const fn found(&mut self) {
        self.forsaken = None;
    }

    /// Whether nothing has gone forward for so long.
    pub(super) fn stands_still(&self, now: Instant, pause: Duration) -> bool {
        now.saturating_duration_since(self.moved) >= pause
    }

    /// How long anybody else is looked for; a lie is told soon, whatever the deadline.
    fn forsaken_for(&self, lied: bool) -> Duration {
        match self.deadline {
            Some(deadline) if lied => deadline.min(self.give_up),
            Some(deadline) => deadline,
            None => self.give_up,
        }
    }
}

impl Download {
    /// When to give up if nothing moves; an error if that is now.
    pub(super) fn end(&mut self, now: Instant) -> Result<Instant, FetchError> {
        let is_alone = self.schedule.peer_count() == 0;
        let is_refused = self.schedule.is_refused();
        self.tally
            .looking((is_alone || is_refused) && !self.web.is_reading());
        if !self.checks.is_empty() || self.web.is_active(now) {
            return Ok(now + Duration::from_secs(1));
        }
        let end = match self.forsaken(now, is_alone, is_refused) {
            Some(since) => since.checked_add(self.hope.forsaken_for(self.schedule.has_banned())),
            None if self.waits_for_a_path() => self.relayed.end(),
            None => self.stuck(is_alone),
        };
        let end = end.unwrap_or_else(|| now + Duration::from_secs(86_400));
        if now < end {
            return Ok(end.max(now + Duration::from_millis(10)));
        }
        Err(self.reason(is_refused))
    }

    /// Since when every source has failed for good, if so: lied, said no after it said yes, or, being named by the
    /// user, could not be asked.
    fn forsaken(&mut self, now: Instant, is_alone: bool, is_refused: bool) -> Option<Instant> {
        let failed =
            || self.schedule.has_banned() || self.sources.named_failed() || self.web.failure().is_some();
        if !(is_refused || (is_alone && failed())) {
            self.hope.forsaken = None;
        } else if self.hope.forsaken.is_none() && self.sources.is_exhausted() {
            self.hope.forsaken = Some(now);
        }
        self.hope.forsaken
    }

    /// Whether nothing more comes unless a direct path opens.
    fn waits_for_a_path(&self) -> bool {
        self.relayed.waits() && self.schedule.in_flight() == 0
    }

    /// When a download is given up of which nothing is known but that nothing comes.
    fn stuck(&self, is_alone: bool) -> Option<Instant> {
        let hope = &self.hope;
        let is_moving = self.tally.fetched_bytes() > 0;
        let patience = if is_moving { hope.lost } else { hope.find };
        let grace = if is_alone || self.requests.is_empty() {
            Duration::ZERO
        } else {
            IN_FLIGHT_GRACE
        };
        hope.moved.checked_add(patience.saturating_add(grace))
    }

    fn reason(&self, is_refused: bool) -> FetchError {
        let cid = self.root;
        if let Some((reason, is_wrong)) = self.web.failure() {
            FetchError::Origin {
                cid,
                reason,
                is_wrong,
            }
        } else if self.schedule.has_banned() {
            FetchError::Corrupt
        } else if self.relayed.waits() {
            self.relayed.reason()
        } else if self.sources.was_denied() {
            FetchError::Denied(format!("peers have {cid} and do not give it to this node"))
        } else if is_refused {
            FetchError::Gone { cid }
        } else {
            FetchError::NotFound { cid }
        }
    }
}
