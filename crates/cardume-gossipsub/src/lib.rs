//! Topics: what one peer publishes reaches every peer that subscribes.
//!
//! Speaks gossipsub 1.0 to 1.2 under its standard protocol names, with every message signed by its author, so that
//! any libp2p program can take part. Topics have the same name on the wire as here, and messages no envelope. It
//! deliberately knows no disk, no content and no programs: what becomes of a message is for those who subscribe.
//!
//! # Invariants
//!
//! * A subscriber that is slow loses messages and is told how many; nobody else waits for it.
//! * A message is passed on to other peers only once it has been judged: its author may publish, it is within the
//!   limits of the topic, and every validator of a subscription accepts it.
//! * Of topics that this node is not subscribed to nothing is kept but who has subscribed, and of that a bounded part.
//! * Of what has been said on a topic as much is kept for others as configuration says, which is nothing by default; and
//!   what others have kept is believed for its authors' signatures only.
//! * What a neighbour sends above its limits costs it its place in the mesh, and soon its voice, until it has been
//!   quiet for a while.

mod config;
mod driver;
mod gate;
mod handle;
mod inner;
mod judge;
mod mesh;
mod meter;
mod past;
mod score;
mod subscription;
mod topics;
mod validate;

pub use cardume_behaviour::Closed;

pub use self::{
    config::{Allow, BuildError, Config, Topic, check_name},
    handle::{Handle, PublishError, SubscribeError, TopicPeer, TopicStatus},
    past::MAX_HISTORY,
    subscription::{Delivery, Message, MessageId, Subscription},
    topics::Counts,
    validate::{Server, Validator, Verdict},
};

/// The behaviour of this feature, for the node's swarm.
pub type Behaviour = cardume_behaviour::Driven<driver::Gossip>;
