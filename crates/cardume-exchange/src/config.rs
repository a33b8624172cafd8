//! `[exchange]`.
use std::sync::Arc;

use cardume_content::manifest;
use cardume_units::{Duration, Size};
use tokio::sync::watch;

/// How content is fetched and given; every number bounds something that peers could otherwise make grow.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Fetches running at once; more wait for their turn.
    pub max_fetches: usize,
    /// Files being read (streamed) at once; more are refused.
    pub max_reads: usize,
    /// Sources used at once by one fetch.
    pub max_peers: usize,
    /// Requests in flight to one peer, at most; the window follows its speed.
    pub max_window: usize,
    /// Requests in flight of all fetches over all their peers: each holds about 1 MiB of memory.
    pub max_in_flight: usize,
    /// Large files of a directory being fetched at the same time.
    pub max_open_files: usize,
    /// Pieces read ahead of a reader.
    pub read_ahead: usize,
    /// Requests of peers being answered at once; more are answered `Busy`.
    pub max_serving: usize,
    /// Peers waiting at once for a change of what is held; more are answered at once.
    pub max_waiting: usize,
    /// How long a fetch looks for somebody who has the content before it gives up.
    pub find_timeout: Duration,
    /// How long a fetch that was under way waits for a source to come back before it gives up.
    pub lost_timeout: Duration,
    /// How long a fetch looks for others once every source it had or was told of has failed for good: lied, no longer has
    /// the content, or cannot be reached at the addresses given. A deadline of the fetch itself goes before.
    pub give_up_after: Duration,
    /// Bytes of one fetch that may come through relays. What needs more waits for a direct path, or for a source that
    /// has one.
    pub max_relayed: Size,
    /// How long a fetch waits for a direct path when all its sources are behind relays and have more than may come
    /// through them.
    pub direct_timeout: Duration,
    /// Bytes of the description of one directory, at most.
    pub max_manifest: Size,
    /// Entries of one directory, at most.
    pub max_directory_entries: u64,
    /// Files and directories of one fetch, at most.
    pub max_tree_entries: u64,
    /// Directories within directories, at most.
    pub max_depth: u32,
    /// Bytes of one fetch, at most.
    pub max_total: Size,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_fetches: 8,
            max_reads: 64,
            max_peers: 32,
            max_window: 12,
            max_in_flight: 24,
            max_open_files: 8,
            read_ahead: 16,
            max_serving: 24,
            max_waiting: 256,
            find_timeout: Duration::from_secs(30),
            lost_timeout: Duration::from_secs(300),
            give_up_after: Duration::from_secs(5),
            max_relayed: Size::mib(1),
            direct_timeout: Duration::from_secs(15),
            max_manifest: Size::mib(16),
            max_directory_entries: 100_000,
            max_tree_entries: 1_000_000,
            max_depth: 32,
            max_total: Size::mib(64 * 1024 * 1024),
        }
    }
}

impl Config {
    /// Returns the bounds on what is believed of a peer's directory.
    pub(crate) fn limits(&self) -> manifest::Limits {
        manifest::Limits {
            manifest_bytes: self.max_manifest.get(),
            entries: self.max_directory_entries,
            tree_entries: self.max_tree_entries,
            depth: self.max_depth,
            total: self.max_total.get(),
        }
    }
}

/// The configuration that holds now. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Settings(watch::Sender<Arc<Config>>);

impl Settings {
    pub(crate) fn new(config: Config) -> Self {
        Self(watch::Sender::new(Arc::new(config)))
    }

    pub(crate) fn set(&self, config: Config) {
        self.0.send_replace(Arc::new(config));
    }

    pub(crate) fn now(&self) -> Arc<Config> {
        self.0.borrow().clone()
    }

    /// Wakes who waits for another configuration.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.0.subscribe()
    }
}
