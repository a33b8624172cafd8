//! What runs.
use cardume_roster::Work;
use futures::{FutureExt as _, future::BoxFuture};
use libp2p_stream::IncomingStreams;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Config, Handle, board::Board, expose::Exposing, forward, lines::Lines};

/// Listens in peers' stead, and gives services to peers.
pub struct Server {
    handle: Handle,
    lines: Lines,
    incoming: IncomingStreams,
}

impl Server {
    pub(crate) const fn new(handle: Handle, lines: Lines, incoming: IncomingStreams) -> Self {
        Self {
            handle,
            lines,
            incoming,
        }
    }

    /// Runs until `stop`, when every connection is cut.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            handle,
            lines,
            incoming,
        } = self;
        let exposing = Exposing {
            table: handle.table(),
            board: handle.board().clone(),
            lines: lines.clone(),
        };
        let work = Forwarding {
            board: handle.board().clone(),
            lines,
        };
        let mut table = handle.table();
        let forwards = watch::Sender::new(table.borrow_and_update().forwards());
        let keeping = cardume_roster::keep(forwards.subscribe(), work, stop.clone());
        let telling = async {
            while table.changed().await.is_ok() {
                let now = table.borrow_and_update().forwards();
                forwards.send_if_modified(|before| {
                    let is_another = *before != now;
                    *before = now;
                    is_another
                });
            }
        };
        let beside = async { tokio::join!(exposing.run(incoming), telling) };
        tokio::select! {
            // When it is stopped.
            () = keeping => {}
            _ = beside => {}
        }
    }
}

/// Listens for each tunnel that leads to a peer.
struct Forwarding {
    board: Board,
    lines: Lines,
}

impl Work<String, Config> for Forwarding {
    fn run(&self, name: String, config: Config, stop: CancellationToken) -> BoxFuture<'static, ()> {
        let (tally, lines) = (self.board.of(&name), self.lines.clone());
        let forwarding = async move { forward::run(&name, &config, &lines, &tally).await };
        stop.run_until_cancelled_owned(forwarding).map(drop).boxed()
    }

    fn gone(&self, _: String) -> BoxFuture<'static, ()> {
        futures::future::ready(()).boxed()
    }
}
