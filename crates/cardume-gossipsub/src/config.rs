//! The keys of `[gossipsub]`, and building from them.
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use cardume_units::Size;
use libp2p_gossipsub as gossipsub;
use libp2p_identity::{Keypair, PeerId};

use crate::{
    Behaviour, Handle, Server,
    driver::Gossip,
    gate::{Filter, Gate, Transform},
    inner::Inner,
    judge::{Limits, Rules},
    mesh::Mesh,
    past::{self, Answering, Asker, Past},
    score,
    topics::Topics,
    validate,
};

/// Commands that may wait for the swarm's task before their callers do.
const MAILBOX: usize = 64;

/// Bytes of one RPC, twice what other implementations send unless told otherwise: it may carry many messages. What is
/// longer ends the stream.
const MAX_RPC: usize = 128 * 1024;

/// Bytes of the largest message that may be allowed: with author, signature and topic it stays within the 64 KiB that
/// other implementations take unless told otherwise.
const MAX_MESSAGE: Size = Size::kib(60);

/// Messages in one RPC. No RPC within [`MAX_RPC`] has more, since a signed one has 120 bytes at least.
const MAX_MESSAGES_PER_RPC: usize = 1024;

/// How long a message may wait for a neighbour before it is of no use. What waits is bounded by number already, and a
/// machine that is busy for seconds must not lose what its neighbours get from nobody else.
const QUEUED: Duration = Duration::from_secs(10);

/// Bytes of a topic's name. Without a limit names would be the way around the limit on messages.
pub(crate) const MAX_NAME: usize = 256;

/// The keys of `[gossipsub]`: topics that peers publish to and subscribe to.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether this node takes part in topics at all.
    pub enabled: bool,
    /// Topics subscribed to at once.
    pub max_topics: usize,
    /// The largest message; one topic may have less.
    pub max_message: Size,
    /// Messages a second of one author on one topic; a topic may have a limit of its own.
    pub max_rate: u32,
    /// Messages a second that one neighbour may send on all topics together, its own and those it passes on.
    pub max_peer_rate: u32,
    /// Messages that may wait to be sent to one neighbour; more are dropped, and the neighbour is held to be slow.
    pub max_queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            max_topics: 64,
            max_message: Size::kib(32),
            max_rate: 50,
            max_peer_rate: 1000,
            max_queue: 512,
        }
    }
}

/// Answers whether a peer may do something. Called on the swarm's task, for each message: it must be quick.
#[derive(Clone)]
pub struct Allow(Arc<dyn Fn(&PeerId) -> bool + Send + Sync>);

impl Allow {
    /// Allows whom `allows` does.
    pub fn new(allows: impl Fn(&PeerId) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(allows))
    }

    pub(crate) fn allows(&self, peer: &PeerId) -> bool {
        (self.0)(peer)
    }
}

impl fmt::Debug for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Allow")
    }
}

/// What holds for one topic, where it differs from `[gossipsub]`.
#[derive(Debug, Clone, Default)]
pub struct Topic {
    /// Whose messages are taken and passed on; everybody's when not set. Our own always are.
    pub publishers: Option<Allow>,
    /// Whom this node sends messages of the topic; everybody that subscribes when not set.
    pub subscribers: Option<Allow>,
    /// The largest message.
    pub max_message: Option<Size>,
    /// Messages a second of one author.
    pub max_rate: Option<u32>,
    /// Messages kept for peers that come later, and asked of peers; at most [`MAX_HISTORY`](crate::MAX_HISTORY).
    pub history: usize,
}

/// Why topics could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A key of `[gossipsub]` has a value that makes no sense.
    #[error("gossipsub.{key} {reason}")]
    Invalid {
        /// The key's name.
        key: &'static str,
        /// What is wrong with it, and what would be right.
        reason: &'static str,
    },
    /// The protocol's own checks fail.
    #[error("gossipsub: {0}")]
    Protocol(String),
}

