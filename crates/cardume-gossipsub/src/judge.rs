//! What holds for each topic, and what it means for one message.
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use libp2p_identity::PeerId;

use crate::{Topic, config::Allow, meter::Rate, past::MAX_HISTORY};

/// Bytes a second of one author on one topic.
const AUTHOR_BYTES: u64 = 1024 * 1024;

/// What holds for all topics together, and where a topic says nothing of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Topics subscribed to.
    pub(crate) max_topics: usize,
    /// Bytes of a message.
    pub(crate) max_message: usize,
    /// Messages a second of one author.
    pub(crate) max_rate: u32,
    /// Messages a second of one neighbour.
    pub(crate) max_peer_rate: u32,
}

/// What holds for every topic now. Cheap to clone; all clones are the same rules.
#[derive(Debug, Clone)]
pub(crate) struct Rules(Arc<RwLock<Inner>>);

#[derive(Debug)]
struct Inner {
    limits: Limits,
    topics: BTreeMap<String, Topic>,
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
        Self(Arc::new(RwLock::new(Inner { limits, topics })))
    }

    /// Has other rules hold from now on.
    pub(crate) fn set(&self, limits: Limits, topics: BTreeMap<String, Topic>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Inner { limits, topics };
    }

    fn now(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// What holds for all topics together.
    pub(crate) fn limits(&self) -> Limits {
        self.now().limits
    }

    /// What holds for the topic of that name.
    pub(crate) fn of(&self, topic: &str) -> Rule {
        let now = self.now();
        let Inner { limits, topics } = &*now;
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
