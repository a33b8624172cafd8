//! What holds for each topic, and what it means for one message.
use std::{collections::BTreeMap, sync::Arc};

use libp2p_identity::PeerId;

use crate::{Topic, config::Allow, meter::Rate, past::MAX_HISTORY};

/// Bytes a second of one author on one topic.
const AUTHOR_BYTES: u64 = 1024 * 1024;

/// What holds where a topic says nothing of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a message.
    pub(crate) max_message: usize,
    /// Messages a second of one author.
    pub(crate) max_rate: u32,
}

/// What holds for every topic. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Rules(Arc<(Limits, BTreeMap<String, Topic>)>);

/// What holds for one topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule<'a> {
    /// Bytes of a message.
    pub(crate) max_message: usize,
    /// What one author may send.
    pub(crate) rate: Rate,
    /// Messages kept for peers that come later.
    pub(crate) history: usize,
    publishers: Option<&'a Allow>,
    subscribers: Option<&'a Allow>,
}

impl Rules {
    pub(crate) fn new(limits: Limits, topics: BTreeMap<String, Topic>) -> Self {
        Self(Arc::new((limits, topics)))
    }

    /// Whether any topic is kept for peers that come later.
    pub(crate) fn has_history(&self) -> bool {
        self.0.1.values().any(|topic| topic.history > 0)
    }

    /// What holds for the topic of that name.
    pub(crate) fn of(&self, topic: &str) -> Rule<'_> {
        let (limits, topics) = &*self.0;
        let own = topics.get(topic);
        let max_message = own.and_then(|own| own.max_message);
        let messages = own.and_then(|own| own.max_rate).unwrap_or(limits.max_rate);
        let max_message = max_message.map_or(limits.max_message, |size| size.get() as usize);
        Rule {
            max_message,
            rate: Rate {
                messages,
                // Whoever may send so many may send them at any size that is allowed, up to 64 a second.
                bytes: AUTHOR_BYTES.max(u64::from(messages.min(64)) * max_message as u64),
            },
            history: own.map_or(0, |own| own.history.min(MAX_HISTORY)),
            publishers: own.and_then(|own| own.publishers.as_ref()),
            subscribers: own.and_then(|own| own.subscribers.as_ref()),
        }
    }
}

impl Rule<'_> {
    /// Whether messages of the peer are taken.
    pub(crate) fn may_publish(&self, peer: &PeerId) -> bool {
        self.publishers.is_none_or(|publishers| publishers.allows(peer))
    }

    /// Whether messages are sent to the peer.
    pub(crate) fn may_subscribe(&self, peer: &PeerId) -> bool {
        self.subscribers
            .is_none_or(|subscribers| subscribers.allows(peer))
    }
}
