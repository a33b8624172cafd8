//! Received bytes that nobody has read yet.
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Bytes of a large chunk: a frame of ours.
const LARGE: usize = 64 * 1024;
/// Bytes of a small one; what comes in smaller parts shares it, so that tiny frames take little more than their bytes.
const SMALL: usize = 4 * 1024;
/// Large chunks kept for the next frames, over all connections of a node: 2 MiB.
const KEPT: usize = 32;

/// Chunks used again: fresh ones would have to be cleared each time. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Pool {
    fn chunk(&self, wanted: usize) -> Chunk {
        let bytes = if wanted <= SMALL {
            vec![0; SMALL].into_boxed_slice()
        } else {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
            kept.unwrap_or_else(|| vec![0; LARGE].into_boxed_slice())
        };
        Chunk {
            bytes,
            taken: 0,
            filled: 0,
        }
    }

    fn keep(&self, chunk: Chunk) {
        if chunk.bytes.len() == LARGE {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < KEPT {
                kept.push(chunk.bytes);
            }
        }
    }
}

/// `bytes[taken..filled]` wait to be read; what is behind them is free.
#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8]>,
    taken: usize,
    filled: usize,
}

/// The received bytes of one stream.
#[derive(Debug)]
pub(super) struct Chunks {
    pool: Pool,
    queue: VecDeque<Chunk>,
}

impl Chunks {
    pub(super) fn new(pool: Pool) -> Self {
        Self {
            pool,
            queue: VecDeque::new(),
        }
    }

    /// Room for up to `wanted` bytes, at least one, behind what is there.
    pub(super) fn room(&mut self, wanted: usize) -> &mut [u8] {
        // The few bytes at the end of a large one are not worth a read of their own.
        let has_room = |chunk: &Chunk| chunk.bytes.len() - chunk.filled >= wanted.min(SMALL);
        if !self.queue.back().is_some_and(has_room) {
            self.queue.push_back(self.pool.chunk(wanted));
        }
        let chunk = self.queue.back_mut().expect("one was pushed if there was none");
        let end = chunk.bytes.len().min(chunk.filled + wanted);
        &mut chunk.bytes[chunk.filled..end]
    }

    /// Notes that so much of the room is used.
    pub(super) fn fill(&mut self, bytes: usize) {
        if let Some(chunk) = self.queue.back_mut() {
            chunk.filled += bytes;
        }
    }

    /// Moves as much as there is, and goes, to `out`.
    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        let mut read = 0;
        while let Some(chunk) = self.queue.front_mut() {
            let len = (chunk.filled - chunk.taken).min(out.len() - read);
            out[read..read + len].copy_from_slice(&chunk.bytes[chunk.taken..chunk.taken + len]);
            chunk.taken += len;
            read += len;
            if chunk.taken < chunk.filled {
                break;
            }
            if let Some(chunk) = self.queue.pop_front() {
                self.pool.keep(chunk);
            }
        }
        read
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        for chunk in self.queue.drain(..) {
            self.pool.keep(chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(chunks: &mut Chunks, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = chunks.room(bytes.len());
            let len = room.len();
            room.copy_from_slice(&bytes[..len]);
            chunks.fill(len);
            bytes = &bytes[len..];
        }
    }

    #[test]
    fn bytes_come_out_in_order_however_they_came() {
        let sent: Vec<u8> = (0..500_000_u32).map(|at| (at >> 5) as u8).collect();
        let mut chunks = Chunks::new(Pool::default());
        let (mut at, mut step) = (0, 1);
        while at < sent.len() {
            let end = sent.len().min(at + step);
            put(&mut chunks, &sent[at..end]);
            (at, step) = (end, step * 7 % 90_001);
        }
        let mut got = vec![0; sent.len() + 1];
        let mut read = 0;
        loop {
            let more = chunks.read(&mut got[read..][..10_007.min(sent.len() + 1 - read)]);
            if more == 0 {
                break;
            }
            read += more;
        }
        assert_eq!(got[..read], sent);
    }

    #[test]
    fn tiny_frames_take_little_more_than_their_bytes() {
        let mut chunks = Chunks::new(Pool::default());
        for _ in 0..256 * 1024 {
            put(&mut chunks, &[7]);
        }
        let held: usize = chunks.queue.iter().map(|chunk| chunk.bytes.len()).sum();
        assert_eq!(held, 256 * 1024);
    }

    #[test]
    fn large_chunks_are_used_again_and_only_so_many_are_kept() {
        let pool = Pool::default();
        let mut chunks = Chunks::new(pool.clone());
        put(&mut chunks, &vec![1; (KEPT + 9) * LARGE]);
        drop(chunks);
        assert_eq!(pool.0.lock().unwrap().len(), KEPT);
        Chunks::new(pool.clone()).room(LARGE);
        assert_eq!(pool.0.lock().unwrap().len(), KEPT);
    }
}
