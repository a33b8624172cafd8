//! Work of the exchange: content from peers.
use std::{sync::Arc, time::Instant};

use cardume_api::{Code, Fetched, Kind, Outcome, Phase, Progress, Source};
use cardume_exchange::Fetch;

use super::{Operations, Ticket};
use crate::problem::{Refused, Result};

/// Lists the fetches of an earlier run, which go on by themselves, among the operations.
pub(crate) fn resume(operations: &Arc<Operations>, exchange: &cardume_exchange::Handle) {
    for (request, resumed) in exchange.take_resumed() {
        let started = operations.start(Kind::Fetch, request.cid.to_string(), |ticket| {
            fetch(ticket, resumed, None)
        });
        if let Err(Refused(problem)) = started {
            tracing::warn!(%problem, cid = %request.cid, "an unfinished fetch does not go on");
        }
    }
}

/// Follows a fetch to its end. Cancelling the ticket cancels the fetch, unless the server stops: then it is the
/// exchange that ends it, and takes it up again at the next start. With `durable`, what was fetched is on the disk
/// for good when the operation ends.
pub(crate) async fn fetch(
    mut ticket: Ticket,
    mut fetch: Fetch,
    durable: Option<cardume_exchange::Handle>,
) -> Result<Outcome> {
    let began = Instant::now();
    let mut progress = fetch.progress();
    let cancel = ticket.cancellation().clone();
    let mut told = true;
    let fetched = loop {
        tokio::select! {
            biased;
            ended = fetch.ended() => break ended?,
            () = cancel.cancelled() => {
                if ticket.is_stopping() {
                    fetch.leave();
                }
                return Err(Refused::new(Code::Cancelled, "cancelled"));
            }
            changed = progress.changed(), if told => match changed {
                Ok(()) => {
                    let now = progress.borrow_and_update().clone();
                    ticket.advance(into_progress(now));
                }
                Err(_) => told = false,
            },
        }
    };
    if let Some(exchange) = durable {
        ticket.advance(Progress {
            phase: Phase::Syncing,
            ..into_progress(progress.borrow().clone())
        });
        exchange.sync().await?;
    }
    Ok(Outcome::Fetched(Fetched {
        cid: fetched.cid,
        path: fetched.path.map(|path| path.to_string_lossy().into_owned()),
        size: fetched.size,
        seconds: began.elapsed().as_secs_f64(),
        fetched: fetched.fetched,
        origin: fetched.origin,
        sources: fetched.sources.into_iter().map(into_source).collect(),
    }))
}

pub(super) fn into_progress(progress: cardume_exchange::Progress) -> Progress {
    Progress {
        phase: match progress.phase {
            cardume_exchange::Phase::Waiting => Phase::Waiting,
            cardume_exchange::Phase::FindingPeers => Phase::FindingPeers,
            cardume_exchange::Phase::Manifests => Phase::Manifests,
            cardume_exchange::Phase::Content => Phase::Content,
            cardume_exchange::Phase::Placing => Phase::Placing,
            cardume_exchange::Phase::Done => Phase::Done,
        },
        size: progress.size,
        done: progress.done,
        fetched: progress.fetched,
        origin: progress.origin,
        elsewhere: progress.elsewhere,
        files: progress.files,
        files_done: progress.files_done,
        sources: progress.sources.into_iter().map(into_source).collect(),
    }
}

fn into_source(source: cardume_exchange::Source) -> Source {
    Source {
        peer: source.peer.to_string(),
        bytes: source.bytes,
    }
}
