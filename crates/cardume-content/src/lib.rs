//! What a file or a directory is on this network.
//!
//! Pure: no disk, no network, no clock, no tasks. Everything here is bytes in, bytes out. Hashing a large blob
//! borrows the threads of the rayon pool it is called in.
//!
//! # Invariants
//!
//! * A blob's id is plain BLAKE3 of its bytes; `b3sum` prints the same digest.
//! * The group size is a matter of storage and wire, never of identity.
//! * Nothing decoded from a peer is returned before it has been verified.

pub mod cid;
pub mod link;
pub mod manifest;
pub mod pieces;
mod shape;
pub mod slice;
pub mod tree;

pub use self::{
    cid::{Cid, Hash, Kind},
    link::Link,
    manifest::Manifest,
    pieces::PieceSet,
};

/// Bytes of a group, the unit of verification.
pub const GROUP: u64 = 64 * 1024;
/// Bytes of a piece, the unit of request, availability and scheduling.
pub const PIECE: u64 = 1024 * 1024;
