//! What goes over the node's connections.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Bytes on all connections since the node started, and how fast they go.
///
/// Counted is what protocols say to each other; what encryption and multiplexing add is not. What goes through a relay
/// is there twice: in the class `relay` by its protocol, and on the way to the relay as the protocol `relay`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NetTraffic {
    /// Seconds since the node started.
    pub uptime_s: u64,
    /// Milliseconds over which the rates were measured; 0 if they were not.
    pub measured_ms: u64,
    /// By protocol: `transfer`, `kad`, `identify`, … and `other`; those that nothing was said in are left out.
    pub protocols: Vec<TrafficShare>,
    /// By where peers are: `lan`, `wan` and `relay`.
    pub classes: Vec<TrafficShare>,
}

/// Bytes of one protocol, or to and from peers of one class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrafficShare {
    /// The protocol or class.
    pub name: String,
    /// Bytes sent.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// Bytes sent a second, if that was measured.
    pub sent_per_s: Option<u64>,
    /// Bytes received a second, if that was measured.
    pub received_per_s: Option<u64>,
}
