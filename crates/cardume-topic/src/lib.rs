//! Topics delivered to programs: to readers that come back, and to commands, webhooks and spool directories.
//!
//! Keeps the last messages of each topic that anybody here reads, so that a reader goes on where it was, and carries
//! messages that are too large for a topic as content. It deliberately knows no protocol: messages come from
//! [`cardume_gossipsub`], and content through a function that the node hands in.
//!
//! # Invariants
//!
//! * Nobody is waited for: a reader that falls behind what is kept loses messages, is told how many, and is counted.
//! * What a spool directory has got under its name is whole and durable.
//! * A command and a webhook are those that configuration names, and nothing of a message becomes a part of their
//!   names: it is their input.

mod config;
mod content;
mod deliver;
mod handle;
mod hub;
mod ring;

pub use self::{
    config::{Config, Deliver, Exec, Mistake, Spool, Webhook},
    deliver::{DeliveryStatus, Url},
    handle::{Fetch, Handle, OpenError, PublishError},
    hub::{BuildError, Server, build},
    ring::{Item, Reader, Received, Start},
};
