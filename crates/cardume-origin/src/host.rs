//! The hosts that are asked, each with its lines and its pauses.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustls::ClientConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Address, Config, OriginError, line::Line};

/// Hosts remembered; above it those that nobody is reading from go.
const MAX_HOSTS: usize = 256;
/// Pause after the first refusal that names none; doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// Longest pause that a host may ask for; more is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// A connection that nobody used for so long has probably been closed at its other end.
const IDLE: Duration = Duration::from_secs(20);

/// Everything that requests share.
pub(crate) struct Hosts {
    pub(crate) allow: Arc<[String]>,
    pub(crate) agent: String,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) connect_timeout: Duration,
    pub(crate) stall_timeout: Duration,
    per_host: usize,
    all: Arc<Semaphore>,
    hosts: Mutex<HashMap<(String, u16), Arc<Host>>>,
}

/// One host and port.
pub(crate) struct Host {
    slots: Arc<Semaphore>,
    idle: Mutex<Vec<(Line, Instant)>>,
    rest: Mutex<Rest>,
}

#[derive(Debug, Default)]
struct Rest {
    until: Option<Instant>,
    refusals: u32,
}

/// A turn at a host; the next one comes when this is dropped.
pub(crate) struct Turn {
    pub(crate) host: Arc<Host>,
    _slots: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Hosts {
    pub(crate) fn new(config: &Config, allow: Arc<[String]>, agent: String, tls: Arc<ClientConfig>) -> Self {
        Self {
            allow,
            agent,
            tls,
            connect_timeout: config.connect_timeout.get(),
            stall_timeout: config.stall_timeout.get(),
            per_host: config.max_requests_per_host.max(1),
            all: Arc::new(Semaphore::new(config.max_requests.max(1))),
            hosts: Mutex::default(),
        }
    }

    /// Whether the configuration names the host.
    pub(crate) fn allows(&self, host: &str) -> bool {
        self.allow.iter().any(|allowed| allowed == host)
    }

    /// Waits for a turn at the host of `address`.
    ///
    /// # Errors
    /// `Busy` when the host asked for a pause that is not over soon.
    pub(crate) async fn turn(&self, address: &Address) -> Result<Turn, OriginError> {
        let host = self.host(address);
        let mine = host.slots.clone().acquire_owned().await;
        let mine = mine.expect("it is never closed");
        if let Some(pause) = host.pause() {
            if pause > MAX_PAUSE {
                return Err(OriginError::Busy {
                    host: address.authority(),
                    status: 429,
                    retry_after: pause,
                });
            }
            tokio::time::sleep(pause).await;
        }
        let all = self.all.clone().acquire_owned().await;
        let all = all.expect("it is never closed");
        Ok(Turn {
            host,
            _slots: (mine, all),
        })
    }

    fn host(&self, address: &Address) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        if hosts.len() >= MAX_HOSTS {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let host = hosts.entry((address.host().to_owned(), address.port()));
        let host = host.or_insert_with(|| {
            Arc::new(Host {
                slots: Arc::new(Semaphore::new(self.per_host)),
                idle: Mutex::default(),
                rest: Mutex::default(),
            })
        });
        host.clone()
    }
}

impl Host {
    /// A connection that is there already.
    pub(crate) fn idle(&self) -> Option<Line> {
        let mut idle = lock(&self.idle);
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        idle.pop().map(|(line, _)| line)
    }

    /// Keeps a connection for the next request; there are never more than turns.
    pub(crate) fn keep(&self, line: Line) {
        lock(&self.idle).push((line, Instant::now()));
    }

    fn pause(&self) -> Option<Duration> {
        let until = lock(&self.rest).until?;
        let pause = until.saturating_duration_since(Instant::now());
        (!pause.is_zero()).then_some(pause)
    }

    /// Notes that the host wants to be left alone; for how long.
    pub(crate) fn refused(&self, retry_after: Option<Duration>) -> Duration {
        let mut rest = lock(&self.rest);
        let usual = FIRST_PAUSE
            .saturating_mul(1 << rest.refusals.min(6))
            .min(MAX_PAUSE);
        let pause = retry_after.map_or(usual, |pause| pause.min(MAX_RETRY_AFTER));
        rest.refusals = rest.refusals.saturating_add(1);
        rest.until = Some(Instant::now() + pause);
        pause
    }

    /// Notes that the host answers.
    pub(crate) fn answered(&self) {
        *lock(&self.rest) = Rest::default();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
