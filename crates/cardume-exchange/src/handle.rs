//! The way in: content asked for and announced.
use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cardume_content::{Cid, Kind, Manifest};
use cardume_store::Store;
use multiaddr::Multiaddr;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Config, Fetch, FetchError, FetchRequest, Load, Progress, Reading, Resolved, Running, Serving,
    announce::Board,
    config::Settings,
    load::Counted,
    read,
    register::{FetchJob, Register, lock, prepare},
    repair,
    served::Served,
    spans,
};

/// What the server is told to do.
pub(crate) enum Command {
    Fetch(Box<FetchJob>),
    Read {
        cid: Cid,
        peers: Vec<Multiaddr>,
        job: read::Job,
    },
    Resolve(Box<ResolveJob>),
    Repair(Box<repair::Job>),
    Sync(oneshot::Sender<Result<(), FetchError>>),
}

/// A path to be resolved.
pub(crate) struct ResolveJob {
    pub(crate) cid: Cid,
    pub(crate) path: Vec<String>,
    pub(crate) peers: Vec<Multiaddr>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) resolved: oneshot::Sender<Result<Resolved, FetchError>>,
}

/// Asks the exchange for content; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    board: Arc<Board>,
    register: Arc<Mutex<Register>>,
    served: Arc<Served>,
    settings: Settings,
    load: Arc<Counted>,
}

impl Handle {
    pub(crate) fn new(
        commands: mpsc::Sender<Command>,
        board: Arc<Board>,
        register: Arc<Mutex<Register>>,
        served: Arc<Served>,
        settings: Settings,
        load: Arc<Counted>,
    ) -> Self {
        Self {
            commands,
            board,
            register,
            served,
            settings,
            load,
        }
    }

    /// Has another configuration hold: how many there are at once from now on, the rest for what begins from now on.
    pub fn configure(&self, config: Config) {
        self.settings.set(config);
    }

    /// Starts (or resumes) a fetch. It waits for its turn when many are under way.
    pub fn fetch(&self, request: FetchRequest) -> Fetch {
        let (job, fetch) = prepare(&self.register, request, None);
        if let Err(refused) = self.commands.try_send(Command::Fetch(Box::new(job))) {
            let error = match &refused {
                mpsc::error::TrySendError::Full(_) => {
                    FetchError::Limit("too many fetches are waiting".into())
                }
                mpsc::error::TrySendError::Closed(_) => FetchError::Closed,
            };
            if let Command::Fetch(job) = refused.into_inner() {
                // The receiver is in our own hands.
                let _ = job.finished.send(Err(error));
            }
        }
        fetch
    }

    /// Fetches under way or waiting for their turn.
    pub fn running(&self) -> Vec<Running> {
        lock(&self.register).running.values().cloned().collect()
    }

    /// What peers are given now, or were in the last ten seconds; at most four things to each of 256 peers.
    pub fn serving(&self) -> Vec<Serving> {
        self.served.lately(Instant::now())
    }

    /// How many requests there are now, of this node and of peers.
    pub fn load(&self) -> Load {
        self.load.now()
    }

    /// Takes the fetches of an earlier run that go on by themselves, each once.
    ///
    /// They run whether they are taken or not; who takes one may follow it, and cancels it by dropping it.
    pub fn take_resumed(&self) -> Vec<(FetchRequest, Fetch)> {
        std::mem::take(&mut lock(&self.register).resumed)
    }

    /// Begins to read `range` of the file at `cid`/`path`: in order, verified, fetched as it is needed.
    ///
    /// # Errors
    /// As for a fetch; `Refused` when it names a directory.
    ///
    /// # Cancel safety
    /// Dropping the future, or the [`Reading`], stops everything.
    pub async fn read(
        &self,
        cid: Cid,
        path: Vec<String>,
        peers: Vec<Multiaddr>,
        range: Range<u64>,
    ) -> Result<Reading, FetchError> {
        self.read_job(cid, path, peers, range, None).await
    }