impl BuildError {
    /// The key that is to be changed.
    pub fn path(&self) -> Vec<&'static str> {
        match self {
            Self::Invalid { key, .. } => vec!["gossipsub", key],
            Self::Protocol(_) => vec!["gossipsub"],
        }
    }
}

/// Says what is wrong with the name of a topic.
///
/// # Errors
/// When it is empty, longer than 256 bytes, or has control characters.
pub fn check_name(topic: &str) -> Result<(), &'static str> {
    match topic.len() {
        0 => Err("the name of a topic must not be empty"),
        1..=MAX_NAME if !topic.chars().any(char::is_control) => Ok(()),
        1..=MAX_NAME => Err("the name of a topic must have no control characters"),
        _ => Err("the name of a topic has at most 256 bytes"),
    }
}

impl Config {
    /// Finds every mistake that [`build`](Self::build) would stop at.
    pub fn mistakes(&self) -> Vec<BuildError> {
        let range = |key, value: usize, reason| {
            let is_right = (1..=1 << 20).contains(&value);
            (!is_right).then_some(BuildError::Invalid { key, reason })
        };
        let size = (!is_message_size(self.max_message)).then_some(BuildError::Invalid {
            key: "max_message",
            reason: "must be from \"1KiB\" to \"60KiB\"; what is larger travels as content",
        });
        let reason = "must be from 1 to 1048576";
        [
            range("max_topics", self.max_topics, reason),
            size,
            range("max_rate", self.max_rate as usize, reason),
            range("max_peer_rate", self.max_peer_rate as usize, reason),
            range("max_queue", self.max_queue, reason),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Builds the behaviour for the swarm, the handle for everybody else, and the server that runs validators and answers
    /// peers of `network` that ask for what has been said; `topics` is what holds for each by name. `enabled` is for the
    /// caller to look at.
    ///
    /// # Errors
    /// When a key makes no sense.
    pub fn build(
        &self,
        key: &Keypair,
        network: &str,
        topics: BTreeMap<String, Topic>,
    ) -> Result<(Behaviour, Handle, Server), BuildError> {
        if let Some(mistake) = self.mistakes().into_iter().next() {
            return Err(mistake);
        }
        let local = key.public().to_peer_id();
        let rules = Rules::new(self.limits(), topics);
        let gate = Gate::new(rules.clone());
        let protocol = self
            .protocol()
            .map_err(|error| BuildError::Protocol(error.to_string()))?;
        let mut inner = gossipsub::Behaviour::new_with_subscription_filter_and_transform(
            gossipsub::MessageAuthenticity::Signed(key.clone()),
            protocol,
            Filter::new(gate.clone()),
            Transform::new(gate.clone()),
        )
        .map_err(|error| BuildError::Protocol(error.to_owned()))?;
        inner
            .with_peer_score(score::of_peers(), score::thresholds())
            .map_err(BuildError::Protocol)?;
        let (past, streams) = (Past::default(), libp2p_stream::Behaviour::new());
        // Spoken whatever is kept now: a reload may have more kept, and connections agree on protocols once.
        let mut asker = Asker {
            control: streams.new_control(),
            protocol: past::protocol(network),
            past: past.clone(),
            rules: rules.clone(),
            local,
        };
        let incoming = asker.control.accept(asker.protocol.clone());
        let answering = Answering {
            incoming: incoming.expect("nobody else takes this protocol"),
            past: past.clone(),
            rules: rules.clone(),
        };
        let (jobs, verdicts, server) = validate::channel(answering);
        let topics = Topics::new(local, rules, gate.clone());
        let counts = topics.counts();
        let driver = Gossip::new(key.clone(), topics, past, jobs, verdicts);
        let inner = Inner {
            mesh: Mesh::new(inner, gate),
            streams,
        };
        let (behaviour, mailbox) = Behaviour::new(inner, driver, MAILBOX);
        Ok((behaviour, Handle::new(mailbox, counts, Some(asker)), server))
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            max_topics: self.max_topics,
            max_message: self.max_message.get() as usize,
            max_rate: self.max_rate,
            max_peer_rate: self.max_peer_rate,
        }
    }

    /// Every setting is made here, whatever its default, so that an upgrade changes none unseen.
    fn protocol(&self) -> Result<gossipsub::Config, gossipsub::ConfigBuilderError> {
        gossipsub::ConfigBuilder::default()
            .validation_mode(gossipsub::ValidationMode::Strict)
            .validate_messages()
            .message_id_fn(id_of)
            .max_transmit_size(MAX_RPC)
            .max_publish_messages(MAX_MESSAGES_PER_RPC)
            .max_control_message_size(16 * 1024)
            .max_control_messages_sent(1000)
            .max_ihave_messages_heartbeat(10)
            .connection_handler_queue_len(self.max_queue)
            .publish_queue_duration(QUEUED)
            .forward_queue_duration(QUEUED)
            .heartbeat_initial_delay(Duration::from_secs(1))
            .heartbeat_interval(Duration::from_secs(1))
            .mesh_n(6)
            .mesh_n_low(5)
            .mesh_n_high(12)
            .mesh_outbound_min(2)
            .gossip_lazy(6)
            .gossip_factor(0.25)
            .gossip_retransimission(3)
            .history_length(5)
            .history_gossip(3)
            .duplicate_cache_time(Duration::from_secs(60))
            .iwant_followup_time(Duration::from_secs(3))
            .fanout_ttl(Duration::from_secs(60))
            .prune_backoff(Duration::from_secs(60))
            .unsubscribe_backoff(Duration::from_secs(10))
            .backoff_slack(1)
            .graft_flood_threshold(Duration::from_secs(10))
            .opportunistic_graft_ticks(60)
            .opportunistic_graft_peers(2)
            .prune_peers(0)
            .flood_publish(true)
            .allow_self_origin(false)
            .idontwant_message_size_threshold(1000)
            .idontwant_on_publish(true)
            .build()
    }
}

/// Whether no message is too large for others, and not every message for us.
pub(crate) fn is_message_size(size: Size) -> bool {
    (Size::kib(1)..=MAX_MESSAGE).contains(&size)
}

/// The id that the gossipsub specification names: author and sequence number, as bytes.
///
/// Neighbours name messages to each other by it, so it has to be theirs too. A hash of the content would make one of
/// two messages that say the same.
fn id_of(message: &gossipsub::Message) -> gossipsub::MessageId {
    let mut id = message.source.map(|peer| peer.to_bytes()).unwrap_or_default();
    id.extend(message.sequence_number.unwrap_or_default().to_be_bytes());
    gossipsub::MessageId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_errors_that_name_the_key() {
        let default = Config::default();
        assert_eq!(default.mistakes(), []);
        let key = |config: Config| match &config.mistakes()[..] {
            [BuildError::Invalid { key, .. }] => *key,
            other => panic!("{other:?}"),
        };
        let (none, large) = (0, Size::kib(61));
        assert_eq!(
            key(Config {
                max_topics: none,
                ..default.clone()
            }),
            "max_topics"
        );
        assert_eq!(
            key(Config {
                max_message: large,
                ..default.clone()
            }),
            "max_message"
        );
        assert_eq!(
            key(Config {
                max_rate: 0,
                ..default.clone()
            }),
            "max_rate"
        );
        assert_eq!(
            key(Config {
                max_queue: 0,
                ..default
            }),
            "max_queue"
        );
    }

    #[test]
    fn a_name_that_no_line_can_show_is_none() {
        for name in ["", "a\nb", "\u{7f}", &"x".repeat(257)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["news", "/eth2/beacon_block/ssz", "größe", &"x".repeat(256)] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
