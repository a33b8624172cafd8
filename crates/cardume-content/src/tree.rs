//! The hash tree of a blob: BLAKE3's own (Bao), cut off at groups of 64 KiB.
//!
//! Kept in pre-order, 64 bytes a parent (left and right chaining value), without a size prefix: what
//! `bao_tree::io::outboard::PreOrderOutboard` reads. A blob of one group has no parents.
use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    GROUP, Hash,
    shape::{PAIR, Subtree, hash_group, hash_pair, join_pair},
};

/// Groups that one core reads and hashes at a time: 256 KiB, so that what was read is still in its cache
/// when it is hashed.
const RUN: u64 = 4;
/// Groups whose part of the tree is made in memory: 16 MiB of content, 16 KiB of tree. Work for 64 cores, yet
/// near enough together for a disk that reads in order.
const SPAN: u64 = 256;

/// Bytes that the tree of a blob of `size` bytes takes.
pub fn len(size: u64) -> u64 {
    Subtree::whole(size).parents() * PAIR
}

/// Hashes a blob read from `read` on all cores, and gives its tree to `write` in ranges.
///
/// Memory stays bounded whatever the size. `read(offset, buffer)` must fill the buffer from `offset`;
/// it is called from several threads. `write(offset, bytes)` gets the tree (offsets within the tree).
/// `progress(bytes)` is called as bytes are hashed; `false` stops with `ErrorKind::Interrupted`.
///
/// Blocks until done: the work runs on rayon's pool.
///
/// # Errors
///
/// Returns the first error of `read` or `write`, or `ErrorKind::Interrupted`.
pub fn hash<R, W, P>(size: u64, read: R, mut write: W, progress: P) -> io::Result<Hash>
where
    R: Fn(u64, &mut [u8]) -> io::Result<()> + Sync,
    W: FnMut(u64, &[u8]) -> io::Result<()>,
    P: Fn(u64) -> bool + Sync,
{
    let buffers = Buffers::default();
    let leaf = |run: Subtree, tree: &mut [u8], is_root: bool| {
        let range = run.bytes(size);
        buffers.with((range.end - range.start) as usize, |buffer| {
            read(range.start, buffer)?;
            let hash = grow_run(run, buffer, tree, is_root);
            if progress(range.end - range.start) {
                Ok(hash)
            } else {
                Err(io::ErrorKind::Interrupted.into())
            }
        })
    };
    let grower = Grower {
        leaf,
        stopped: AtomicBool::new(false),
    };
    grower
        .grow_spans(Subtree::whole(size), &mut Vec::new(), &mut write, true)
        .map(Hash::from_bytes)
}

/// Hash and tree of bytes in memory.
pub fn of(bytes: &[u8]) -> (Hash, Vec<u8>) {
    let size = bytes.len() as u64;
    let mut tree = vec![0; len(size) as usize];
    let leaf = |run: Subtree, tree: &mut [u8], is_root: bool| {
        let range = run.bytes(size);
        Ok(grow_run(
            run,
            &bytes[range.start as usize..range.end as usize],
            tree,
            is_root,
        ))
    };
    let grower = Grower {
        leaf,
        stopped: AtomicBool::new(false),
    };
    let hash = grower
        .grow(Subtree::whole(size), &mut tree, true)
        .expect("bytes in memory can be read");
    (Hash::from_bytes(hash), tree)
}

/// Makes trees from runs that `leaf` reads and hashes.
struct Grower<L> {
    leaf: L,
    /// Set by the first failure, so that the other cores stop early.
    stopped: AtomicBool,
}

impl<L: Fn(Subtree, &mut [u8], bool) -> io::Result<[u8; 32]> + Sync> Grower<L> {
    /// Grows a subtree of any size on the calling thread, span by span.
    fn grow_spans(
        &self,
        subtree: Subtree,
        tree: &mut Vec<u8>,
        write: &mut impl FnMut(u64, &[u8]) -> io::Result<()>,
        is_root: bool,
    ) -> io::Result<[u8; 32]> {
        if subtree.groups <= SPAN {
            tree.resize((subtree.parents() * PAIR) as usize, 0);
            let hash = self.grow(subtree, tree, is_root)?;
            if !tree.is_empty() {
                write(subtree.offset(), tree)?;
            }
            return Ok(hash);
        }
        let (left, right) = subtree.halves();
        let left = self.grow_spans(left, tree, write, false)?;
        let right = self.grow_spans(right, tree, write, false)?;
        let pair = join_pair(&left, &right);
        write(subtree.offset(), &pair)?;
        Ok(hash_pair(&pair, is_root))
    }

    /// Grows a subtree into `tree`, which has room for exactly its parents, halving the work among cores.
    fn grow(&self, subtree: Subtree, tree: &mut [u8], is_root: bool) -> io::Result<[u8; 32]> {
        if subtree.groups <= RUN {
            if self.stopped.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            return (self.leaf)(subtree, tree, is_root)
                .inspect_err(|_| self.stopped.store(true, Ordering::Relaxed));
        }
        let (left, right) = subtree.halves();
        let (top, below) = tree.split_at_mut(PAIR as usize);
        let (left_tree, right_tree) = below.split_at_mut((left.parents() * PAIR) as usize);
        let (left, right) = rayon::join(
            || self.grow(left, left_tree, false),
            || self.grow(right, right_tree, false),
        );
        let pair = match (left, right) {
            (Ok(left), Ok(right)) => join_pair(&left, &right),
            // The half that was only told to stop does not know why.
            (Err(told), Err(error)) if told.kind() == io::ErrorKind::Interrupted => return Err(error),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        top.copy_from_slice(&pair);
        Ok(hash_pair(&pair, is_root))
    }
}

/// Grows a short subtree from its bytes on one core.
fn grow_run(subtree: Subtree, bytes: &[u8], tree: &mut [u8], is_root: bool) -> [u8; 32] {
    if subtree.is_group() {
        return hash_group(subtree.first * GROUP, bytes, is_root);
    }
    let (left, right) = subtree.halves();
    let (left_bytes, right_bytes) = bytes.split_at((left.groups * GROUP) as usize);
    let (top, below) = tree.split_at_mut(PAIR as usize);
    let (left_tree, right_tree) = below.split_at_mut((left.parents() * PAIR) as usize);
    let pair = join_pair(
        &grow_run(left, left_bytes, left_tree, false),
        &grow_run(right, right_bytes, right_tree, false),
    );
    top.copy_from_slice(&pair);
    hash_pair(&pair, is_root)
}

/// Buffers kept for the next run: as many as cores have been at work.
#[derive(Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn with<T>(&self, len: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
        let free = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = free().pop().unwrap_or_default();
        if buffer.len() < len {
            buffer.resize(len, 0);
        }
        let done = work(&mut buffer[..len]);
        free().push(buffer);
        done
    }
}
