//! Web servers that have what a download is about, asked when no peer helps.
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cardume_content::{Cid, Hash, Kind, slice, tree};
use cardume_origin::{Address, Body, Handle, Named};
use futures::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, BoxFuture},
    stream::FuturesUnordered,
};
use libp2p_identity::PeerId;
use tokio::sync::mpsc;

use super::{
    Download, Event,
    check::{self, Small},
    pull::{Kept, Pull, PullError, Wanted},
};
use crate::{FetchError, disk::Disk, pulls::Pulling, schedule};

/// With peers from which nothing comes for so long, an origin is asked.
const STANDSTILL: Duration = Duration::from_secs(5);
/// Pause before an origin is asked again that could not be reached.
const REST: Duration = Duration::from_secs(30);
/// Time that each node before us has to begin, and the longest that all of them have.
const STEP: Duration = Duration::from_secs(1);
const MAX_STEPS: u32 = 10;
/// A node that asked for the root so long ago takes part still.
const TAKES_PART: Duration = Duration::from_secs(15);
/// Whoever has read more than this goes on, though another who is before it has begun as well.
const YIELDED: u64 = 64 << 20;
/// A blob that another node said so long ago to be reading is read by us as well.
const COMING: Duration = Duration::from_secs(20);
/// Reports of bytes that came, not taken in yet.
const REPORTS: usize = 64;

/// One origin of the root.
struct Place {
    address: Address,
    named: Named,
    /// Why it is not asked for now, and until when; for ever if none.
    failed: Option<(String, Option<Instant>)>,
    /// Whether it has something else under the name.
    is_wrong: bool,
}

/// What came of asking a web server.
pub(super) enum Step {
    Moved(u64),
    Sized(usize, Result<(Body, u64), PullError>),
    Blob(usize, u32, Result<Arc<cardume_store::Fetch>, PullError>),
    Small(usize, u32, Result<Option<Bytes>, PullError>),
}

/// The origins of one download.
pub(super) struct Web {
    origin: Handle,
    disk: Disk,
    root: Cid,
    /// The path below the root.
    path: Vec<String>,
    places: Vec<Place>,
    /// Paths of files, by what they are.
    files: HashMap<Hash, Arc<str>>,
    /// Since when no peer helps.
    since: Option<Instant>,
    /// What an origin claims, with the answer that it began to give.
    opened: Option<(usize, Body, u64)>,
    size: Option<u64>,
    is_sizing: bool,
    pulling: HashMap<u32, AbortHandle>,
    kept: HashMap<u32, Kept>,
    /// When a peer said last that it is reading a blob below the root.
    coming: HashMap<u32, Instant>,
    /// Told to others while the root is being read.
    told: Option<Pulling>,
    /// Whether there is something to wait for before an origin is asked.
    waits: bool,
    /// Since when others are waited for who read the same.
    deferred: Option<Instant>,
    /// Bytes held of each that only its end proves.
    held: u64,
    moved: (mpsc::Sender<u64>, mpsc::Receiver<u64>),
    steps: FuturesUnordered<BoxFuture<'static, Option<Step>>>,
}

impl Web {
    pub(super) fn new(origin: Handle, disk: Disk, root: Cid) -> Self {
        Self {
            origin,
            disk,
            root,
            path: Vec::new(),
            places: Vec::new(),
            files: HashMap::new(),
            since: None,
            opened: None,
            size: None,
            is_sizing: false,
            pulling: HashMap::new(),
            kept: HashMap::new(),
            coming: HashMap::new(),
            told: None,
            waits: false,
            deferred: None,
            held: 0,
            moved: mpsc::channel(REPORTS),
            steps: FuturesUnordered::new(),
        }
    }

    /// What came next; none while nothing is asked.
    pub(super) async fn next(&mut self) -> Option<Step> {
        let Self { moved, steps, .. } = self;
        loop {
            tokio::select! {
                biased;
                Some(bytes) = moved.1.recv() => return Some(Step::Moved(bytes)),
                step = steps.next() => match step {
                    Some(None) => {}
                    Some(step) => return step,
                    None => return None,
                },
            }
        }
    }

