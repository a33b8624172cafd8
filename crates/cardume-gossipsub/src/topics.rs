//! Topics that this node is subscribed to, and who here wants their messages.
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use libp2p_gossipsub::TopicHash;
use libp2p_identity::PeerId;

use crate::{
    Message, SubscribeError, Subscription, Validator,
    gate::Gate,
    judge::{Rule, Rules},
    meter::Meters,
    subscription::Outlet,
};

/// Authors whose rate is measured at the same time, on all topics together. Anybody can make authors up; beyond these
/// they are not heard.
const MAX_AUTHORS: usize = 16 * 1024;
/// Subscriptions of this node to one topic: each message is handed to all of them on the swarm's task.
const MAX_OUTLETS: usize = 64;

/// Messages counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Published by this node.
    pub published: u64,
    /// Of peers, taken: delivered here and passed on.
    pub received: u64,
    /// Of peers, not taken: by somebody who may not publish, too large, not judged in time, or ignored by a validator.
    pub ignored: u64,
    /// Of peers, above the rate of their author or of the neighbour that sent them.
    pub excess: u64,
    /// Of peers, rejected by a validator.
    pub rejected: u64,
    /// Not delivered to a subscription that was too slow, each counted.
    pub lost: u64,
    /// Not sent to a peer that was too slow, each counted.
    pub unsent: u64,
}

/// The same, counted by one and read by others.
#[derive(Debug, Default)]
pub(crate) struct Counters([AtomicU64; 7]);

impl Counters {
    pub(crate) fn now(&self) -> Counts {
        let [published, received, ignored, excess, rejected, lost, unsent] =
            std::array::from_fn(|index| self.0[index].load(Ordering::Relaxed));
        Counts {
            published,
            received,
            ignored,
            excess,
            rejected,
            lost,
            unsent,
        }
    }

    fn show(&self, counts: Counts) {
        let Counts {
            published,
            received,
            ignored,
            excess,
            rejected,
            lost,
            unsent,
        } = counts;
        let all = [published, received, ignored, excess, rejected, lost, unsent];
        for (shown, count) in self.0.iter().zip(all) {
            shown.store(count, Ordering::Relaxed);
        }
    }
}

/// What becomes of a message, as far as no validator is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruling {
    Take,
    Ignore,
    /// Its author sends more than it may.
    Excess,
}

/// One topic.
pub(crate) struct Subscribed {
    name: Arc<str>,
    outlets: Vec<Outlet>,
    pub(crate) counts: Counts,
}

/// All of them.
pub(crate) struct Topics {
    pub(crate) local: PeerId,
    pub(crate) gate: Gate,
    rules: Rules,
    subscribed: BTreeMap<String, Subscribed>,
    authors: Meters<(String, PeerId)>,
    counts: Counts,
    shown: Arc<Counters>,
}

impl Topics {
    pub(crate) fn new(local: PeerId, rules: Rules, gate: Gate) -> Self {
        Self {
            local,
            gate,
            rules,
            subscribed: BTreeMap::new(),
            authors: Meters::new(MAX_AUTHORS),
            counts: Counts::default(),
            shown: Arc::default(),
        }
    }

    pub(crate) fn counts(&self) -> Arc<Counters> {
        self.shown.clone()
    }

    pub(crate) fn rule(&self, topic: &str) -> Rule {
        self.rules.of(topic)
    }

    /// Adds a subscription; whether it is the first to its topic.
    pub(crate) fn add(
        &mut self,
        topic: &str,
        validator: Option<Validator>,
    ) -> Result<(bool, Subscription), SubscribeError> {
        let (is_new, max) = (
            !self.subscribed.contains_key(topic),
            self.rules.limits().max_topics,
        );
        if is_new && self.subscribed.len() >= max {
            let text = format!("subscribed to {max} topics, as many as gossipsub.max_topics allows");
            return Err(SubscribeError::TooMany(text));
        }
        let entry = self.subscribed.entry(topic.to_owned());
        let subscribed = entry.or_insert_with(|| Subscribed {
            name: topic.into(),
            outlets: Vec::new(),
            counts: Counts::default(),
        });
        if subscribed.outlets.len() >= MAX_OUTLETS {
            let text = format!("subscribed to this topic {MAX_OUTLETS} times already");
            return Err(SubscribeError::TooMany(text));
        }
        let (outlet, subscription) = Outlet::pair(validator);
        subscribed.outlets.push(outlet);
        if is_new {
            self.gate.set_subscribed(&TopicHash::from_raw(topic), true);
        }
        Ok((is_new, subscription))
    }

    /// Lets go of subscriptions whose subscriber has gone, and returns the topics that nobody is subscribed to now.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<String> {
        self.authors.sweep(now);
        let mut left = Vec::new();
        self.subscribed.retain(|topic, subscribed| {
            subscribed.outlets.retain(|outlet| !outlet.is_closed());
            let is_wanted = !subscribed.outlets.is_empty();
            if !is_wanted {
                left.push(topic.clone());
            }
            is_wanted
        });
        for topic in &left {
            self.gate.set_subscribed(&TopicHash::from_raw(topic), false);
        }
        left
    }

    /// Whether this node is subscribed to a topic.
    pub(crate) fn has(&self, topic: &str) -> bool {
        self.subscribed.contains_key(topic)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.subscribed.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, usize, Counts)> {
        self.subscribed
            .iter()
            .map(|(topic, of)| (topic.as_str(), of.outlets.len(), of.counts))
    }

    /// Whether an author may publish a message of so many bytes now.
    pub(crate) fn judge(&mut self, topic: &str, author: PeerId, bytes: usize, now: Instant) -> Ruling {
        let rule = self.rules.of(topic);
        // First, so that a flood counts as one whoever sends it.
        if !self
            .authors
            .take((topic.to_owned(), author), rule.rate, bytes, now)
        {
            return Ruling::Excess;
        }
        let is_fit = bytes <= rule.max_message && (author == self.local || rule.may_publish(&author));
        if is_fit { Ruling::Take } else { Ruling::Ignore }
    }

    /// The name of a topic that this node is subscribed to, and what is to judge its messages.
    pub(crate) fn validators(&self, topic: &str) -> Option<(Arc<str>, Vec<Validator>)> {
        let subscribed = self.subscribed.get(topic)?;
        let validators = subscribed.outlets.iter().filter(|outlet| !outlet.is_closed());
        let validators = validators.filter_map(|outlet| outlet.validator.clone()).collect();
        Some((subscribed.name.clone(), validators))
    }

    /// Hands a message to every subscription of its topic; whether there is one.
    pub(crate) fn deliver(&mut self, message: &Message) -> bool {
        let Some(subscribed) = self.subscribed.get_mut(&*message.topic) else {
            return false;
        };
        let outlets = subscribed.outlets.iter_mut().filter(|outlet| !outlet.is_closed());
        let (mut any, mut lost) = (false, 0);
        for outlet in outlets {
            any = true;
            lost += u64::from(!outlet.offer(message));
        }
        self.count(&message.topic, |counts| counts.lost += lost);
        any
    }

    /// Changes what is counted of a topic, and in all.
    pub(crate) fn count(&mut self, topic: &str, change: impl Fn(&mut Counts)) {
        if let Some(subscribed) = self.subscribed.get_mut(topic) {
            change(&mut subscribed.counts);
        }
        change(&mut self.counts);
        self.show();
    }

    /// Shows what has been counted.
    pub(crate) fn show(&self) {
        let counts = Counts {
            excess: self.counts.excess + self.gate.refused(),
            ..self.counts
        };
        self.shown.show(counts);
    }
}
