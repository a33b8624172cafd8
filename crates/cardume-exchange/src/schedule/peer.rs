//! How much one peer is asked for at once.
use std::time::{Duration, Instant};

use cardume_transfer::Backlog;

use super::{Random, ready::Stand};

/// Requests to a peer nothing is known of yet.
const FIRST_WINDOW: usize = 2;
/// Queue kept at a peer beyond what its delay needs, so that its link never runs dry between two turns of ours.
pub(super) const QUEUE: Duration = Duration::from_millis(100);
/// What our own limits need longer for than this is not asked for yet; it would fill buffers, and others may have
/// it sooner.
const AHEAD: Duration = Duration::from_millis(500);
/// Requests that go out all the same, so that one is always on its way while another begins.
pub(super) const AT_LEAST: usize = 2;
/// A request to a peer whose speed is unknown counts as stalled after this.
const FIRST_DEADLINE: Duration = Duration::from_secs(4);
/// The same of a proof, which is small, and which everything else waits for: another peer is asked after this.
const PROOF_DEADLINE: Duration = Duration::from_millis(400);
const MIN_DEADLINE: Duration = Duration::from_secs(1);
const MAX_DEADLINE: Duration = Duration::from_secs(10);
/// Pause after a failure; doubled for each in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(125);
/// Pause after a peer has sent us elsewhere; doubled for each time in a row, this often.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(5);
const ELSEWHERE_DOUBLINGS: u32 = 6;
/// Failures in a row after which a peer is left alone.
const MAX_STRIKES: u32 = 5;