    /// Whether something is being read, or soon will be.
    pub(super) fn is_active(&self, now: Instant) -> bool {
        let may_begin = self.places.is_empty() || self.usable(now).is_some();
        !self.steps.is_empty() || (self.waits && may_begin)
    }

    /// When an origin is to be asked, if that is to come.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let due = self.since? + self.origin.patience();
        (due > now).then_some(due)
    }

    /// Whether bytes are coming.
    pub(super) fn is_reading(&self) -> bool {
        !self.pulling.is_empty()
    }

    /// What is wrong with the origins, if all of them failed; and whether one has something else under the name.
    pub(super) fn failure(&self) -> Option<(String, bool)> {
        let reasons: Option<Vec<&str>> = self
            .places
            .iter()
            .map(|place| place.failed.as_ref().map(|(reason, _)| reason.as_str()))
            .collect();
        let reasons = reasons.filter(|reasons| !reasons.is_empty())?;
        Some((reasons.join("; "), self.places.iter().any(|place| place.is_wrong)))
    }

    pub(super) const fn size(&self) -> Option<u64> {
        self.size
    }

    /// The first origin that may be asked.
    fn usable(&self, now: Instant) -> Option<usize> {
        self.places.iter().position(|place| match &place.failed {
            None => true,
            Some((_, until)) => until.is_some_and(|until| until <= now),
        })
    }

    /// Where a file is at an origin.
    fn address(&self, place: usize, cid: Cid) -> Option<Address> {
        let base = &self.places.get(place)?.address;
        if self.root.kind() == Kind::Blob {
            return (cid == self.root).then(|| base.clone());
        }
        let path = self.files.get(&cid.hash())?;
        let below = self.path.iter().map(String::as_str);
        Some(base.below(below.chain(path.split('/').filter(|name| !name.is_empty()))))
    }

    fn pull(&self, place: usize, cid: Cid) -> Option<Pull> {
        Some(Pull {
            origin: self.origin.clone(),
            disk: self.disk.clone(),
            address: self.address(place, cid)?,
            named: self.places.get(place)?.named,
            moved: self.moved.0.clone(),
        })
    }

    fn failed(&mut self, place: usize, error: &PullError) {
        let root = self.root;
        self.told = None;
        tracing::warn!(cid = %root, %error, "a web origin is given up; the fetch goes on with peers");
        let is_passing = matches!(error, PullError::Origin(error) if error.is_passing());
        if let Some(place) = self.places.get_mut(place) {
            place.is_wrong |= matches!(error, PullError::Wrong(_));
            place.failed = Some((error.to_string(), is_passing.then(|| Instant::now() + REST)));
        }
    }

    fn push(&mut self, id: Option<u32>, step: impl Future<Output = Step> + Send + 'static) {
        let (abort, registration) = AbortHandle::new_pair();
        if let Some(id) = id {
            self.pulling.insert(id, abort);
        }
        let step = Abortable::new(step, registration);
        self.steps.push(step.map(Result::ok).boxed());
    }

    /// Stops reading what has come from elsewhere, or will.
    pub(super) fn stop(&mut self, id: u32) {
        self.kept.remove(&id);
        if let Some(abort) = self.pulling.remove(&id) {
            abort.abort();
        }
    }
}

impl Download {
    /// Names web servers that have the root, in the order in which they are asked.
    pub(crate) fn name_origins(&mut self, origins: &[Address], path: &[String]) {
        let web = &mut self.web;
        web.path = path.to_vec();
        for address in origins {
            if web.origin.allows(address, Named::ByUser) {
                web.places.push(Place {
                    address: address.clone(),
                    named: Named::ByUser,
                    failed: None,
                    is_wrong: false,
                });
            }
        }
    }

