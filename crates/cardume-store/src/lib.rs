//! Content on disk: shared in place, fetched piece by piece, verified always.
//!
//! It knows no peers and no protocols, watches no directories, runs nothing by itself and writes to no file that it
//! did not make. Every method blocks on the disk: call it from a blocking thread.
//!
//! # Invariants
//!
//! * No byte leaves the store that was not verified against its content id on the way out.
//! * A blob is recorded as complete only after its bytes are durable; nothing is believed of a partial blob but what
//!   its own bytes prove.
//! * Files shared in place are never written to and never deleted.
//! * Content that came in for a root with an `allow` list is never said to be everybody's, unless a root without one
//!   holds it: not while it comes in, not after a restart, and not when it has fallen out of its root.
//! * No lock is held while the disk is waited for, but those that keep a collection from what is just coming in, and
//!   bytes that nobody has proven from those that are.
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use cardume_content::Hash;

mod adopt;
mod collect;
mod disk;
mod error;
mod fetch;
mod guard;
mod hashed;
mod hold;
mod import;
mod link;
pub mod place;
mod private;
mod read;
mod record;
mod repair;
mod room;
mod settle;
mod source;
mod spans;
mod table;
mod upload;
mod usage;
mod verify;
mod words;
mod write;

pub use self::{
    error::{ImportError, OpenError, ReadError, WriteError},
    fetch::Fetch,
    hold::Hold,
    link::Linked,
    room::{Claim, Space},
    upload::Upload,
    words::{
        Adopted, Below, Broken, Changed, Collected, Imported, Mode, Presence, Progress, Remedy, Root, Taken,
        Target, Usage, Verified, Watcher,
    },
};

/// What the operator decides about the store.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes of content and metadata the store may take; none: what the disk has.
    pub quota: Option<cardume_units::Size>,
    /// Bytes that every file system stays free of whatever is fetched or copied; none: a twentieth of it, at most 1 GiB.
    pub keep_free: Option<cardume_units::Size>,
    /// Share files where they are instead of copying them.
    pub in_place: bool,
}
impl Default for Config {
    fn default() -> Self {
        Self {
            quota: None,
            keep_free: None,
            in_place: true,
        }
    }
}

/// The store. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Whether what is new is guarded.
    guards: bool,
    /// The root that it is for, if that is known before.
    expected: Option<guard::Number>,
}

type OnChanged = Box<dyn Fn(&Changed) + Send + Sync>;

struct Inner {
    disk: disk::Disk,
    tables: table::Tables,
    limits: RwLock<Limits>,
    /// Bytes promised to blobs that are coming in.
    reserved: Arc<AtomicU64>,
    room: Mutex<room::Room>,
    /// Held while content is evicted.
    evicting: Mutex<()>,
    /// Whether there may be something to collect.
    littered: AtomicBool,
    /// Hashes on all cores, beside whatever else the process does.
    pool: rayon::ThreadPool,
    pending: Mutex<settle::Pending>,
    /// Files of ours that have their name, and no record yet.
    named: Mutex<HashSet<PathBuf>>,
    /// Held while pending blobs are made durable: one at a time is enough.
    settling: Mutex<()>,
    fetches: Mutex<HashMap<Hash, Weak<fetch::Partial>>>,
    open: Mutex<source::Open>,
    held: Mutex<hold::Held>,
    guard: guard::Guard,
    /// Shared by what takes content in, exclusive for the collection's steps.
    gate: RwLock<()>,
    changed: Mutex<Vec<Changed>>,
    /// Who is told of each at once.
    on_changed: OnceLock<OnChanged>,
    /// What is never taken in; a handful.
    private: Mutex<Vec<Arc<private::Private>>>,
}

impl Store {
    /// Opens `dir` (made if missing), with tables in `database`.
    ///
    /// The caller makes sure that nobody else has `dir` open. Leftovers of an unclean stop are swept, except what
    /// the next try of a fetch can use.
    ///
    /// # Errors
    /// `Format` when a newer program wrote the store; it is left as it is.
    pub fn open(dir: &Path, database: Arc<redb::Database>, config: &Config) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io {
            path: dir.to_owned(),
            source,
        };
        let (tables, format) = table::Tables::open(database)?;
        if format > table::FORMAT {
            return Err(OpenError::Format {
                path: dir.to_owned(),
                found: u32::try_from(format).unwrap_or(u32::MAX),
                known: u32::try_from(table::FORMAT).expect("small"),
            });
        }
        let disk = disk::Disk::open(dir).map_err(failed)?;
        let private = private::Private::new(disk.root()).map_err(failed)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|index| format!("store-{index}"))
            .build()
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let inner = Inner {
            disk,
            tables,
            limits: RwLock::new(Limits::of(config)),
            reserved: Arc::default(),
            room: Mutex::default(),
            evicting: Mutex::default(),
            littered: AtomicBool::new(true),
            pool,
            pending: Mutex::default(),
            named: Mutex::default(),
            settling: Mutex::default(),
            fetches: Mutex::default(),
            open: Mutex::default(),
            held: Mutex::default(),
            guard: guard::Guard::default(),
            gate: RwLock::default(),
            changed: Mutex::default(),
            on_changed: OnceLock::new(),
            private: Mutex::new(vec![Arc::new(private)]),
        };
        inner
            .load_guard()
            .map_err(|error| OpenError::Database(error.to_string()))?;
        Ok(Self {
            inner: Arc::new(inner),
            guards: false,
            expected: None,
        })
    }

    /// Why nothing more is taken in, if the disk has failed: until the next start, and whatever is there is still read.
    pub fn problem(&self) -> Option<String> {
        self.inner.tables.failure()
    }

    /// Bytes of content and metadata it may take, if that is limited.
    pub fn quota(&self) -> Option<u64> {
        self.inner.limits().quota
    }

    /// Has the limits of `config` hold for what comes from now on; what is here and above them goes when room is needed.
    pub fn configure(&self, config: &Config) {
        *self.inner.limits.write().unwrap_or_else(PoisonError::into_inner) = Limits::of(config);
    }

    /// What the store takes, without what is not durable yet.
    pub fn usage(&self) -> Result<Usage, ReadError> {
        Ok(self.inner.tables.usage())
    }
}

/// Bytes of the quota that are promised until this is dropped.
#[derive(Debug)]
struct Reservation {
    reserved: Arc<AtomicU64>,
    bytes: u64,
}
impl Reservation {
    fn add(&mut self, mut other: Self) {
        self.bytes = self.bytes.saturating_add(std::mem::take(&mut other.bytes));
    }
}
impl Drop for Reservation {
    fn drop(&mut self) {
        self.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How much it may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    quota: Option<u64>,
    keep_free: Option<u64>,
}

impl Limits {
    fn of(config: &Config) -> Self {
        Self {
            quota: config.quota.map(cardume_units::Size::get),
            keep_free: config.keep_free.map(cardume_units::Size::get),
        }
    }
}

impl Inner {
    fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses when the disk has failed: what it says of anything new cannot be trusted.
    fn check_writable(&self) -> Result<(), WriteError> {
        self.tables
            .failure()
            .map_or(Ok(()), |reason| Err(WriteError::ReadOnly { reason }))
    }
}

/// Takes a lock whose data no panic leaves half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
