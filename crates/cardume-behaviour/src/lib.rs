//! The seam between a networking feature and the swarm.
//!
//! A feature is written as a [`Driver`]: what it does with the commands of its callers, with the events
//! of the libp2p behaviour inside it, and with work that it has already taken. [`Driven`] turns a driver
//! into a `NetworkBehaviour`, and [`Mailbox`] is how the rest of the program asks it for something.
//! An [`Onlooker`] is a part without a protocol: it watches, refuses and gives orders, and [`Onlooking`]
//! puts it into the swarm. [`Listening`] and [`Scope`] are what features agree on about the links that the swarm
//! is on, and how far an address reaches.
//!
//! It deliberately knows no feature, spawns nothing, routes no events and keeps no map of pending calls:
//! an answer travels in the oneshot channel that its command carries.
//!
//! # Invariants
//!
//! * **Answers are never gated.** [`Driver::is_ready`] holds back only commands, that is work which
//!   *starts* something. What finishes work ([`Driver::poll_local`]) is polled before the commands, in
//!   every turn, whatever `is_ready` says. If answers to peers waited in the gated mailbox, two nodes
//!   that are both at their limit would wait for each other for ever.
//! * **Callers feel the limit.** A command that is not taken stays in the bounded mailbox, and a full
//!   mailbox makes its callers wait; nothing is queued without bound and nothing is thrown away.
//! * **Abandoned callers cost nothing.** A command whose caller has gone before it was taken never
//!   reaches the driver or the inner behaviour.
//! * **One feature never holds the swarm.** One `poll` runs for a bounded number of turns, and in each
//!   turn events, answers and commands get one step each, so that a flood of one cannot starve the others.
//! * **Dropping the swarm ends every call** with [`Closed`]: the driver and its mailbox hold the only
//!   other ends of all channels.

mod driven;
mod driver;
mod listening;
mod mailbox;
mod onlooker;
mod scope;

pub use self::{
    driven::Driven,
    driver::{Command, Driver, ToSwarmOf},
    listening::Listening,
    mailbox::{Closed, Mailbox},
    onlooker::{Onlooker, Onlooking},
    scope::Scope,
};