    /// Says where a file is below the root, so that an origin can be asked for it.
    pub(crate) fn locate(&mut self, cid: Cid, path: &Arc<str>) {
        if !self.web.places.is_empty() {
            self.web.files.insert(cid.hash(), path.clone());
        }
    }

    /// Asks a web server for what no peer brings.
    pub(super) fn ask_web(&mut self, now: Instant) {
        let elsewhere = self.sources.coming(now).map(|(_, bytes)| bytes).max();
        self.tally.elsewhere(elsewhere.unwrap_or(0));
        if self.web.places.is_empty() {
            self.web.waits = elsewhere.is_some() && self.is_deferred(now);
            return;
        }
        let usual = self.web.origin.patience();
        let has_peers = self.schedule.peer_count() > 0 && !self.schedule.is_refused();
        // With nothing on its way there is nothing to ask them for.
        let is_idle = self.schedule.in_flight() == 0 && self.hope.stands_still(now, usual);
        if has_peers && !is_idle && !self.hope.stands_still(now, STANDSTILL) {
            self.web.since = None;
            self.web.waits = false;
            return;
        }
        let since = *self.web.since.get_or_insert(now);
        let patience = if has_peers { Duration::ZERO } else { usual };
        self.web.waits = self.leaves_it_to_others(now, since + patience);
        if self.web.waits {
            return;
        }
        let Some(place) = self.web.usable(now) else { return };
        if self.blobs.is_empty() && self.items.is_empty() {
            self.ask_web_for_size(place);
        } else {
            self.ask_web_for_blob(place, now);
            self.ask_web_for_items(place);
        }
    }

    /// Whether another node reads the root from an origin, or is to begin before us.
    ///
    /// Who is first follows from who takes part (rendezvous hashing), as with the pieces of a source that is spared. One
    /// who does not begin in time, or does not get on, is not waited for; nor is anybody for ever.
    fn leaves_it_to_others(&mut self, now: Instant, due: Instant) -> bool {
        if now < due {
            return true;
        }
        let root = self.root;
        let mine = schedule::rendezvous(&self.finder.local, root.hash());
        let is_before = |peer: &PeerId| schedule::rendezvous(peer, root.hash()) > mine;
        if self.root.kind() == Kind::Directory {
            // Of its files each node reads others: see `note_coming`.
            return false;
        }
        if self.web.told.is_some() {
            // Two that began before they knew of each other: one is enough.
            let is_late = self.web.told.as_ref().is_some_and(|told| told.bytes() > YIELDED);
            if is_late
                || !self
                    .sources
                    .coming(now)
                    .any(|(peer, bytes)| bytes > 0 && is_before(&peer))
            {
                return false;
            }
            self.stop_web();
        }
        if self.sources.coming(now).next().is_some() {
            return self.is_deferred(now);
        }
        let before = self.finder.known.lately(root, now, TAKES_PART);
        let before = u32::try_from(before.iter().filter(|peer| is_before(peer)).count()).unwrap_or(u32::MAX);
        now < due + STEP * before.min(MAX_STEPS)
    }

    /// Notes that a peer is reading a blob below the root.
    pub(super) fn note_coming(&mut self, id: u32) {
        if self.blobs.contains_key(&id) && !self.web.pulling.contains_key(&id) {
            self.web.coming.insert(id, Instant::now());
        }
    }

    /// Whether others have not been waited for too long.
    fn is_deferred(&mut self, now: Instant) -> bool {
        let deferred = *self.web.deferred.get_or_insert(now);
        now.saturating_duration_since(deferred) < self.web.origin.max_wait()
    }

    /// Leaves everything to others; what came stays.
    fn stop_web(&mut self) {
        self.web.told = None;
        self.web.opened = None;
        for (_, pull) in self.web.pulling.drain() {
            pull.abort();
        }
        self.tally.undone(std::mem::take(&mut self.web.held));
    }

