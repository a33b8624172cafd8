//! What runs: answers, fetches, reads, announcements, and the store's settling.
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use cardume_content::{Cid, Kind};
use cardume_store::{Presence, Root};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, FetchError, Progress, Resolved,
    announce::{self, Board},
    disk::Disk,
    download::{Download, Event},
    fetch,
    goal::Goal,
    handle::{Command, FetchJob, Register, ResolveJob, lock, prepare},
    journal::Journal,
    plan, read, repair,
    serve::Answerer,
    sources::Finder,
    tally::Tally,
};

/// Time between two settlings while there is always something to settle.
const SETTLE_PAUSE: Duration = Duration::from_secs(5);
/// Directories being resolved at once; more wait.
const MAX_RESOLVING: usize = 64;

/// Runs the exchange.
///
/// Everything is polled in one task: what takes long is on blocking threads, and a fetch costs this task a few
/// microseconds for each MiB.
pub struct Server {
    pub(crate) config: Arc<Config>,
    pub(crate) disk: Disk,
    pub(crate) finder: Finder,
    pub(crate) answerer: Answerer,
    pub(crate) inbound: cardume_transfer::Server,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) board: Arc<Board>,
    pub(crate) register: Arc<Mutex<Register>>,
    pub(crate) journal: Journal,
    pub(crate) data_dir: Option<PathBuf>,
}

impl Server {
    /// Refuses destinations inside `path`, the node's own data directory.
    #[must_use]
    pub fn keep_out_of(mut self, path: PathBuf) -> Self {
        self.data_dir = Some(path);
        self
    }

    /// Answers peers, runs fetches, settles the store and announces roots until `stop`; then ends drained.
    ///
    /// Fetches that were asked to persist go on at the next start.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            config,
            disk,
            finder,
            answerer,
            inbound,
            commands,
            board,
            register,
            journal,
            data_dir,
        } = self;
        let kept = Kept {
            disk: disk.clone(),
            board: board.clone(),
        };
        let (roots, waiting_roots) = mpsc::channel(64);
        let sessions = Sessions {
            config: config.clone(),
            disk: disk.clone(),
            finder: finder.clone(),
            register,
            journal,
            data_dir,
            roots,
            stop: stop.clone(),
        };
        let (syncs, waiting_syncs) = mpsc::channel(64);
        announce::all(&disk, &board).await;
        let announcing = announce::run(&board, finder.kad.clone());
        let forever = async {
            tokio::join!(
                serve(answerer, inbound, config.max_serving.max(1)),
                announcing,
                sessions.run(commands, syncs),
            )
        };
        let stopped = stop.clone();
        let running = async move {
            tokio::select! {
                _ = forever => {}
                () = stopped.cancelled() => {}
            }
        };
        // What is verified is kept even if the stop comes first: this ends when nobody can ask for more.
        tokio::join!(running, kept.run(waiting_roots, waiting_syncs));
    }
}

/// Answers other peers' requests, a bounded number at a time.
async fn serve(answerer: Answerer, mut inbound: cardume_transfer::Server, max_serving: usize) {
    let mut answering = FuturesUnordered::new();
    let mut working = 0;
    loop {
        tokio::select! {
            request = inbound.next() => {
                let Some(request) = request else { return };
                // Those that wait for a change wait in the answerer, within its own bound.
                let waits = request.request.waits();
                if !waits && working >= max_serving {
                    request.responder.send(Answerer::busy());
                    continue;
                }
                working += usize::from(!waits);
                answering.push(answer(answerer.clone(), request, waits));
            }
            Some(waited) = answering.next() => working -= usize::from(!waited),
        }
    }
}

async fn answer(answerer: Answerer, inbound: cardume_transfer::Inbound, waits: bool) -> bool {
    let answer = answerer.answer(inbound.peer, inbound.request);
    let response = tokio::select! {
        response = answer => Some(response),
        () = inbound.responder.gone() => None,
    };
    if let Some(response) = response {
        inbound.responder.send(response);
    }
    waits
}

