//! What libp2p's gossipsub asks before it takes note of a message or of a subscription.
//!
//! It asks without saying which neighbour the thing came from, so [`Mesh`](crate::mesh::Mesh) says so before. What is
//! refused here has left no trace in any cache: a flood of messages on topics that nobody here wants, or above what one
//! neighbour may send, costs no memory.
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use libp2p_gossipsub::{self as gossipsub, DataTransform, TopicHash, TopicSubscriptionFilter};
use libp2p_identity::PeerId;

use crate::{
    config::MAX_NAME,
    judge::Rules,
    meter::{Meters, Rate},
    past::attach,
};

/// Topics that this node is not subscribed to, of which it remembers that one neighbour is: it may subscribe later.
const MAX_FOREIGN: usize = 32;
/// Neighbours whose rate is measured; there are fewer connections.
const MAX_NEIGHBOURS: usize = 4096;
/// Bytes a second that one neighbour may send for each message a second that it may.
const BYTES_PER_MESSAGE: u64 = 4 * 1024;
/// RPCs a second that one neighbour may send for each message a second that it may: most messages come in one of their
/// own, and so does what is said about them. Without a limit, grafts and prunes in turn would cost their sender nothing.
const RPCS_PER_MESSAGE: u32 = 4;

/// What is shared by those who ask. Used on the swarm's task only.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rules: Rules,
    /// Who has sent what is being looked at; nobody when it is ours.
    from: Option<PeerId>,
    subscribed: HashSet<TopicHash>,
    neighbours: Meters<PeerId>,
    rpcs: Meters<PeerId>,
    /// RPCs that were not looked at, by who sent them, since somebody asked. As many as have a meter, at most.
    unread: HashMap<PeerId, u32>,
    foreign: HashMap<PeerId, HashSet<TopicHash>>,
    refused: u64,
}

impl Gate {
    pub(crate) fn new(rules: Rules) -> Self {
        Self(Arc::new(Mutex::new(State {
            rules,
            from: None,
            subscribed: HashSet::new(),
            neighbours: Meters::new(MAX_NEIGHBOURS),
            rpcs: Meters::new(MAX_NEIGHBOURS),
            unread: HashMap::new(),
            foreign: HashMap::new(),
            refused: 0,
        })))
    }

    /// Whether an RPC of a neighbour is to be looked at; those above its rate are not, whatever they say.
    pub(crate) fn reads(&self, peer: PeerId) -> bool {
        let mut state = self.state();
        let rate = state.rate();
        let rate = Rate {
            messages: rate.messages.saturating_mul(RPCS_PER_MESSAGE),
            ..rate
        };
        let reads = state.rpcs.take(peer, rate, 0, Instant::now());
        if !reads && (state.unread.len() < MAX_NEIGHBOURS || state.unread.contains_key(&peer)) {
            let count = state.unread.entry(peer).or_default();
            *count = count.saturating_add(1);
        }
        reads
    }

    /// Whether RPCs were not looked at.
    pub(crate) fn has_unread(&self) -> bool {
        !self.state().unread.is_empty()
    }

    /// How many RPCs were not looked at since the last call, by who sent them.
    pub(crate) fn take_unread(&self) -> HashMap<PeerId, u32> {
        std::mem::take(&mut self.state().unread)
    }

    /// Says from whom that is which is looked at next.
    pub(crate) fn set_from(&self, peer: Option<PeerId>) {
        self.state().from = peer;
    }

    /// Lets messages of a topic in, or no longer.
    pub(crate) fn set_subscribed(&self, topic: &TopicHash, subscribed: bool) {
        let mut state = self.state();
        if subscribed {
            state.subscribed.insert(topic.clone());
        } else {
            state.subscribed.remove(topic);
        }
    }

    /// Forgets a neighbour that has gone.
    pub(crate) fn forget(&self, peer: &PeerId) {
        self.state().foreign.remove(peer);
    }

    /// Makes room for new subscriptions of neighbours that have given others up; `topics` are those that a neighbour
    /// still has.
    pub(crate) fn tidy<'a>(&self, topics: impl Iterator<Item = (&'a PeerId, Vec<&'a TopicHash>)>) {
        let mut state = self.state();
        let now = Instant::now();
        state.neighbours.sweep(now);
        state.rpcs.sweep(now);
        if !state.foreign.values().any(|known| known.len() >= MAX_FOREIGN) {
            return;
        }
        for (peer, topics) in topics {
            if let Some(known) = state.foreign.get_mut(peer) {
                known.retain(|topic| topics.contains(&topic));
            }
        }
    }

    /// Messages refused so far.
    pub(crate) fn refused(&self) -> u64 {
        self.state().refused
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What one neighbour may send.
    fn rate(&self) -> Rate {
        let messages = self.rules.limits().max_peer_rate;
        Rate {
            messages,
            bytes: u64::from(messages) * BYTES_PER_MESSAGE,
        }
    }

    fn admits(&mut self, message: &gossipsub::RawMessage) -> bool {
        let Some(from) = self.from.filter(|_| self.subscribed.contains(&message.topic)) else {
            return false;
        };
        self.neighbours
            .take(from, self.rate(), message.data.len(), Instant::now())
    }

    fn notes(&mut self, topic: &TopicHash) -> bool {
        let Some(peer) = self.from else {
            return true;
        };
        let name = topic.as_str();
        if name.len() > MAX_NAME || !self.rules.of(name).may_subscribe(&peer) {
            return false;
        }
        if self.subscribed.contains(topic) {
            return true;
        }
        let known = self.foreign.entry(peer).or_default();
        if known.len() < MAX_FOREIGN {
            known.insert(topic.clone());
        }
        known.contains(topic)
    }
}

