//! Who belongs to a network, and the gate that every connection passes before any protocol answers.
//!
//! The gate stands on the transport: behind the handshake that proves the peer's id, and before the swarm sees the
//! connection. So it holds for every way in alike. It deliberately limits no rates and knows no content: who of those
//! let in may do what is for [`cardume_access`](../cardume_access/index.html) and for whoever serves the request.
//!
//! # Invariants
//!
//! * In a network that is not open, nothing but the gate itself speaks to a peer that has not passed it.
mod config;
mod gate;

pub use self::{
    config::{Access, Config},
    gate::{Gate, Refused, Transport},
};