type Session = BoxFuture<'static, ()>;

/// Fetches, reads and lookups.
struct Sessions {
    config: Arc<Config>,
    disk: Disk,
    finder: Finder,
    register: Arc<Mutex<Register>>,
    journal: Journal,
    data_dir: Option<PathBuf>,
    roots: mpsc::Sender<KeepRoot>,
    stop: CancellationToken,
}

impl Sessions {
    async fn run(self, mut commands: mpsc::Receiver<Command>, syncs: mpsc::Sender<SyncReply>) {
        let mut fetches: FuturesUnordered<Session> = FuturesUnordered::new();
        let mut others: FuturesUnordered<Session> = FuturesUnordered::new();
        let mut queue: VecDeque<Box<FetchJob>> = self.resume().await.into();
        let mut coming: FuturesUnordered<BoxFuture<'static, Box<FetchJob>>> = FuturesUnordered::new();
        loop {
            while fetches.len() < self.config.max_fetches.max(1) {
                let Some(job) = queue.pop_front() else { break };
                fetches.push(self.fetch(job));
            }
            tokio::select! {
                command = commands.recv(), if others.len() < MAX_RESOLVING + self.config.max_reads => match command {
                    Some(Command::Fetch(job)) => coming.push(self.write_down(job)),
                    Some(Command::Read { cid, peers, job }) => others.push(self.read(cid, &peers, job)),
                    Some(Command::Resolve(job)) => others.push(self.resolve(job)),
                    Some(Command::Repair(job)) => others.push(self.repair(*job)),
                    Some(Command::Sync(done)) => {
                        // Fails only when the store has ended.
                        let _ = syncs.send(done).await;
                    }
                    None if fetches.is_empty() && others.is_empty() && coming.is_empty() => return,
                    None => {}
                },
                Some(job) = coming.next() => queue.push_back(job),
                Some(()) = fetches.next() => {}
                Some(()) = others.next() => {}
            }
        }
    }

