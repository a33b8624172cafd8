//! One peer-to-peer node: a swarm, its features and its doors, wired and run.
pub mod config;
pub use config::Config;
