//! What holds for each topic, and what it means for one message.
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

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

/// What holds for every topic now. Cheap to clone; all clones are the same rules.
#[derive(Debug, Clone)]
pub(crate) struct Rules(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    topics: RwLock<BTreeMap<String, Topic>>,
}

/// What holds for one topic.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Bytes of a message.
    pub(crate) max_message: usize,
    /// What one author may send.
    pub(crate) rate: Rate,
    /// Messages kept for peers that come later.
    pub(crate) history: usize,
    publishers: Option<Allow>,
    subscribers: Option<Allow>,
}

impl Rules {
    pub(crate) fn new(limits: Limits, topics: BTreeMap<String, Topic>) -> Self {
        let topics = RwLock::new(topics);
        Self(Arc::new(Inner { limits, topics }))
    }

    /// Has `topics` hold from now on. What is kept of each stays as it was: the protocol for it is spoken or not from the
    /// start.
    pub(crate) fn set(&self, mut topics: BTreeMap<String, Topic>) {
        let mut now = self.0.topics.write().unwrap_or_else(PoisonError::into_inner);
        topics.values_mut().for_each(|topic| topic.history = 0);
        for (name, topic) in now.iter().filter(|(_, topic)| topic.history > 0) {
            topics.entry(name.clone()).or_default().history = topic.history;
        }
        *now = topics;
    }

    fn topics(&self) -> RwLockReadGuard<'_, BTreeMap<String, Topic>> {
        self.0.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether any topic is kept for peers that come later.
    pub(crate) fn has_history(&self) -> bool {
        self.topics().values().any(|topic| topic.history > 0)
    }

    /// What holds for the topic of that name.
    pub(crate) fn of(&self, topic: &str) -> Rule {
        let (limits, topics) = (&self.0.limits, self.topics());
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
            publishers: own.and_then(|own| own.publishers.clone()),
            subscribers: own.and_then(|own| own.subscribers.clone()),
        }
    }
}

impl Rule {
    /// Whether messages of the peer are taken.
    pub(crate) fn may_publish(&self, peer: &PeerId) -> bool {
        self.publishers
            .as_ref()
            .is_none_or(|publishers| publishers.allows(peer))
    }

    /// Whether messages are sent to the peer.
    pub(crate) fn may_subscribe(&self, peer: &PeerId) -> bool {
        self.subscribers
            .as_ref()
            .is_none_or(|subscribers| subscribers.allows(peer))
    }
}
