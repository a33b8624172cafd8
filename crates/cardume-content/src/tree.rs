//! The hash tree of a blob: BLAKE3's own (Bao), cut off at groups of 64 KiB.
//!
//! Kept in pre-order, 64 bytes a parent (left and right chaining value), without a size prefix: what
//! `bao_tree::io::outboard::PreOrderOutboard` reads. A blob of one group has no parents.
use std::io;

use crate::Hash;

/// Bytes that the tree of a blob of `size` bytes takes.
pub fn len(_size: u64) -> u64 {
    todo!()
}

/// Hashes a blob read from `read` on all cores, and gives its tree to `write` in ranges.
///
/// Memory stays bounded whatever the size. `read(offset, buffer)` must fill the buffer from `offset`;
/// it is called from several threads. `write(offset, bytes)` gets the tree (offsets within the tree).
/// `progress(bytes)` is called as bytes are hashed; `false` stops with `ErrorKind::Interrupted`.
pub fn hash<R, W, P>(_size: u64, _read: R, _write: W, _progress: P) -> io::Result<Hash>
where
    R: Fn(u64, &mut [u8]) -> io::Result<()> + Sync,
    W: FnMut(u64, &[u8]) -> io::Result<()>,
    P: Fn(u64) -> bool + Sync,
{
    todo!()
}

/// Hash and tree of bytes in memory.
pub fn of(_bytes: &[u8]) -> (Hash, Vec<u8>) {
    todo!()
}
