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
use tokio::sync::mpsc;

use super::{
    Download, Event,
    check::{self, Small},
    pull::{Pull, PullError, Wanted},
};
use crate::{FetchError, disk::Disk};

/// With peers from which nothing comes for so long, an origin is asked.
const STANDSTILL: Duration = Duration::from_secs(5);
/// Pause before an origin is asked again that could not be reached.
const REST: Duration = Duration::from_secs(30);
/// An origin that was not asked so long after it could be is not needed.
const LATEST: Duration = Duration::from_secs(2);
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
        let begun = self.since.map(|since| now.saturating_duration_since(since));
        let is_soon = begun.is_some_and(|begun| begun < self.origin.patience() + LATEST);
        !self.steps.is_empty() || (is_soon && self.usable(now).is_some())
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
        if self.web.places.is_empty() {
            return;
        }
        let usual = self.web.origin.patience();
        let has_peers = self.schedule.peer_count() > 0 && !self.schedule.is_refused();
        // With nothing on its way there is nothing to ask them for.
        let is_idle = self.schedule.in_flight() == 0 && self.hope.stands_still(now, usual);
        if has_peers && !is_idle && !self.hope.stands_still(now, STANDSTILL) {
            self.web.since = None;
            return;
        }
        let since = *self.web.since.get_or_insert(now);
        let patience = if has_peers { Duration::ZERO } else { usual };
        if now.saturating_duration_since(since) < patience {
            return;
        }
        let Some(place) = self.web.usable(now) else { return };
        if self.blobs.is_empty() && self.items.is_empty() {
            self.ask_web_for_size(place);
        } else {
            self.ask_web_for_blob(place);
            self.ask_web_for_items(place);
        }
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
        web.push(None, async move { Step::Sized(place, pull.open().await) });
    }

    /// One at a time: its parts are read side by side.
    fn ask_web_for_blob(&mut self, place: usize) {
        if self.blobs.keys().any(|id| self.web.pulling.contains_key(id)) {
            return;
        }
        let found = self.blobs.iter().find_map(|(id, state)| {
            let pull = self.web.pull(place, state.cid)?;
            Some((*id, pull, state))
        });
        let Some((id, pull, state)) = found else { return };
        let wanted = Wanted {
            hash: state.cid.hash(),
            expected: state.expected,
            max: state.max,
            goal: state.goal.clone(),
            fetch: state.fetch.clone(),
        };
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
                self.tally.done(bytes);
                self.tally.fetched_from_web(bytes);
            }
            Step::Sized(place, Ok((body, size))) => {
                self.web.is_sizing = false;
                self.web.size = Some(size);
                self.web.opened = Some((place, body, size));
                self.hope.moved(now);
                self.ready.push_back(Event::Claimed);
            }
            Step::Sized(place, Err(error)) => {
                self.web.is_sizing = false;
                self.web_failed(place, error)?;
            }
            Step::Blob(place, id, pulled) => {
                self.web.pulling.remove(&id);
                let held = std::mem::take(&mut self.web.held);
                match pulled {
                    Ok(fetch) => self.on_pulled(id, fetch),
                    Err(error) => {
                        if matches!(error, PullError::Wrong(_)) {
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
