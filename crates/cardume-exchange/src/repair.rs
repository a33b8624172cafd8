//! Broken content got again: blobs of one root, each to where the store wants it.
use std::collections::{HashMap, VecDeque};

use cardume_content::{Cid, Kind, PIECE};
use cardume_store::Target;
use multiaddr::Multiaddr;
use tokio::sync::{oneshot, watch};

use crate::{
    Config, FetchError, Phase, Progress,
    disk::Disk,
    download::{Download, Event, Sink},
    goal::Goal,
    plan,
};

/// Small blobs being asked for at once.
const MAX_SMALL: usize = 1_024;

/// A blob of a root that is to be whole again.
#[derive(Debug, Clone)]
pub struct Mend {
    /// What it is.
    pub cid: Cid,
    /// Its bytes, where that is known.
    pub size: Option<u64>,
    /// Where the store wants it.
    pub target: Target,
}

/// A repair that was asked for.
pub(crate) struct Job {
    pub(crate) root: Cid,
    pub(crate) peers: Vec<Multiaddr>,
    pub(crate) blobs: Vec<Mend>,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) repaired: oneshot::Sender<Result<Vec<Cid>, FetchError>>,
}

/// Gets as many blobs as peers have, unless whoever asked has gone.
pub(crate) async fn run(job: Job, config: &Config, disk: &Disk, download: Download) {
    let Job {
        root,
        blobs,
        mut repaired,
        ..
    } = job;
    let work = async {
        let _hold = disk.run(move |store| store.hold(root)).await?;
        let mut work = Work {
            config,
            disk,
            download,
            queue: blobs.into(),
            open: HashMap::new(),
            repaired: Vec::new(),
        };
        match work.run().await {
            // What others have come to have is something.
            Err(FetchError::NotFound { .. } | FetchError::Corrupt) => {}
            ended => ended?,
        }
        Ok(work.repaired)
    };
    let done = tokio::select! {
        done = work => done,
        () = repaired.closed() => return,
    };
    // Nobody may wait for it any more.
    let _ = repaired.send(done);
}

struct Work<'a> {
    config: &'a Config,
    disk: &'a Disk,
    download: Download,
    queue: VecDeque<Mend>,
    /// By the download's number.
    open: HashMap<u32, Mend>,
    repaired: Vec<Cid>,
}

impl Work<'_> {
    async fn run(&mut self) -> Result<(), FetchError> {
        let size = self.queue.iter().filter_map(|mend| mend.size).sum();
        self.download.tally.wanted(size, self.queue.len() as u64);
        self.download.tally.phase(Phase::FindingPeers);
        loop {
            self.feed();
            if self.open.is_empty() {
                return Ok(());
            }
            let event = self.download.next().await?;
            self.download.tally.phase(Phase::Content);
            self.on_event(event).await?;
        }
    }

    fn feed(&mut self) {
        while self.download.unfinished_blobs() < self.config.max_open_files.max(1)
            && self.download.unfinished_items() < MAX_SMALL
            && let Some(mend) = self.queue.pop_front()
        {
            let is_large = mend.size.is_some_and(|size| size > PIECE);
            let id = match mend.cid.kind() {
                Kind::Directory => {
                    let sink = Sink::Manifest(self.config.limits());
                    self.download.add_item(mend.cid, None, sink)
                }
                Kind::Blob if is_large => self.add_blob(&mend),
                Kind::Blob => {
                    let sink = Sink::Goal(Goal::Exact(mend.target.clone()));
                    self.download.add_item(mend.cid, mend.size, sink)
                }
            };
            self.open.insert(id, mend);
        }
    }

    fn add_blob(&mut self, mend: &Mend) -> u32 {
        let (max, goal) = match mend.cid.kind() {
            Kind::Directory => (self.config.limits().manifest_bytes, Goal::Manifest),
            Kind::Blob => (self.config.max_total.get(), Goal::Exact(mend.target.clone())),
        };
        self.download.add_blob(mend.cid, mend.size, max, goal, false)
    }

    async fn on_event(&mut self, event: Event) -> Result<(), FetchError> {
        match event {
            Event::TooLarge { item } => {
                if let Some(mend) = self.open.remove(&item) {
                    let id = self.add_blob(&mend);
                    self.open.insert(id, mend);
                }
            }
            Event::Item { item, fetch, .. } => {
                if let Some(mend) = self.open.remove(&item) {
                    self.finish(mend, fetch).await?;
                }
            }
            Event::Complete { blob, fetch } => match self.open.remove(&blob) {
                Some(mend) if mend.cid.kind() == Kind::Directory => {
                    plan::large(self.disk, mend.cid, &fetch, &self.config.limits()).await?;
                    self.finish(mend, None).await?;
                }
                Some(mend) => {
                    self.finish(mend, Some(cardume_store::Fetch::clone(&fetch)))
                        .await?;
                }
                None => {}
            },
            _ => {}
        }
        Ok(())
    }

    async fn finish(&mut self, mend: Mend, fetch: Option<cardume_store::Fetch>) -> Result<(), FetchError> {
        if let Some(fetch) = fetch {
            // One that another fetch began goes where that one says.
            if *fetch.target() != mend.target {
                return Ok(());
            }
            self.disk.run(move |_| fetch.finish()).await??;
        }
        self.download.tally.file_done();
        self.repaired.push(mend.cid);
        Ok(())
    }
}