    fn ask_web_for_size(&mut self, place: usize) {
        let web = &mut self.web;
        if web.is_sizing || web.size.is_some() {
            return;
        }
        let Some(pull) = web.pull(place, web.root) else {
            return;
        };
        web.is_sizing = true;
        web.told = Some(self.finder.pulls.begin(web.root.hash()));
        web.push(None, async move { Step::Sized(place, pull.open().await) });
    }

    /// One at a time: its parts are read side by side.
    fn ask_web_for_blob(&mut self, place: usize, now: Instant) {
        if self.blobs.keys().any(|id| self.web.pulling.contains_key(id)) {
            return;
        }
        let found = self.blobs.iter().find_map(|(id, state)| {
            let told = self.web.coming.get(id);
            if told.is_some_and(|told| now.saturating_duration_since(*told) < COMING) {
                return None;
            }
            let pull = self.web.pull(place, state.cid)?;
            Some((*id, pull, state))
        });
        let Some((id, pull, state)) = found else { return };
        let kept = self.web.kept.entry(id).or_default().clone();
        let wanted = Wanted {
            hash: state.cid.hash(),
            expected: state.expected,
            max: state.max,
            goal: state.goal.clone(),
            fetch: state.fetch.clone().or_else(|| kept.get().cloned()),
            kept,
        };
        if self.web.told.is_none() {
            self.web.told = Some(self.finder.pulls.begin(state.cid.hash()));
        }
        let of_root = self
            .web
            .opened
            .take_if(|(opened, ..)| *opened == place && state.cid == self.web.root);
        let opened = of_root.map(|(_, body, size)| (body, size));
        self.web.push(Some(id), async move {
            Step::Blob(place, id, pull.blob(wanted, opened).await)
        });
    }

    fn ask_web_for_items(&mut self, place: usize) {
        let busy: HashSet<u32> = self.web.pulling.keys().copied().collect();
        let room = self.web.origin.at_once().saturating_sub(busy.len());
        let free = self.items.iter().filter(|(id, _)| !busy.contains(id));
        let found = free.filter_map(|(id, state)| {
            let pull = self.web.pull(place, state.cid)?;
            Some((*id, pull, state.cid.hash(), state.expected))
        });
        for (id, pull, hash, expected) in found.take(room).collect::<Vec<_>>() {
            self.web.push(Some(id), async move {
                Step::Small(place, id, pull.small(hash, expected).await)
            });
        }
    }

    pub(super) fn on_web(&mut self, step: Step) -> Result<(), FetchError> {
        let now = Instant::now();
        match step {
            Step::Moved(bytes) => {
                self.hope.moved(now);
                self.web.held += bytes;
                if let Some(told) = &self.web.told {
                    told.moved(bytes);
                }
                self.tally.done(bytes);
                self.tally.fetched_from_web(bytes);
            }
            Step::Sized(place, Ok((body, size))) => {
                self.web.is_sizing = false;
                self.web.size = Some(size);
                // Left to others meanwhile, it is asked for again should they fail.
                self.web.opened = self.web.told.is_some().then_some((place, body, size));
                self.hope.moved(now);
                self.ready.push_back(Event::Claimed);
            }
            Step::Sized(place, Err(error)) => {
                self.web.is_sizing = false;
                self.web_failed(place, error)?;
            }
            Step::Blob(place, id, pulled) => {
                self.web.told = None;
                self.web.coming.remove(&id);
                self.web.pulling.remove(&id);
                let held = std::mem::take(&mut self.web.held);
                match pulled {
                    Ok(fetch) => {
                        self.web.kept.remove(&id);
                        self.on_pulled(id, fetch);
                    }
                    Err(error) => {
                        if matches!(error, PullError::Wrong(_)) {
                            self.web.kept.remove(&id);
                            self.tally.undone(held);
                        }
                        self.web_failed(place, error)?;
                    }
                }
            }
            Step::Small(place, id, pulled) => match pulled {
                Ok(bytes) => self.on_small(id, bytes),
                Err(error) => {
                    self.web.pulling.remove(&id);
                    self.web_failed(place, error)?;
                }
            },
        }
        Ok(())
    }

