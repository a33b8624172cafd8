//! The feature on the swarm's task.
use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use cardume_behaviour::Driver;
use libp2p_gossipsub::{self as gossipsub, IdentTopic, MessageAcceptance, TopicHash};
use libp2p_identity::{Keypair, PeerId};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};

use crate::{
    Message, MessageId, PublishError, SubscribeError, Subscription, TopicPeer, TopicStatus, Validator,
    Verdict,
    handle::Command,
    inner::{Inner, Told},
    mesh::Mesh,
    past::{Past, Signed, detach},
    score::{self, Offenders},
    topics::{Counts, Ruling, Topics},
    validate::{Job, Judged},
};

/// How often subscribers that have gone are noticed and points fade.
const TICK: Duration = Duration::from_secs(1);
/// Topics listed at once; their names are as long as 256 bytes.
const MAX_LISTED: usize = 1000;

/// What topics do with commands and events.
pub struct Gossip {
    /// What own messages are signed with, once more, where they are kept.
    key: Keypair,
    topics: Topics,
    past: Past,
    jobs: mpsc::Sender<Job>,
    verdicts: mpsc::Receiver<Judged>,
    offenders: Offenders,
    /// Runs while there is something to look at.
    tick: Option<Pin<Box<Sleep>>>,
    ticked: Instant,
    /// The last number given to a message that no peer was there to hear.
    unheard: u64,
}

impl Gossip {
    pub(crate) fn new(
        key: Keypair,
        topics: Topics,
        past: Past,
        jobs: mpsc::Sender<Job>,
        verdicts: mpsc::Receiver<Judged>,
    ) -> Self {
        Self {
            key,
            topics,
            past,
            jobs,
            verdicts,
            offenders: Offenders::default(),
            tick: None,
            ticked: Instant::now(),
            unheard: 0,
        }
    }

    fn publish(&mut self, mesh: &mut Mesh, topic: &str, data: Bytes) -> Result<MessageId, PublishError> {
        let (size, local) = (data.len(), self.topics.local);
        let rule = self.topics.rule(topic);
        let (max, rate) = (rule.max_message, rule.rate.messages);
        if size > max {
            return Err(PublishError::TooLarge { size, max });
        }
        let hash = TopicHash::from_raw(topic);
        let is_heard = |(_, topics): (&PeerId, Vec<&TopicHash>)| topics.contains(&&hash);
        if !self.topics.has(topic) && !mesh.gossipsub.all_peers().any(is_heard) {
            return Err(PublishError::NoSubscribers);
        }
        // What nobody hears costs nothing.
        if self.topics.judge(topic, local, size, Instant::now()) == Ruling::Excess {
            return Err(PublishError::TooFast(rate));
        }
        let sent = mesh.gossipsub.publish(hash, data.to_vec());
        let id = match &sent {
            Ok(id) => MessageId::new(&id.0),
            Err(gossipsub::PublishError::NoPeersSubscribedToTopic) => self.unheard_id(),
            Err(gossipsub::PublishError::AllQueuesFull(subscribers)) => {
                return Err(PublishError::Slow(*subscribers));
            }
            Err(error) => return Err(PublishError::Failed(error.to_string())),
        };
        let message = Message {
            topic: topic.into(),
            from: local,
            id: id.clone(),
            data,
        };
        if !self.topics.deliver(&message) && sent.is_err() {
            return Err(PublishError::NoSubscribers);
        }
        self.topics.count(topic, |counts| counts.published += 1);
        self.keep_own(&message);
        Ok(id)
    }

    /// Keeps a message of this node for peers that come later, where the topic is kept.
    fn keep_own(&mut self, message: &Message) {
        let topic = &*message.topic;
        let history = self.topics.rule(topic).history;
        let seqno = message
            .id
            .as_bytes()
            .last_chunk()
            .copied()
            .map(u64::from_be_bytes);
        let (1.., Some(seqno), false) = (history, seqno, message.data.is_empty()) else {
            return;
        };
        // The signature that libp2p has made is not told; an Ed25519 key makes the same again.
        if let Some(signed) = Signed::new(&self.key, topic, seqno, message.data.clone()) {
            self.past.keep(topic, history, signed, Instant::now());
        }
    }

