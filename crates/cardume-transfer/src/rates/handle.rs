//! The way in: what limits hold, and other ones.
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cardume_access::rates::{Class, Rates};
use jiff::Zoned;
use libp2p_identity::PeerId;
use multiaddr::multihash::Multihash;
use tokio::sync::Notify;

use super::{Config, Gate, Mistake, Server, config::mistakes, gate::clock, timetable::in_force};

/// Longest time between two looks at the hour: a clock may be set, and a machine sleep.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Stands for all hosts that are no peers, as one of them.
const STRANGERS: &[u8] = b"not a peer";

/// Tells and changes how fast content may go; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle(pub(super) Arc<Shared>);

/// Where the limits that hold come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// They are the usual ones of the configuration.
    Configuration,
    /// A schedule of the configuration.
    Schedule,
    /// A user, until restart or for a time.
    Live {
        /// How long they still hold.
        ends_in: Option<Duration>,
    },
}

/// How fast content may go, and how fast it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What holds now.
    pub rates: Rates,
    /// Why.
    pub origin: Origin,
    /// The schedule that holds, or would without what a user has set.
    pub schedule: Option<String>,
    /// What would hold without what a user has set.
    pub configured: Rates,
    /// Bytes a second to peers, over the last two seconds.
    pub upload: u64,
    /// Bytes a second from peers, over the last two seconds.
    pub download: u64,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) upload: Gate,
    pub(super) download: Gate,
    /// Wakes the server.
    pub(super) changed: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Config,
    /// What a user has set.
    live: Option<Live>,
    schedule: Option<String>,
    /// What the gates keep to.
    rates: Rates,
    /// When another schedule may hold.
    look: Option<Instant>,
    /// Nobody keeps the time any more.
    is_over: bool,
}

#[derive(Debug)]
struct Live {
    rates: Rates,
    until: Option<Instant>,
}

impl Config {
    /// Makes the way in, and what keeps the time. Limits hold from now on; while there are any, content goes
    /// only as long as [`Server::run`] runs.
    pub fn build(&self) -> (Handle, Server) {
        let (now, rates) = (clock(), self.rates());
        let changed = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            upload: Gate::new(rates.upload(), changed.clone(), now),
            download: Gate::new(rates.download(), changed.clone(), now),
            changed,
            state: Mutex::new(State {
                config: self.clone(),
                live: None,
                schedule: None,
                rates,
                look: Some(now),
                is_over: false,
            }),
        });
        shared.look(now);
        (Handle(shared.clone()), Server(shared))
    }
}

impl Handle {
    /// Makes a handle without limits, which cannot be given any.
    pub fn unlimited() -> Self {
        Config::default().build().0
    }

    /// Waits until so many bytes may come in from a host that is no peer: it counts as one far away.
    ///
    /// # Cancel safety
    /// Dropping the future gives its place in the line up.
    pub async fn admit(&self, bytes: u64) {
        let strangers = Multihash::wrap(0, STRANGERS).expect("a short name");
        let peer = PeerId::from_multihash(strangers).expect("an identity hash");
        self.0.download.admit(peer, Class::Wan, bytes).await;
    }

    /// Replaces all limits, for a time or until restart; schedules wait meanwhile.
    ///
    /// # Errors
    /// When one of them is too low to be kept.
    pub fn set(&self, rates: Rates, lasts: Option<Duration>) -> Result<(), Mistake> {
        if let Some(mistake) = mistakes(&rates, &[]).into_iter().next() {
            return Err(mistake);
        }
        let now = clock();
        let until = lasts.and_then(|lasts| now.checked_add(lasts));
        self.change(Some(Live { rates, until }), now);
        Ok(())
    }

    /// Goes back to what the configuration says.
    pub fn reset(&self) {
        self.change(None, clock());
    }

    /// Goes by another configuration from now on. What a user has set still holds as long as they have said.
    ///
    /// # Errors
    /// When one of its limits is too low to be kept; nothing has changed then.
    pub fn reload(&self, config: Config) -> Result<(), Mistake> {
        if let Some(mistake) = config.mistakes().into_iter().next() {
            return Err(mistake);
        }
        let (Self(shared), now) = (self, clock());
        {
            let mut state = shared.lock();
            if state.is_over {
                return Ok(());
            }
            state.config = config;
            state.look = Some(now);
        }
        shared.look(now);
        shared.changed.notify_one();
        Ok(())
    }

    /// Tells what holds, and how fast content goes.
    pub fn report(&self) -> Report {
        let Self(shared) = self;
        let state = shared.lock();
        let origin = match (&state.live, &state.schedule) {
            (Some(live), _) => Origin::Live {
                ends_in: live.until.map(|until| until.saturating_duration_since(clock())),
            },
            (None, Some(_)) => Origin::Schedule,
            (None, None) => Origin::Configuration,
        };
        Report {
            rates: state.rates,
            origin,
            schedule: state.schedule.clone(),
            configured: state.configured(),
            upload: shared.upload.per_second(),
            download: shared.download.per_second(),
        }
    }

    /// Where content goes out.
    pub(crate) fn upload(&self) -> &Gate {
        &self.0.upload
    }

    /// Where content comes in.
    pub(crate) fn download(&self) -> &Gate {
        &self.0.download
    }

    fn change(&self, live: Option<Live>, now: Instant) {
        let Self(shared) = self;
        {
            let mut state = shared.lock();
            if state.is_over {
                return;
            }
            state.live = live;
            state.look = Some(now);
        }
        shared.look(now);
        shared.changed.notify_one();
    }
}

impl Shared {
    /// Has the gates keep to what holds now; when to look again.
    pub(super) fn look(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        if state.is_over {
            return None;
        }
        if state
            .live
            .as_ref()
            .is_some_and(|live| live.until.is_some_and(|until| until <= now))
        {
            tracing::info!("the time for other rates is over");
            state.live = None;
        }
        if state.look.is_some_and(|look| look <= now) {
            (state.schedule, state.look) = state.hour(now);
        }
        let rates = match &state.live {
            Some(live) => live.rates,
            None => state.configured(),
        };
        if rates != state.rates {
            let (schedule, live) = (&state.schedule, state.live.is_some());
            tracing::info!(?schedule, live, ?rates, "other rates hold");
            state.rates = rates;
            self.upload.set(rates.upload(), now);
            self.download.set(rates.download(), now);
        }
        let ends = state.live.as_ref().and_then(|live| live.until);
        ends.into_iter().chain(state.look).min()
    }

    /// Lets everything through from now on.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        let now = clock();
        for gate in [&self.upload, &self.download] {
            gate.set(Rates::default().upload(), now);
            gate.turn(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole after one statement, but for limits that the next look sets.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The schedule that holds, and when to look again.
    fn hour(&self, now: Instant) -> (Option<String>, Option<Instant>) {
        if self.config.schedule.is_empty() {
            return (None, None);
        }
        let local = Zoned::now();
        let holds = in_force(&self.config.schedule, &local);
        let left = holds
            .until
            .and_then(|until| until.duration_since(local.timestamp()).try_into().ok());
        let wait = left.map_or(LOOK_AGAIN, |left: Duration| left.min(LOOK_AGAIN));
        (holds.schedule.map(str::to_owned), Some(now + wait))
    }

    /// What holds unless a user says otherwise.
    fn configured(&self) -> Rates {
        let usual = self.config.rates();
        let schedule = self.schedule.as_ref();
        let schedule = schedule.and_then(|name| self.config.schedule.get(name));
        schedule.map_or(usual, |schedule| schedule.rates(usual))
    }
}
