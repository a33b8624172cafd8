//! What runs: answers, fetches, reads, announcements, and the store's settling.
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::{kept::Kept, sessions::Sessions};
use crate::{
    announce::{self, Board},
    config::Settings,
    disk::Disk,
    handle::Command,
    journal::Journal,
    load::Counted,
    register::Register,
    serve::Answerer,
    sources::Finder,
};

mod kept;
mod resolving;
mod sessions;

/// Runs the exchange.
///
/// Everything is polled in one task: what takes long is on blocking threads, and a fetch costs this task a few
/// microseconds for each MiB.
pub struct Server {
    pub(crate) settings: Settings,
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

    /// Reads from web servers what no peer has.
    #[must_use]
    pub fn with_origins(mut self, origin: cardume_origin::Handle) -> Self {
        self.finder.origin = origin;
        self
    }

    /// Answers peers, runs fetches, settles the store and announces roots until `stop`; then ends drained.
    ///
    /// Fetches that were asked to persist go on at the next start.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            settings,
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
        let load = finder.load.clone();
        let kept = Kept {
            disk: disk.clone(),
            board: board.clone(),
        };
        let (roots, waiting_roots) = mpsc::channel(64);
        let sessions = Sessions {
            settings: settings.clone(),
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
                serve(answerer, inbound, &settings, &load),
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
async fn serve(
    answerer: Answerer,
    mut inbound: cardume_transfer::Server,
    settings: &Settings,
    load: &Counted,
) {
    let mut answering = FuturesUnordered::new();
    let mut working = 0;
    loop {
        tokio::select! {
            request = inbound.next() => {
                let Some(request) = request else { return };
                // Those that wait for a change wait in the answerer, within its own bound.
                let waits = request.request.waits();
                if !waits && working >= settings.now().max_serving.max(1) {
                    request.responder.send(Answerer::busy());
                    continue;
                }
                working += usize::from(!waits);
                answering.push(answer(answerer.clone(), request, waits));
            }
            Some(waited) = answering.next() => working -= usize::from(!waited),
        }
        load.set_inbound(working, answering.len() - working);
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
