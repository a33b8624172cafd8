//! What may come through relays: little. Their owners give it, and it is slow.
use std::time::{Duration, Instant};

use cardume_transfer::Handle;

use crate::{Config, FetchError, schedule::Schedule};

/// Time between two looks at whether a direct path has opened.
pub(super) const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// What has come through relays, and since when everybody waits for another way.
pub(super) struct Relayed {
    max: cardume_units::Size,
    patience: Duration,
    received: u64,
    /// Whether a peer was behind a relay when this was looked at last.
    was_any: bool,
    since: Option<Instant>,
}

impl Relayed {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            max: config.max_relayed,
            patience: config.direct_timeout.get(),
            received: 0,
            was_any: false,
            since: None,
        }
    }

    /// Notes what an answer has brought through a relay.
    pub(super) const fn received(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
    }

    /// Keeps requests for content from relays when more is `left` than may come through them.
    pub(super) fn bar(&mut self, schedule: &mut Schedule, transfer: &Handle, left: u64) {
        let max = self.max.get();
        // Proofs and descriptions of directories come on top.
        let is_too_much = left.saturating_add(self.received) > max.saturating_add(max / 8);
        let is_any = is_too_much && transfer.has_relayed();
        // Nobody is held up by looking at every peer of a crowd for what is rare.
        if is_any || self.was_any {
            schedule.bar(|peer| is_any && transfer.is_relayed(peer));
        }
        self.was_any = is_any;
        if !(is_any && schedule.is_barred()) {
            self.since = None;
        } else if self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// Whether every source is behind a relay and has more than may come through it.
    pub(super) const fn waits(&self) -> bool {
        self.since.is_some()
    }

    /// When to give up waiting for a direct path.
    pub(super) fn end(&self) -> Option<Instant> {
        self.since?.checked_add(self.patience)
    }

    pub(super) fn reason(&self) -> FetchError {
        FetchError::Limit(format!(
            "who has it is reached through a relay only, which is to carry {} of a fetch at most \
             (exchange.max_relayed), and no direct path has opened",
            self.max
        ))
    }
}
