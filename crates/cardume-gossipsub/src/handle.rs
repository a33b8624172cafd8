//! The way in for the rest of the node.
use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use cardume_behaviour::{Closed, Mailbox};
use libp2p_identity::PeerId;
use tokio::sync::oneshot;

use crate::{
    Config, Counts, Message, MessageId, Subscription, Topic, Validator, config::check_name, past::Asker,
    topics::Counters,
};

/// Publishes and subscribes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    mailbox: Mailbox<Command>,
    counts: Arc<Counters>,
    /// None where topics are switched off.
    asker: Option<Asker>,
}

/// One call of a handle, with the way back.
pub enum Command {
    /// Publishes a message.
    Publish {
        /// Where.
        topic: String,
        /// What.
        data: Bytes,
        /// Told its id.
        reply: oneshot::Sender<Result<MessageId, PublishError>>,
    },
    /// Subscribes.
    Subscribe {
        /// To what.
        topic: String,
        /// What judges its messages.
        validator: Option<Validator>,
        /// Told the messages.
        reply: oneshot::Sender<Result<Subscription, SubscribeError>>,
    },
    /// Lists topics.
    Topics(oneshot::Sender<Vec<TopicStatus>>),
    /// Lists who is subscribed to one.
    Peers {
        /// Which.
        topic: String,
        /// Told them.
        reply: oneshot::Sender<Vec<TopicPeer>>,
    },
}

impl cardume_behaviour::Command for Command {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Publish { reply, .. } => reply.is_closed(),
            Self::Subscribe { reply, .. } => reply.is_closed(),
            Self::Topics(reply) => reply.is_closed(),
            Self::Peers { reply, .. } => reply.is_closed(),
        }
    }
}

/// Why a message was not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Topics are switched off, or the node is stopping.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// That is no name for a topic.
    #[error("{0}")]
    Name(&'static str),
    /// It is larger than the topic allows.
    #[error("a message on this topic has at most {max} bytes, this one has {size}")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// More messages a second than one author may publish; others would not take them.
    #[error("more than {0} messages a second on this topic; wait a moment")]
    TooFast(u32),
    /// Nobody is subscribed, as far as this node knows: neither a peer it is connected to nor anything here.
    #[error("no peer that this node is connected to is subscribed to this topic")]
    NoSubscribers,
    /// No subscriber takes messages as fast as they come.
    #[error("all {0} subscribers are too slow; wait a moment")]
    Slow(usize),
    /// It could not be signed.
    #[error("the message could not be published: {0}")]
    Failed(String),
}

/// Why a topic was not subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Topics are switched off, or the node is stopping.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// That is no name for a topic.
    #[error("{0}")]
    Name(&'static str),
    /// Subscribed to as many as are allowed, or too often to one.
    #[error("{0}")]
    TooMany(String),
}

/// A topic, and how it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicStatus {
    /// Its name, as peers say it: not to be trusted.
    pub topic: String,
    /// Subscriptions of this node; none where only peers are subscribed.
    pub subscriptions: usize,
    /// Peers connected that are subscribed.
    pub peers: usize,
    /// Peers of them that messages are exchanged with at once.
    pub mesh: usize,
    /// Messages.
    pub counts: Counts,
}

/// A peer that is subscribed to a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicPeer {
    /// Who.
    pub peer: PeerId,
    /// Whether messages are exchanged with it at once.
    pub in_mesh: bool,
    /// What is thought of it; below zero is bad.
    pub score: f64,
}

impl Handle {
    pub(crate) fn new(mailbox: Mailbox<Command>, counts: Arc<Counters>, asker: Option<Asker>) -> Self {
        Self {
            mailbox,
            counts,
            asker,
        }
    }

    /// A handle to no topics: every call answers [`Closed`] at once.
    pub fn closed() -> Self {
        Self::new(Mailbox::closed(), Arc::default(), None)
    }

