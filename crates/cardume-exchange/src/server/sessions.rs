//! Fetches, reads and lookups, each a future of the one task.
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use cardume_content::Cid;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    kept::{KeepRoot, SyncReply},
    resolving::resolve,
};
use crate::{
    FetchError, Progress,
    config::Settings,
    disk::Disk,
    download::Download,
    fetch,
    handle::{Command, ResolveJob},
    journal::Journal,
    read,
    register::{FetchJob, Register, lock, prepare},
    repair,
    sources::Finder,
    spans,
    tally::Tally,
};

/// Directories being resolved at once; more wait.
const MAX_RESOLVING: usize = 64;

type Session = BoxFuture<'static, ()>;

/// Fetches, reads and lookups.
pub(super) struct Sessions {
    pub(super) settings: Settings,
    pub(super) disk: Disk,
    pub(super) finder: Finder,
    pub(super) register: Arc<Mutex<Register>>,
    pub(super) journal: Journal,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) roots: mpsc::Sender<KeepRoot>,
    pub(super) stop: CancellationToken,
}

impl Sessions {
    pub(super) async fn run(self, mut commands: mpsc::Receiver<Command>, syncs: mpsc::Sender<SyncReply>) {
        let mut fetches: FuturesUnordered<Session> = FuturesUnordered::new();
        let mut reads: FuturesUnordered<Session> = FuturesUnordered::new();
        let mut others: FuturesUnordered<Session> = FuturesUnordered::new();
        let mut queue: VecDeque<Box<FetchJob>> = self.resume().await.into();
        let mut coming: FuturesUnordered<BoxFuture<'static, Box<FetchJob>>> = FuturesUnordered::new();
        let mut changed = self.settings.subscribe();
        loop {
            let config = self.settings.now();
            while fetches.len() < config.max_fetches.max(1) {
                let Some(job) = queue.pop_front() else { break };
                fetches.push(self.fetch(job));
            }
            tokio::select! {
                command = commands.recv(), if others.len() < MAX_RESOLVING => match command {
                    Some(Command::Fetch(job)) => coming.push(self.write_down(job)),
                    Some(Command::Read { job, .. }) if reads.len() >= config.max_reads.max(1) => {
                        job.refuse(reads.len());
                    }
                    Some(Command::Read { cid, peers, job }) => reads.push(self.read(cid, &peers, job)),
                    Some(Command::Resolve(job)) => others.push(self.resolve(job)),
                    Some(Command::Repair(job)) => others.push(self.repair(*job)),
                    Some(Command::Sync(done)) => {
                        // Fails only when the store has ended.
                        let _ = syncs.send(done).await;
                    }
                    None if fetches.is_empty()
                        && reads.is_empty()
                        && others.is_empty()
                        && coming.is_empty() =>
                    {
                        return;
                    }
                    None => {}
                },
                Some(job) = coming.next() => queue.push_back(job),
                Some(()) = fetches.next() => {}
                Some(()) = reads.next() => {}
                Some(()) = others.next() => {}
                // There may be room for one that waits.
                Ok(()) = changed.changed() => {}
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
        disk: &Disk,
        peers: &[multiaddr::Multiaddr],
        deadline: Option<Duration>,
        progress: watch::Sender<Progress>,
    ) -> Download {
        Download::new(
            cid,
            self.finder.clone(),
            disk.clone(),
            peers,
            Tally::new(progress),
            &self.settings.now(),
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
            span,
        } = *job;
        let told = span.clone();
        let disk = match &request.allow {
            Some(allow) => self.disk.guarding_for(request.cid, allow.clone()),
            None => self.disk.clone(),
        };
        let (peers, deadline) = (&request.peers, request.deadline);
        let mut download = self.download(request.cid, &disk, peers, deadline, progress);
        download.name_origins(&request.origins, &request.path);
        let (config, data_dir) = (self.settings.now(), self.data_dir.clone());
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
            spans::ended(&told, &result);
            // Nobody may be waiting for it any more.
            let _ = finished.send(result);
        }
        .instrument(span)
        .boxed()
    }

    fn read(&self, cid: Cid, peers: &[multiaddr::Multiaddr], job: read::Job) -> Session {
        let (progress, _) = watch::channel(Progress::default());
        let disk = match &job.store {
            Some(store) => self.disk.through(store.clone()),
            None => self.disk.clone(),
        };
        let download = self.download(cid, &disk, peers, None, progress);
        let config = self.settings.now();
        let span = job.span.clone();
        async move { read::run(job, &config, &disk, cid, download).await }
            .instrument(span)
            .boxed()
    }

    fn repair(&self, job: repair::Job) -> Session {
        let download = self.download(job.root, &self.disk, &job.peers, None, job.progress.clone());
        let (config, disk) = (self.settings.now(), self.disk.clone());
        async move { repair::run(job, &config, &disk, download).await }.boxed()
    }

    fn resolve(&self, job: Box<ResolveJob>) -> Session {
        let (progress, _) = watch::channel(Progress::default());
        let mut download = self.download(job.cid, &self.disk, &job.peers, job.deadline, progress);
        let (config, disk) = (self.settings.now(), self.disk.clone());
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