    fn web_failed(&mut self, place: usize, error: PullError) -> Result<(), FetchError> {
        if let PullError::Fatal(error) = error {
            return Err(error);
        }
        self.web.failed(place, &error);
        Ok(())
    }

    /// Leaves a blob to the peers that have turned up with it, unless most of it is here.
    pub(super) fn leave_to_peers(&mut self, id: u32, size: u64) {
        if self.web.pulling.contains_key(&id) && self.web.held < size / 2 {
            self.web.stop(id);
            self.tally.undone(std::mem::take(&mut self.web.held));
        }
    }

    /// A blob that is here whole, and verified.
    fn on_pulled(&mut self, id: u32, fetch: Arc<cardume_store::Fetch>) {
        let Some(state) = self.blobs.remove(&id) else {
            return;
        };
        let tickets = self.schedule.remove_blob(id);
        self.abort(&tickets);
        self.disk.changes.tell(state.cid.hash());
        if state.fetch.is_none() {
            let fetch = fetch.clone();
            self.ready.push_back(Event::Started { blob: id, fetch });
        }
        self.ready.push_back(Event::Complete { blob: id, fetch });
    }

    /// A small blob whose hash is right; `None`, if it is a large one.
    fn on_small(&mut self, id: u32, bytes: Option<Bytes>) {
        let Some(state) = self.items.get(&id) else { return };
        let Some(bytes) = bytes else {
            self.web.pulling.remove(&id);
            self.items.remove(&id);
            self.schedule.item_verified(id);
            self.ready.push_back(Event::TooLarge { item: id });
            return;
        };
        let small = Small {
            id,
            cid: state.cid,
            size: bytes.len() as u64,
            expected: state.expected,
            sink: state.sink.clone(),
            slice: Bytes::new(),
        };
        self.hope.moved(Instant::now());
        self.tally.fetched_from_web(small.size);
        self.tally.done(small.size);
        let disk = self.disk.clone();
        let kept = async move {
            let keep = move |store: &cardume_store::Store| {
                let slice = slice_of(&bytes);
                check::small(store, vec![Small { slice, ..small }])
            };
            let results = disk.run(keep).await?;
            Ok(check::Checked::Web { results })
        };
        self.checks.push(kept.boxed());
    }

    /// Takes in what came of small blobs from a web server.
    pub(super) fn on_web_items(
        &mut self,
        results: Vec<(u32, Result<check::Kept, check::Failure>)>,
    ) -> Result<(), FetchError> {
        for (item, kept) in results {
            self.web.pulling.remove(&item);
            match kept {
                Ok(kept) => {
                    let Some(state) = self.items.remove(&item) else {
                        continue;
                    };
                    self.schedule.item_verified(item);
                    self.disk.changes.tell(state.cid.hash());
                    self.ready.push_back(Event::Item {
                        item,
                        manifest: kept.manifest,
                        fetch: kept.fetch,
                    });
                }
                Err(check::Failure::Lie(reason)) => {
                    tracing::warn!(reason, "a web origin's bytes do not verify")
                }
                Err(check::Failure::Fatal(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The slice of a whole small blob.
fn slice_of(bytes: &[u8]) -> Bytes {
    let (hash, nodes) = tree::of(bytes);
    let size = bytes.len() as u64;
    let copy = |from: &[u8], offset: u64, buffer: &mut [u8]| {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = from.get(start..start.saturating_add(buffer.len()));
        buffer.copy_from_slice(part.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    };
    let mut out = Vec::new();
    let encoded = slice::encode(
        hash,
        size,
        0..size,
        |offset, buffer| copy(bytes, offset, buffer),
        |offset, buffer| copy(&nodes, offset, buffer),
        &mut out,
    );
    encoded.expect("bytes in memory verify under their own tree");
    out.into()
}