    /// Fetches of an earlier run that were not finished.
    async fn resume(&self) -> Vec<Box<FetchJob>> {
        let journal = self.journal.clone();
        let rows = match self.disk.run(move |_| journal.load()).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => {
                tracing::warn!(%error, "unfinished fetches cannot be read");
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        let mut jobs = Vec::new();
        for (key, request) in rows {
            tracing::info!(cid = %request.cid, "an unfinished fetch goes on");
            let (job, fetch) = prepare(&self.register, request.clone(), Some(key));
            lock(&self.register).resumed.push((request, fetch));
            jobs.push(Box::new(job));
        }
        jobs
    }

    /// Writes down a fetch that is to persist. One that cannot be written down runs all the same.
    fn write_down(&self, mut job: Box<FetchJob>) -> BoxFuture<'static, Box<FetchJob>> {
        let (disk, journal) = (self.disk.clone(), self.journal.clone());
        async move {
            if !job.request.persist {
                return job;
            }
            let request = job.request.clone();
            match disk.run(move |_| journal.add(&request)).await {
                Ok(Ok(key)) => job.key = Some(key),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a fetch is not written down and will not survive a restart");
                }
                Err(_) => {}
            }
            job
        }
        .boxed()
    }

    fn download(
        &self,
        cid: Cid,
        peers: &[multiaddr::Multiaddr],
        deadline: Option<Duration>,
        progress: watch::Sender<Progress>,
    ) -> Download {
        let (finder, disk) = (self.finder.clone(), self.disk.clone());
        Download::new(
            cid,
            finder,
            disk,
            peers,
            Tally::new(progress),
            &self.config,
            deadline,
        )
    }

    fn fetch(&self, job: Box<FetchJob>) -> Session {
        let FetchJob {
            id,
            key,
            is_resumed,
            request,
            progress,
            finished,
            cancelled,
        } = *job;
        let download = self.download(request.cid, &request.peers, request.deadline, progress);
        let (config, disk, data_dir) = (self.config.clone(), self.disk.clone(), self.data_dir.clone());
        let (journal, roots, stop) = (self.journal.clone(), self.roots.clone(), self.stop.clone());
        let register = self.register.clone();
        async move {
            let run = async {
                match fetch::arrived(&request, is_resumed, &disk).await {
                    Some(outcome) => Ok(outcome),
                    None => fetch::run(&request, &config, &disk, data_dir, download).await,
                }
            };
            let outcome = tokio::select! {
                biased;
                () = stop.cancelled() => Err(FetchError::Closed),
                () = cancelled.cancelled() => Err(FetchError::Cancelled),
                outcome = run => outcome,
            };
            lock(&register).running.remove(&id);
            let result = conclude(outcome, key, &disk, &journal, &roots).await;
            // Nobody may be waiting for it any more.
            let _ = finished.send(result);
        }
        .boxed()
    }

    fn read(&self, cid: Cid, peers: &[multiaddr::Multiaddr], job: read::Job) -> Session {
        let (progress, _) = watch::channel(Progress::default());
        let download = self.download(cid, peers, None, progress);
        let (config, disk) = (self.config.clone(), self.disk.clone());
        async move { read::run(job, &config, &disk, cid, download).await }.boxed()
    }

    fn repair(&self, job: repair::Job) -> Session {
        let download = self.download(job.root, &job.peers, None, job.progress.clone());
        let (config, disk) = (self.config.clone(), self.disk.clone());
        async move { repair::run(job, &config, &disk, download).await }.boxed()
    }

    fn resolve(&self, job: Box<ResolveJob>) -> Session {
        let (progress, _) = watch::channel(Progress::default());
        let mut download = self.download(job.cid, &job.peers, job.deadline, progress);
        let (config, disk) = (self.config.clone(), self.disk.clone());
        async move {
            let ResolveJob {
                cid,
                path,
                mut resolved,
                ..
            } = *job;
            let found = tokio::select! {
                found = resolve(&mut download, &disk, cid, &path, &config) => found,
                () = resolved.closed() => return,
            };
            let _ = resolved.send(found);
        }
        .boxed()
    }
}

/// Has a fetch's root kept in the background, and its row removed unless it goes on at the next start.
async fn conclude(
    outcome: Result<fetch::Outcome, FetchError>,
    key: Option<u64>,
    disk: &Disk,
    journal: &Journal,
    roots: &mpsc::Sender<KeepRoot>,
) -> Result<crate::Fetched, FetchError> {
    let forget = key.map(|key| {
        let journal = journal.clone();
        move || {
            if let Err(error) = journal.remove(key) {
                tracing::warn!(%error, "a finished fetch is still written down");
            }
        }
    });
    match outcome {
        Ok(outcome) => {
            let keep = KeepRoot {
                root: outcome.root,
                then: forget.map(|forget| Box::new(forget) as Box<dyn FnOnce() + Send>),
                hold: outcome.hold,
            };
            // The receiver lives as long as this can run.
            let _ = roots.send(keep).await;
            Ok(outcome.fetched)
        }
        Err(FetchError::Closed) => Err(FetchError::Closed),
        Err(error) => {
            if let Some(forget) = forget {
                let _ = disk.run(move |_| forget()).await;
            }
            Err(error)
        }
    }
}

async fn resolve(
    download: &mut Download,
    disk: &Disk,
    cid: Cid,
    path: &[String],
    config: &Config,
) -> Result<Resolved, FetchError> {
    let limits = config.limits();
    let entry = plan::resolve(download, disk, cid, path, &limits).await?;
    if entry.cid.kind() == Kind::Directory {
        let manifest = plan::manifest(download, disk, entry.cid, &limits).await?;
        let size = manifest.totals().0;
        return Ok(Resolved::directory(entry.cid, size, manifest));
    }
    let size = match entry.size {
        Some(size) => size,
        None => proven_size(download, disk, entry.cid, config).await?,
    };
    Ok(Resolved {
        cid: entry.cid,
        size,
        executable: entry.executable,
        manifest: None,
    })
}

