//! What a fetch tells of itself.
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use tokio::sync::watch;

use crate::{Phase, Progress, Source};

/// Time between two updates: more is more than anybody can see.
const INTERVAL: Duration = Duration::from_millis(100);

/// Counts what comes, and tells at a bounded rate.
pub(crate) struct Tally {
    sender: watch::Sender<Progress>,
    now: Progress,
    bytes: HashMap<PeerId, u64>,
    told: Option<Instant>,
    /// Whether there is nobody to fetch from, whatever it is doing.
    is_looking: bool,
}

impl Tally {
    pub(crate) fn new(sender: watch::Sender<Progress>) -> Self {
        Self {
            sender,
            now: Progress::default(),
            bytes: HashMap::new(),
            told: None,
            is_looking: false,
        }
    }

    /// Counts bytes of verified content from `peer`.
    pub(crate) fn fetched(&mut self, peer: PeerId, bytes: u64) {
        *self.bytes.entry(peer).or_default() += bytes;
        self.now.fetched += bytes;
        self.tell();
    }

    /// Notes how much is wanted in all.
    pub(crate) fn wanted(&mut self, size: u64, files: u64) {
        self.now.size = size;
        self.now.files = files;
        self.tell();
    }

    /// Counts bytes that came from a web server, verified or not yet.
    pub(crate) fn fetched_from_web(&mut self, bytes: u64) {
        self.now.origin += bytes;
        self.now.fetched += bytes;
        self.tell();
    }

    /// Notes what another node has read from a web server that this one waits for.
    pub(crate) fn elsewhere(&mut self, bytes: u64) {
        if self.now.elsewhere != bytes {
            self.now.elsewhere = bytes;
            self.tell();
        }
    }

    pub(crate) fn done(&mut self, bytes: u64) {
        self.now.done = self.now.done.saturating_add(bytes);
        self.tell();
    }

    /// Takes back what turned out to be of no use.
    pub(crate) fn undone(&mut self, bytes: u64) {
        self.now.done = self.now.done.saturating_sub(bytes);
        self.tell_now();
    }

    pub(crate) fn file_done(&mut self) {
        self.now.files_done += 1;
        self.tell();
    }

    pub(crate) fn phase(&mut self, phase: Phase) {
        if self.now.phase != phase {
            self.now.phase = phase;
            self.tell_now();
        }
    }

    /// Says whether somebody to fetch from is being looked for.
    pub(crate) fn looking(&mut self, is_looking: bool) {
        if self.is_looking != is_looking {
            self.is_looking = is_looking;
            self.tell_now();
        }
    }

    /// Bytes that are wanted and not here; none while it is not known what is wanted.
    pub(crate) const fn left(&self) -> u64 {
        self.now.size.saturating_sub(self.now.done)
    }

    pub(crate) const fn fetched_bytes(&self) -> u64 {
        self.now.fetched
    }

    pub(crate) const fn web_bytes(&self) -> u64 {
        self.now.origin
    }

    /// Who sent how much, the most first.
    pub(crate) fn sources(&self) -> Vec<Source> {
        let mut sources: Vec<Source> = self
            .bytes
            .iter()
            .map(|(peer, bytes)| Source {
                peer: *peer,
                bytes: *bytes,
            })
            .collect();
        sources.sort_unstable_by_key(|source| (std::cmp::Reverse(source.bytes), source.peer));
        sources
    }

    fn tell(&mut self) {
        if self.told.is_none_or(|told| told.elapsed() >= INTERVAL) {
            self.tell_now();
        }
    }

    fn tell_now(&mut self) {
        self.told = Some(Instant::now());
        self.now.sources = self.sources();
        let mut now = self.now.clone();
        if self.is_looking && matches!(now.phase, Phase::Manifests | Phase::Content) {
            now.phase = Phase::FindingPeers;
        }
        self.sender.send_replace(now);
    }
}