    /// Reads a whole blob, as [`read`](Self::read) does; what has to be fetched for it is taken in through `store`, a
    /// handle that may say who else may have it.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    ///
    /// # Cancel safety
    /// Dropping the future stops looking.
    pub async fn read_into(
        &self,
        store: Store,
        cid: Cid,
        peers: Vec<Multiaddr>,
    ) -> Result<Reading, FetchError> {
        self.read_job(cid, Vec::new(), peers, 0..u64::MAX, Some(store))
            .await
    }

    async fn read_job(
        &self,
        cid: Cid,
        path: Vec<String>,
        peers: Vec<Multiaddr>,
        range: Range<u64>,
        store: Option<Store>,
    ) -> Result<Reading, FetchError> {
        let (begun, answer) = oneshot::channel();
        let job = read::Job {
            path,
            range,
            store,
            begun,
            span: spans::read(cid),
        };
        self.send(Command::Read { cid, peers, job }).await?;
        answer.await.map_err(|_| FetchError::Closed)?
    }

    /// Finds out what `cid`/`path` names, asking peers for directories that are not here.
    ///
    /// `deadline` is how long to look for somebody who has it; by default, `[exchange] find_timeout`.
    ///
    /// # Errors
    /// `NotFound`, `NoSuchPath`, and as for a fetch.
    ///
    /// # Cancel safety
    /// Dropping the future stops looking.
    pub async fn resolve(
        &self,
        cid: Cid,
        path: Vec<String>,
        peers: Vec<Multiaddr>,
        deadline: Option<Duration>,
    ) -> Result<Resolved, FetchError> {
        let (resolved, answer) = oneshot::channel();
        let job = ResolveJob {
            cid,
            path,
            peers,
            deadline,
            resolved,
        };
        self.send(Command::Resolve(Box::new(job))).await?;
        answer.await.map_err(|_| FetchError::Closed)?
    }

    /// Gets broken blobs of a root again, each to where the store wants it; `progress` follows. Returns those that are
    /// whole: fewer than asked for when nobody has the others.
    ///
    /// # Errors
    /// What the disk says.
    ///
    /// # Cancel safety
    /// Dropping the future ends it; what has come stays.
    pub async fn repair(
        &self,
        root: Cid,
        peers: Vec<Multiaddr>,
        blobs: Vec<repair::Mend>,
        progress: watch::Sender<Progress>,
    ) -> Result<Vec<Cid>, FetchError> {
        let (repaired, answer) = oneshot::channel();
        let job = repair::Job {
            root,
            peers,
            blobs,
            progress,
            repaired,
        };
        self.send(Command::Repair(Box::new(job))).await?;
        answer.await.map_err(|_| FetchError::Closed)?
    }

    /// Announces a root in the DHT and keeps it announced; every share and finished fetch is.
    pub fn announce(&self, cid: Cid) {
        self.board.set(cid, true);
    }

    /// Takes a root off the DHT.
    pub fn withdraw(&self, cid: Cid) {
        self.board.set(cid, false);
    }

    /// Waits until everything that was verified before is durable, and what was fetched is listed as a root.
    ///
    /// # Errors
    /// What the disk says, or `Closed`.
    ///
    /// # Cancel safety
    /// It becomes durable whether this waits or not.
    pub async fn sync(&self) -> Result<(), FetchError> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Sync(done)).await?;
        answer.await.map_err(|_| FetchError::Closed)?
    }

    async fn send(&self, command: Command) -> Result<(), FetchError> {
        self.commands.send(command).await.map_err(|_| FetchError::Closed)
    }
}

impl Resolved {
    pub(crate) const fn directory(cid: Cid, size: u64, manifest: Manifest) -> Self {
        Self {
            cid,
            size,
            executable: false,
            manifest: Some(manifest),
        }
    }

    /// Whether it is a file or a directory.
    pub const fn kind(&self) -> Kind {
        self.cid.kind()
    }
}
