//! Work of the exchange: content from peers.
use std::time::Instant;

use cardume_api::{Code, Fetched, Outcome, Phase, Progress, Source};
use cardume_exchange::Fetch;

use super::Ticket;
use crate::problem::{Refused, Result};

/// Follows a fetch to its end. Dropping it, or cancelling the ticket, cancels the fetch.
pub(crate) async fn fetch(mut ticket: Ticket, fetch: Fetch) -> Result<Outcome> {
    let began = Instant::now();
    let mut progress = fetch.progress();
    let finished = fetch.finished();
    tokio::pin!(finished);
    let cancel = ticket.cancellation().clone();
    let mut told = true;
    let fetched = loop {
        tokio::select! {
            biased;
            ended = &mut finished => break ended?,
            () = cancel.cancelled() => return Err(Refused::new(Code::Cancelled, "cancelled")),
            changed = progress.changed(), if told => match changed {
                Ok(()) => {
                    let now = progress.borrow_and_update().clone();
                    ticket.advance(into_progress(now));
                }
                Err(_) => told = false,
            },
        }
    };
    Ok(Outcome::Fetched(Fetched {
        cid: fetched.cid,
        path: fetched.path.map(|path| path.to_string_lossy().into_owned()),
        size: fetched.size,
        seconds: began.elapsed().as_secs_f64(),
        fetched: fetched.fetched,
        sources: fetched.sources.into_iter().map(into_source).collect(),
    }))
}

fn into_progress(progress: cardume_exchange::Progress) -> Progress {
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