    /// An id as libp2p would have given it, with a number that it never does: it counts on from its start.
    fn unheard_id(&mut self) -> MessageId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.unheard = now.max(self.unheard.saturating_add(1));
        let mut id = self.topics.local.to_bytes();
        id.extend(self.unheard.to_be_bytes());
        MessageId::new(&id)
    }

    fn subscribe(
        &mut self,
        mesh: &mut Mesh,
        topic: &str,
        validator: Option<Validator>,
    ) -> Result<Subscription, SubscribeError> {
        let (is_new, subscription) = self.topics.add(topic, validator)?;
        if is_new {
            let topic = IdentTopic::new(topic);
            // Neither can fail: there are scores, and the gate lets our own subscriptions through.
            let scored = mesh.gossipsub.set_topic_params(topic.clone(), score::of_topic());
            let joined = mesh.gossipsub.subscribe(&topic);
            tracing::debug!(%topic, ?scored, joined = joined.is_ok(), "subscribed");
        }
        Ok(subscription)
    }

    fn list(&self, mesh: &Mesh) -> Vec<TopicStatus> {
        let mut peers = BTreeMap::<&str, usize>::new();
        for topic in mesh.gossipsub.all_peers().flat_map(|(_, topics)| topics) {
            *peers.entry(topic.as_str()).or_default() += 1;
        }
        let own = self
            .topics
            .iter()
            .map(|(topic, subscriptions, counts)| TopicStatus {
                topic: topic.to_owned(),
                subscriptions,
                peers: peers.get(topic).copied().unwrap_or_default(),
                mesh: mesh.gossipsub.mesh_peers(&TopicHash::from_raw(topic)).count(),
                counts,
            });
        let mut all: Vec<_> = own.collect();
        let own: Vec<_> = all.iter().map(|row| row.topic.clone()).collect();
        let others = peers
            .iter()
            .filter(|(topic, _)| !own.iter().any(|own| own == *topic));
        let room = MAX_LISTED.saturating_sub(all.len());
        all.extend(others.take(room).map(|(topic, peers)| TopicStatus {
            topic: (*topic).to_owned(),
            subscriptions: 0,
            peers: *peers,
            mesh: 0,
            counts: Counts::default(),
        }));
        all
    }

    fn peers(mesh: &Mesh, topic: &str) -> Vec<TopicPeer> {
        let topic = TopicHash::from_raw(topic);
        let linked: Vec<_> = mesh.gossipsub.mesh_peers(&topic).copied().collect();
        let subscribed = mesh
            .gossipsub
            .all_peers()
            .filter(|(_, topics)| topics.contains(&&topic));
        let row = |(peer, _): (&PeerId, _)| TopicPeer {
            peer: *peer,
            in_mesh: linked.contains(peer),
            score: mesh.gossipsub.peer_score(peer).unwrap_or_default(),
        };
        subscribed.map(row).collect()
    }

    fn on_message(
        &mut self,
        mesh: &mut Mesh,
        source: PeerId,
        id: gossipsub::MessageId,
        message: gossipsub::Message,
    ) {
        let topic = message.topic.as_str();
        // Messages without an author have not come through: signatures are checked strictly.
        let (Some(from), Some((name, validators))) = (message.source, self.topics.validators(topic)) else {
            report(mesh, &id, &source, MessageAcceptance::Ignore);
            return;
        };
        let (data, proof) = detach(message.data);
        match self.topics.judge(topic, from, data.len(), Instant::now()) {
            Ruling::Take => {}
            Ruling::Ignore => {
                self.topics.count(topic, |counts| counts.ignored += 1);
                report(mesh, &id, &source, MessageAcceptance::Ignore);
                return;
            }
            Ruling::Excess => {
                self.topics.count(topic, |counts| counts.excess += 1);
                report(mesh, &id, &source, MessageAcceptance::Ignore);
                // Who passes on what somebody else has written may have other limits, and is not to blame.
                if from == source
                    && let Some(points) = self.offenders.note(from, 1)
                {
                    mesh.gossipsub.set_application_score(&from, -points);
                }
                return;
            }
        }
        let signed = proof.zip(message.sequence_number).map(|(proof, seqno)| Signed {
            from,
            seqno,
            data: data.clone(),
            proof,
        });
        let judged = Judged {
            message: Message {
                topic: name,
                from,
                id: MessageId::new(&id.0),
                data,
            },
            source,
            id,
            signed,
            verdict: Verdict::Accept,
        };
        if validators.is_empty() {
            self.settle(mesh, judged);
            return;
        }
        let job = Job {
            message: judged.message,
            source,
            id: judged.id,
            signed: judged.signed,
            validators,
        };
        if let Err(refused) = self.jobs.try_send(job) {
            let job = refused.into_inner();
            self.topics
                .count(&job.message.topic, |counts| counts.ignored += 1);
            report(mesh, &job.id, &source, MessageAcceptance::Ignore);
        }
    }

    /// Does with a message as the verdict says.
    fn settle(&mut self, mesh: &mut Mesh, judged: Judged) {
        let topic = &*judged.message.topic;
        let acceptance = match judged.verdict {
            Verdict::Accept => {
                self.topics.count(topic, |counts| counts.received += 1);
                self.topics.deliver(&judged.message);
                if let (history @ 1.., Some(signed)) = (self.topics.rule(topic).history, judged.signed) {
                    self.past.keep(topic, history, signed, Instant::now());
                }
                MessageAcceptance::Accept
            }
            Verdict::Ignore => {
                self.topics.count(topic, |counts| counts.ignored += 1);
                MessageAcceptance::Ignore
            }
            Verdict::Reject => {
                self.topics.count(topic, |counts| counts.rejected += 1);
                MessageAcceptance::Reject
            }
        };
        report(mesh, &judged.id, &judged.source, acceptance);
    }

    fn poll_tick(&mut self, mesh: &mut Mesh, cx: &mut Context<'_>) -> Poll<()> {
        if self.topics.is_empty() && self.offenders.is_empty() && !mesh.gate.has_unread() {
            self.tick = None;
            return Poll::Pending;
        }
        let tick = self.tick.get_or_insert_with(|| {
            self.ticked = Instant::now();
            Box::pin(sleep(TICK))
        });
        if tick.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.tick = None;
        let now = Instant::now();
        for topic in self.topics.sweep(now) {
            mesh.gossipsub.unsubscribe(&IdentTopic::new(topic));
        }
        for (peer, points) in self.offenders.fade(now - self.ticked) {
            mesh.gossipsub.set_application_score(&peer, -points);
        }
        for (peer, count) in mesh.gate.take_unread() {
            tracing::debug!(%peer, count, "what a neighbour said was too much to be looked at");
            if let Some(points) = self.offenders.note(peer, count) {
                mesh.gossipsub.set_application_score(&peer, -points);
            }
        }
        mesh.gate.tidy(mesh.gossipsub.all_peers());
        self.topics.show();
        Poll::Ready(())
    }
}