/// The size of a root that is a file: of what is here, or proven by its last piece.
async fn proven_size(
    download: &mut Download,
    disk: &Disk,
    cid: Cid,
    config: &Config,
) -> Result<u64, FetchError> {
    let hash = cid.hash();
    match disk.run(move |store| store.presence(hash)).await?? {
        Presence::Complete { size } | Presence::Partial { size, .. } => return Ok(size),
        Presence::Absent => {}
    }
    let id = download.add_blob(cid, None, config.max_total.get(), Goal::Store, true);
    loop {
        if let Event::Started { blob, fetch } = download.next().await?
            && blob == id
        {
            return Ok(fetch.size());
        }
    }
}

/// A root to be kept, and what comes after that.
struct KeepRoot {
    root: Option<Root>,
    then: Option<Box<dyn FnOnce() + Send>>,
    /// Until it is a root.
    hold: cardume_store::Hold,
}

type SyncReply = oneshot::Sender<Result<(), FetchError>>;

/// Makes durable what has come, in the background.
struct Kept {
    disk: Disk,
    board: Arc<Board>,
}

impl Kept {
    /// Runs until nobody can send any more and everything is kept.
    async fn run(self, mut roots: mpsc::Receiver<KeepRoot>, mut syncs: mpsc::Receiver<SyncReply>) {
        let mut clock = tokio::time::interval(SETTLE_PAUSE);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                _ = clock.tick() => {
                    // Of a disk that has failed the store has told, once.
                    if let Err(error) = self.settle().await
                        && !self.disk.has_failed()
                    {
                        tracing::warn!(%error, "content that was verified is not durable yet");
                    }
                }
                root = roots.recv() => match root {
                    Some(root) => self.keep(root).await,
                    None => break,
                },
                Some(done) = syncs.recv() => waiting.push(done),
            }
            // In one go: a commit costs the same for many.
            while let Ok(root) = roots.try_recv() {
                self.keep(root).await;
            }
            while let Ok(done) = syncs.try_recv() {
                waiting.push(done);
            }
            if !waiting.is_empty() {
                let settled = self.settle().await;
                for done in waiting {
                    let _ = done.send(settled.clone());
                }
            }
        }
        if let Err(error) = self.settle().await {
            tracing::warn!(%error, "content that was verified is not durable");
        }
    }

    async fn settle(&self) -> Result<(), FetchError> {
        let (settled, evicted) = self
            .disk
            .run(|store| (store.settle(), store.take_evicted()))
            .await?;
        evicted.into_iter().for_each(|cid| self.board.set(cid, false));
        settled?;
        Ok(())
    }

    async fn keep(&self, keep: KeepRoot) {
        let KeepRoot { root, then, hold } = keep;
        let cid = root.as_ref().map(|root| root.cid);
        let kept = self
            .disk
            .run(move |store| {
                let kept = match root {
                    Some(root) => keep_root(store, root),
                    None => store.settle().map(|_| false),
                };
                drop(hold);
                if let (Ok(_), Some(then)) = (&kept, then) {
                    then();
                }
                kept
            })
            .await;
        match (kept, cid) {
            (Ok(Ok(true)), Some(cid)) => self.board.set(cid, true),
            (Ok(Err(error)), _) => tracing::warn!(%error, "what was fetched is not kept"),
            _ => {}
        }
    }
}

/// Keeps what was fetched. What was decided about it before holds: pinned stays pinned, silent stays silent. Returns
/// whether the DHT is told of it.
fn keep_root(store: &cardume_store::Store, mut root: Root) -> Result<bool, cardume_store::WriteError> {
    if let Ok(Some(before)) = store.root(root.cid) {
        root.pinned |= before.pinned;
        root.announce = before.announce;
    }
    let announce = root.announce;
    store.add_fetched(root)?;
    Ok(announce)
}
