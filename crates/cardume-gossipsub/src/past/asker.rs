//! Asking peers what has been said.
use std::{
    collections::HashMap,
    io,
    time::{Duration, Instant},
};

use futures::future::join_all;
use libp2p_identity::PeerId;
use libp2p_stream::Control;
use libp2p_swarm::StreamProtocol;
use tokio::time::timeout;

use super::{MAX_AGE, MAX_HISTORY, Past, TIME, signed::Signed, wire};
use crate::{Message, MessageId, judge::Rules};

/// Peers that are asked: one may have been away, and few keep anything.
const MAX_ASKED: usize = 3;

/// Asks peers, and believes signatures only. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) control: Control,
    pub(crate) protocol: StreamProtocol,
    pub(crate) past: Past,
    pub(crate) rules: Rules,
    pub(crate) local: PeerId,
}

impl std::fmt::Debug for Asker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Asker").field(&self.protocol).finish()
    }
}

impl Asker {
    /// The last messages that this node or one of these peers has kept, oldest first; none where configuration keeps none
    /// of the topic.
    pub(crate) async fn ask(&self, topic: &str, peers: &[PeerId], count: usize) -> Vec<Message> {
        let count = count.min(self.rules.of(topic).history).min(MAX_HISTORY);
        if count == 0 {
            return Vec::new();
        }
        let asking = peers
            .iter()
            .take(MAX_ASKED)
            .map(|peer| self.ask_one(*peer, topic, count));
        let mut answers = vec![self.past.last(topic, count, Instant::now())];
        answers.extend(join_all(asking).await);
        let mut all = HashMap::<MessageId, (Duration, Signed)>::new();
        for (age, message) in answers.into_iter().flatten() {
            // Who got it first has the age that is nearest to the truth.
            let known = all.entry(message.id()).or_insert((age, message));
            known.0 = known.0.max(age);
        }
        let mut all: Vec<_> = all.into_iter().collect();
        // Of one author in its own order: ages are in seconds.
        all.sort_by_key(|(_, (age, message))| (std::cmp::Reverse(*age), message.seqno));
        let first = all.len().saturating_sub(count);
        let topic: std::sync::Arc<str> = topic.into();
        let last = all.into_iter().skip(first);
        last.map(|(id, (_, message))| Message {
            topic: topic.clone(),
            from: message.from,
            id,
            data: message.data,
        })
        .collect()
    }

    /// What one peer has kept and may be believed; nothing if it is late, or says a word that is not true.
    async fn ask_one(&self, peer: PeerId, topic: &str, count: usize) -> Vec<(Duration, Signed)> {
        let answered = match timeout(TIME, self.exchange(peer, topic, count)).await {
            Ok(answered) => answered,
            Err(late) => Err(late.into()),
        };
        match answered {
            Ok(messages) => messages,
            Err(error) => {
                tracing::debug!(%peer, topic, %error, "it does not say what was said");
                Vec::new()
            }
        }
    }

    async fn exchange(&self, peer: PeerId, topic: &str, count: usize) -> io::Result<Vec<(Duration, Signed)>> {
        let stream = self
            .control
            .clone()
            .open_stream(peer, self.protocol.clone())
            .await;
        let mut stream = stream.map_err(io::Error::other)?;
        let asked = u16::try_from(count).unwrap_or(u16::MAX);
        wire::write_question(&mut stream, topic, asked).await?;
        let max = self.rules.of(topic).max_message;
        let mut messages = wire::read_answer(&mut stream, count, max).await?;
        let rule = self.rules.of(topic);
        messages.retain(|(age, message)| {
            *age <= MAX_AGE && (message.from == self.local || rule.may_publish(&message.from))
        });
        // Each takes as long as a signature does: not here, where others wait.
        let topic = topic.to_owned();
        let verify = move || {
            let is_true = messages.iter().all(|(_, message)| message.is_true(&topic));
            is_true.then_some(messages)
        };
        let verified = tokio::task::spawn_blocking(verify)
            .await
            .map_err(io::Error::other)?;
        verified.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a message is not its author's"))
    }
}
