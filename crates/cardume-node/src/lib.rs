//! One peer-to-peer node: a swarm, its features and its doors, wired and run.
//!
//! Embeddable: [`Node::start`] takes a [`Config`] and nothing from the environment, and several nodes run in
//! one process. It installs no logger, handles no signal and reads no file but those under `node.data_dir`
//! and those that the configuration names.
//!
//! # Invariants
//!
//! * Only this crate builds a `Swarm`, opens the metadata database, or spawns a task.
//! * The swarm task never hashes, touches the disk or waits for another task.
//! * A task that panics ends the node.
//! * A node stops in one order: doors, work, swarm, store, lock.

mod behaviour;
mod care;
pub mod config;
mod error;
mod follow;
mod heartbeat;
mod home;
pub mod identity;
mod lock;
mod node;
mod places;
mod publish;
pub mod reload;
mod surroundings;
mod swarm;
mod tables;
mod tasks;
mod topics;
mod tunnels;
mod wanted;
mod wiring;

pub use cardume_api::{Code, LogLevel, LogLine, Plan, Problem};
pub use cardume_control::{Asked, BindError, BuildError as ControlError, Doctor, Log, Wish};

pub use self::{
    config::Config,
    error::{NodeError, StartError},
    node::Node,
    surroundings::Surroundings,
};