fn report(mesh: &mut Mesh, id: &gossipsub::MessageId, source: &PeerId, acceptance: MessageAcceptance) {
    mesh.gossipsub
        .report_message_validation_result(id, source, acceptance);
}

impl Driver for Gossip {
    type Inner = Inner;
    type Command = Command;
    type Event = Infallible;

    fn is_ready(&self) -> bool {
        true
    }

    fn on_command(&mut self, inner: &mut Inner, command: Command) {
        let mesh = &mut inner.mesh;
        // Whoever asked may have gone meanwhile; a subscription is then noticed to be closed.
        match command {
            Command::Publish { topic, data, reply } => {
                let _ = reply.send(self.publish(mesh, &topic, data));
            }
            Command::Subscribe {
                topic,
                validator,
                reply,
            } => {
                let _ = reply.send(self.subscribe(mesh, &topic, validator));
            }
            Command::Topics(reply) => {
                let _ = reply.send(self.list(mesh));
            }
            Command::Peers { topic, reply } => {
                let _ = reply.send(Self::peers(mesh, &topic));
            }
        }
    }

    fn on_event(&mut self, inner: &mut Inner, Told(event): Told) -> Option<Infallible> {
        let mesh = &mut inner.mesh;
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => self.on_message(mesh, propagation_source, message_id, message),
            gossipsub::Event::SlowPeer {
                peer_id,
                failed_messages,
            } => {
                let unsent = failed_messages.priority + failed_messages.non_priority;
                tracing::debug!(peer = %peer_id, unsent, "a peer is too slow for its topics");
                self.topics.count("", |counts| counts.unsent += unsent as u64);
            }
            gossipsub::Event::Subscribed { .. }
            | gossipsub::Event::Unsubscribed { .. }
            | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
        None
    }

    fn poll_local(&mut self, inner: &mut Inner, cx: &mut Context<'_>) -> Poll<()> {
        let mesh = &mut inner.mesh;
        let mut moved = self.poll_tick(mesh, cx).is_ready();
        if let Poll::Ready(Some(judged)) = self.verdicts.poll_recv(cx) {
            self.settle(mesh, judged);
            moved = true;
        }
        if moved { Poll::Ready(()) } else { Poll::Pending }
    }
}
