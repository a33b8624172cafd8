//! The transfer protocol: requests for content out, requests for content in.
//!
//! Knows no disk: what is asked for goes out to the peer named, what is asked of us comes out of
//! [`Server`] with a responder each.
pub mod message;

use bytes::Bytes;
use cardume_behaviour::Closed;
use libp2p_identity::PeerId;
use std::time::Duration;

pub use message::{Request, Response, SwarmPeer};

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Requests of ours on the wire at once, over all peers.
    pub max_in_flight: usize,
    /// Requests of others being answered at once, over all peers.
    pub max_serving: usize,
    /// … and for one peer; more are answered `Busy`.
    pub max_serving_per_peer: usize,
    /// Time for one request, from the first byte out to the last byte in.
    pub request_timeout: cardume_units::Duration,
}
impl Default for Config {
    fn default() -> Self {
        Self {
            max_in_flight: 128,
            max_serving: 64,
            max_serving_per_peer: 16,
            request_timeout: cardume_units::Duration::from_secs(30),
        }
    }
}

/// Asks peers for content.
#[derive(Clone)]
pub struct Handle {
    _private: (),
}

/// What a peer answered, when it did not fail.
impl Handle {
    /// Sends one request to `peer` (dialled if it has a known address) and waits for the answer.
    ///
    /// # Cancel safety
    /// Dropping the future frees the slot; a late answer is thrown away.
    pub async fn request(&self, _peer: PeerId, _request: Request) -> Result<Response, RequestError> {
        todo!()
    }
    /// Bytes of payload received from and sent to each peer since the start.
    pub fn traffic(&self) -> Vec<(PeerId, Traffic)> {
        todo!()
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    pub received: u64,
    pub sent: u64,
}

#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    #[error("the peer does not speak the transfer protocol of this network")]
    Unsupported,
    #[error("the peer did not answer in time")]
    TimedOut,
    #[error("the peer broke the protocol: {0}")]
    Malformed(String),
    #[error("the connection was lost: {0}")]
    Lost(String),
}

/// Requests of other peers, to be answered by whoever has the content.
pub struct Server {
    _private: (),
}
impl Server {
    /// Waits for the next request; `None` when the behaviour is gone.
    pub async fn next(&mut self) -> Option<Inbound> {
        todo!()
    }
}
pub struct Inbound {
    pub peer: PeerId,
    pub request: Request,
    pub responder: Responder,
}
/// Answers one request; dropped unused, the peer's stream is reset.
pub struct Responder {
    _private: (),
}
impl Responder {
    /// Never waits behind requests of ours.
    pub fn send(self, _response: Response) {
        todo!()
    }
    /// Whether the peer has gone.
    pub fn is_gone(&self) -> bool {
        todo!()
    }
}