    /// Has the limits of `config` and `topics` hold from now on; messages that are kept of a topic no more are forgotten.
    /// Whom messages are sent to is asked when a peer subscribes: one that was connected before has to connect anew.
    pub fn configure(&self, config: &Config, topics: BTreeMap<String, Topic>) {
        if let Some(asker) = &self.asker {
            asker.rules.set(config.limits(), topics);
            let history = |topic: &str| asker.rules.of(topic).history;
            asker.past.limit(history, Instant::now());
        }
    }

    /// Publishes a message, signed by this node, and returns its id.
    ///
    /// It goes to every peer that is subscribed and connected, which pass it on, and to subscriptions of this node.
    ///
    /// # Errors
    /// [`PublishError::TooLarge`] and [`PublishError::TooFast`] when it breaks a limit of the topic,
    /// [`PublishError::NoSubscribers`] when it would reach nobody, [`PublishError::Slow`] when it reached no peer.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have published the message.
    pub async fn publish(&self, topic: &str, data: Bytes) -> Result<MessageId, PublishError> {
        check_name(topic).map_err(PublishError::Name)?;
        let topic = topic.to_owned();
        self.mailbox
            .call(|reply| Command::Publish { topic, data, reply })
            .await?
    }

    /// Subscribes to a topic: to what peers publish and what this node does, from now on.
    ///
    /// # Errors
    /// When the name is none, or this node is subscribed to as many as `[gossipsub] max_topics`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn subscribe(&self, topic: &str) -> Result<Subscription, SubscribeError> {
        self.join(topic, None).await
    }

    /// Subscribes as [`subscribe`](Self::subscribe) does, with a say in which messages of peers are good.
    ///
    /// What one validator says counts for every subscription of this node. While a validator has 256 messages before
    /// it, others are neither delivered nor passed on.
    ///
    /// # Errors
    /// As [`subscribe`](Self::subscribe).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn subscribe_with(
        &self,
        topic: &str,
        validator: Validator,
    ) -> Result<Subscription, SubscribeError> {
        self.join(topic, Some(validator)).await
    }

    async fn join(&self, topic: &str, validator: Option<Validator>) -> Result<Subscription, SubscribeError> {
        check_name(topic).map_err(SubscribeError::Name)?;
        let topic = topic.to_owned();
        let subscribe = |reply| Command::Subscribe {
            topic,
            validator,
            reply,
        };
        self.mailbox.call(subscribe).await?
    }

    /// The topics that this node or a peer is subscribed to, by name; a thousand at most, its own first.
    ///
    /// # Errors
    /// [`Closed`] when topics are switched off.
    pub async fn topics(&self) -> Result<Vec<TopicStatus>, Closed> {
        self.mailbox.call(Command::Topics).await
    }

    /// The peers connected that are subscribed to a topic.
    ///
    /// # Errors
    /// [`Closed`] when topics are switched off.
    pub async fn peers(&self, topic: &str) -> Result<Vec<TopicPeer>, Closed> {
        let topic = topic.to_owned();
        self.mailbox.call(|reply| Command::Peers { topic, reply }).await
    }

    /// The last messages of a topic that this node or one of up to three peers has kept, oldest first, at most `count`
    /// and what configuration says of the topic; none where it says nothing. Takes up to ten seconds.
    ///
    /// Each is its author's, who may publish on the topic. Validators have not seen it, and a peer may have left others
    /// out or say an older one again.
    ///
    /// # Errors
    /// [`Closed`] when topics are switched off.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn history(&self, topic: &str, count: usize) -> Result<Vec<Message>, Closed> {
        let Some(asker) = &self.asker else {
            return Ok(Vec::new());
        };
        let mut peers = self.peers(topic).await?;
        peers.sort_by(|one, other| {
            let best = |peer: &TopicPeer| (peer.in_mesh, peer.score);
            best(other)
                .partial_cmp(&best(one))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let peers: Vec<_> = peers.iter().map(|row| row.peer).collect();
        Ok(asker.ask(topic, &peers, count).await)
    }

    /// Messages of all topics since the start.
    pub fn counts(&self) -> Counts {
        self.counts.now()
    }
}