/// Asked of each message.
pub struct Transform(Gate);

impl Transform {
    pub(crate) fn new(gate: Gate) -> Self {
        Self(gate)
    }
}

impl DataTransform for Transform {
    fn inbound_transform(&self, message: gossipsub::RawMessage) -> io::Result<gossipsub::Message> {
        let mut state = self.0.state();
        if !state.admits(&message) {
            state.refused += 1;
            // On a topic of ours it counts as an invalid message of the neighbour; on others as nothing.
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(gossipsub::Message {
            source: message.source,
            sequence_number: message.sequence_number,
            topic: message.topic.clone(),
            // The driver takes it off again, and keeps it where the topic is kept by then.
            data: attach(message),
        })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

/// Asked of each topic in a subscription.
pub struct Filter(Gate);

impl Filter {
    pub(crate) fn new(gate: Gate) -> Self {
        Self(gate)
    }
}

impl TopicSubscriptionFilter for Filter {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        self.0.state().notes(topic)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Allow, Topic, judge::Limits};

    fn gate(topics: BTreeMap<String, Topic>) -> Gate {
        let limits = Limits {
            max_topics: 10,
            max_message: 1024,
            max_rate: 1,
            max_peer_rate: 10,
        };
        Gate::new(Rules::new(limits, topics))
    }

    #[test]
    fn of_a_million_topics_of_a_stranger_a_few_are_remembered() {
        let gate = gate(BTreeMap::new());
        let ours = TopicHash::from_raw("ours");
        gate.set_subscribed(&ours, true);
        gate.set_from(Some(PeerId::random()));
        let mut filter = Filter::new(gate.clone());
        let noted = (0..100_000).filter(|n| filter.can_subscribe(&TopicHash::from_raw(n.to_string())));
        assert_eq!(noted.count(), MAX_FOREIGN);
        assert!(filter.can_subscribe(&ours));
        assert!(!filter.can_subscribe(&TopicHash::from_raw("x".repeat(MAX_NAME + 1))));
        gate.set_from(None);
        assert!(filter.can_subscribe(&TopicHash::from_raw("what we subscribe to ourselves")));
    }

    #[test]
    fn who_may_not_subscribe_is_not_taken_for_a_subscriber() {
        let friend = PeerId::random();
        let rule = Topic {
            subscribers: Some(Allow::new(move |peer| *peer == friend)),
            ..Topic::default()
        };
        let gate = gate([("club".into(), rule)].into());
        let (mut filter, club) = (Filter::new(gate.clone()), TopicHash::from_raw("club"));
        gate.set_from(Some(PeerId::random()));
        assert!(!filter.can_subscribe(&club));
        gate.set_from(Some(friend));
        assert!(filter.can_subscribe(&club));
    }

    #[test]
    fn who_says_more_than_anybody_has_to_say_is_not_listened_to_and_known_by_name() {
        let gate = gate(BTreeMap::new());
        let [quiet, loud] = [PeerId::random(), PeerId::random()];
        let read = (0..1000).filter(|_| gate.reads(loud)).count();
        // Two seconds' worth, and what the loop itself took.
        assert!((80..900).contains(&read), "{read}");
        assert!(gate.reads(quiet));
        assert!(gate.has_unread());
        assert_eq!(gate.take_unread(), [(loud, 1000 - read as u32)].into());
        assert!(!gate.has_unread());
    }

    #[test]
    fn messages_that_nobody_wants_and_floods_do_not_get_in() {
        let gate = gate(BTreeMap::new());
        let (transform, ours) = (Transform::new(gate.clone()), TopicHash::from_raw("ours"));
        gate.set_subscribed(&ours, true);
        gate.set_from(Some(PeerId::random()));
        let message = |topic: &TopicHash| gossipsub::RawMessage {
            source: None,
            data: vec![0; 10],
            sequence_number: None,
            topic: topic.clone(),
            signature: None,
            key: None,
            validated: false,
        };
        assert!(
            transform
                .inbound_transform(message(&TopicHash::from_raw("other")))
                .is_err()
        );
        let taken = (0..1000).filter(|_| transform.inbound_transform(message(&ours)).is_ok());
        assert_eq!(taken.count(), 20);
        assert_eq!(gate.refused(), 981);
    }
}
