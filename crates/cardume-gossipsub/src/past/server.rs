//! Answering peers that ask what has been said.
use std::{
    collections::HashSet,
    io,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use libp2p_stream::IncomingStreams;
use libp2p_swarm::Stream;
use tokio::time::timeout;

use super::{MAX_BYTES, MAX_HISTORY, Past, TIME, wire};
use crate::{
    config::check_name,
    judge::Rules,
    meter::{Meters, Rate},
};

/// Peers answered at once; more are refused, and may ask somebody else.
const MAX_ANSWERING: usize = 16;
/// Peers whose questions are counted at the same time.
const MAX_ASKING: usize = 1024;
/// Questions of one peer: two at once, and then one a second.
const RATE: Rate = Rate {
    messages: 1,
    bytes: MAX_BYTES as u64,
};

/// Answers peers, out of what is kept.
pub(crate) struct Answering {
    pub(crate) incoming: IncomingStreams,
    pub(crate) past: Past,
    pub(crate) rules: Rules,
}

impl Answering {
    /// Answers until the behaviour is dropped.
    pub(crate) async fn run(self) {
        let Self {
            mut incoming,
            past,
            rules,
        } = self;
        let mut answering = FuturesUnordered::new();
        // One stream of a peer at a time: it could hold all the places.
        let mut busy = HashSet::new();
        let mut asked = Meters::new(MAX_ASKING);
        loop {
            tokio::select! {
                next = incoming.next() => {
                    let Some((peer, stream)) = next else { return };
                    let is_fit = answering.len() < MAX_ANSWERING
                        && !busy.contains(&peer)
                        && asked.take(peer, RATE, 0, Instant::now());
                    // One that is not is dropped, which tells the peer.
                    if is_fit {
                        busy.insert(peer);
                        let (past, rules) = (past.clone(), rules.clone());
                        answering.push(async move {
                            let answered = timeout(TIME, answer(peer, stream, &past, &rules)).await;
                            tracing::debug!(%peer, ?answered, "asked what was said");
                            peer
                        });
                    }
                }
                Some(peer) = answering.next() => {
                    busy.remove(&peer);
                }
            }
        }
    }
}

/// Answers one question. To whom the topic's messages are not sent, none of them are given: it is told what it would be
/// if there were none.
async fn answer(peer: PeerId, mut stream: Stream, past: &Past, rules: &Rules) -> io::Result<()> {
    let (topic, count) = wire::read_question(&mut stream).await?;
    let is_fit = check_name(&topic).is_ok() && rules.of(&topic).may_subscribe(&peer);
    let messages: Vec<(Duration, _)> = match is_fit {
        true => past.last(&topic, usize::from(count).min(MAX_HISTORY), Instant::now()),
        false => Vec::new(),
    };
    wire::write_answer(&mut stream, &messages).await
}