/// What is known of one peer's speed and manners.
#[derive(Debug)]
pub(super) struct Peer {
    window: usize,
    /// Requests for content that it has not answered.
    in_flight: usize,
    /// Those of them that are overdue.
    overdue: usize,
    /// Questions about what it holds that it has not answered.
    pub(super) polls: usize,
    /// What our own limits need for the next request to it, and those before that.
    backlog: Backlog,
    delay: Option<Duration>,
    least_delay: Option<Duration>,
    quiet_until: Option<Instant>,
    strikes: u32,
    /// Whether it had nothing that was wanted when it was looked at last.
    pub(super) barren: bool,
    /// Where it stands among the others.
    pub(super) stand: Stand,
    /// Times in a row that it sent us elsewhere.
    sent_elsewhere: u32,
    /// Whether the way to it is not for as much as is wanted.
    pub(super) is_barred: bool,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            window: FIRST_WINDOW,
            in_flight: 0,
            overdue: 0,
            polls: 0,
            backlog: Backlog::default(),
            delay: None,
            least_delay: None,
            quiet_until: None,
            strikes: 0,
            barren: false,
            stand: Stand::Full,
            sent_elsewhere: 0,
            is_barred: false,
        }
    }

    /// Where it stands now. An overdue answer holds back everything: the peer is either stuck or slow.
    pub(super) fn stands(&self, now: Instant, max_window: usize, random: &mut Random) -> Stand {
        if let Some(until) = self.is_quiet(now) {
            return Stand::Quiet(until);
        }
        if self.overdue > 0 || self.in_flight >= self.window(max_window) {
            return Stand::Full;
        }
        if self.barren {
            return Stand::Barren;
        }
        Stand::Ready(self.in_flight, self.tie(random))
    }

    /// What decides among peers with as many requests: whoever answers sooner, by powers of two, and else chance.
    ///
    /// All that many want is at few peers first; whoever has it too and has less to do is asked instead.
    pub(super) fn tie(&self, random: &mut Random) -> u64 {
        let delay = self.delay.map_or(0, |delay| delay.as_millis().max(1).ilog2() + 1);
        u64::from(delay) << 56 | random.next() >> 8
    }

    /// Whether it may be asked for a piece that another is asked for as well.
    pub(super) fn is_free(&self, now: Instant, max_window: usize) -> bool {
        self.is_quiet(now).is_none()
            && self.overdue == 0
            && self.in_flight < self.window(max_window)
            && self.fits()
    }

    /// Whether our own limits leave room for another request to it.
    pub(super) fn fits(&self) -> bool {
        self.backlog.peer <= AHEAD || self.in_flight < AT_LEAST
    }

    /// Whether our own limits for all peers leave room for it.
    pub(super) fn is_in_time(&self) -> bool {
        self.backlog.all <= AHEAD
    }

    /// Notes what our own limits need.
    pub(super) fn hold_back(&mut self, backlog: Backlog) {
        self.backlog = backlog;
    }

    /// Until when it wants to be left alone.
    pub(super) fn is_quiet(&self, now: Instant) -> Option<Instant> {
        self.quiet_until.filter(|until| *until > now)
    }

    pub(super) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Requests that it may have.
    pub(super) fn window(&self, max_window: usize) -> usize {
        self.window.min(max_window)
    }

    /// How long it may take to answer; `usual` is what the peers of this fetch need.
    pub(super) fn deadline(&self, usual: Option<Duration>) -> Duration {
        let patience = match self.delay.or(usual) {
            Some(delay) => (delay * 4 + QUEUE * 5).clamp(MIN_DEADLINE, MAX_DEADLINE),
            None => FIRST_DEADLINE,
        };
        patience + self.held_back()
    }

    /// How long it may take to prove a size.
    pub(super) fn proof_deadline(&self) -> Duration {
        PROOF_DEADLINE + self.held_back()
    }

    /// What we hold back ourselves is not its fault.
    fn held_back(&self) -> Duration {
        self.backlog.all.max(self.backlog.peer) * 4
    }

    /// Notes a request and returns how many are on their way now.
    pub(super) fn sent(&mut self) -> usize {
        self.in_flight += 1;
        self.in_flight
    }

    /// Notes that an answer is late: it gets one request at a time from now on, and each later than the last.
    pub(super) fn overdue(&mut self, now: Instant) {
        self.overdue += 1;
        self.window = 1;
        self.pause(now);
    }

    /// Forgets a request, answered or not.
    pub(super) fn settled(&mut self, was_overdue: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if was_overdue {
            self.overdue = self.overdue.saturating_sub(1);
        }
    }

    /// Learns from an answer that took `delay` with `share` requests on their way when it was sent.
    ///
    /// By Little's law `share / delay` is its rate in requests; a window of that rate times the least
    /// delay seen keeps its link full, and anything above only queues. Returns that least delay.
    pub(super) fn answered(&mut self, delay: Duration, share: usize, max_window: usize) -> Duration {
        let delay = delay.max(Duration::from_micros(100));
        self.strikes = 0;
        self.sent_elsewhere = 0;
        self.delay = Some(self.delay.map_or(delay, |old| (old * 3 + delay) / 4));
        let least = self.least_delay.map_or(delay, |old| old.min(delay));
        self.least_delay = Some(least);
        let aim = (least.mul_f64(1.25) + QUEUE).as_secs_f64() * share as f64 / delay.as_secs_f64();
        let aim = (aim as usize).saturating_add(1).clamp(1, max_window.max(1));
        if aim > self.window {
            self.window += 1;
        } else if aim < self.window {
            self.window -= 1;
        }
        least
    }

    /// Leaves it alone until `until`, as it asked.
    pub(super) fn busy(&mut self, until: Instant) {
        self.window = (self.window / 2).max(1);
        self.quiet_until = Some(self.quiet_until.map_or(until, |old| old.max(until)));
    }

    /// Asks it a little later: it has nothing for us now, but perhaps another piece.
    pub(super) fn sent_elsewhere(&mut self, now: Instant) {
        let until = now + ELSEWHERE_PAUSE * (1 << self.sent_elsewhere.min(ELSEWHERE_DOUBLINGS));
        self.sent_elsewhere = self.sent_elsewhere.saturating_add(1);
        self.quiet_until = Some(self.quiet_until.map_or(until, |old| old.max(until)));
    }

    /// Notes a failure; whether it is still worth asking. Requests that fail together, as when their connection is
    /// closed, count once.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        if self.strikes > 0 && self.is_quiet(now).is_some() {
            return true;
        }
        self.pause(now);
        self.strikes < MAX_STRIKES
    }

    fn pause(&mut self, now: Instant) {
        self.strikes = self.strikes.saturating_add(1);
        let pause = FIRST_PAUSE * (1 << self.strikes.min(6));
        self.busy(now + pause);
    }
}
