//! The memory of answers, used again.
use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// Buffers kept for the next answers. What is under way to or from one fast peer, so that bulk needs no others;
/// more would only be held by a node that has nothing to do.
const KEPT: usize = 12;
/// Buffers smaller than this are cheaper made anew.
const SMALL: usize = 64 * 1024;
/// Buffers larger than this are not kept: some more than the largest answer.
const LARGE: usize = 5 * 1024 * 1024;

/// Buffers that come back when nobody needs their bytes any more. Cheap to clone; clones share the buffers.
///
/// Fresh memory of a mebibyte costs more than the hash over it: the kernel maps it page by page, clears each, and
/// takes all back when it is freed.
#[derive(Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// Takes a buffer of `len` bytes, whatever they are.
    pub fn of(&self, len: usize) -> Buffer {
        let mut buffer = self.any(len);
        buffer.resize(len, 0);
        buffer
    }

    fn any(&self, len: usize) -> Buffer {
        let kept = if len < SMALL { None } else { self.lock().pop() };
        Buffer {
            bytes: kept.unwrap_or_default(),
            home: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffers")
            .field("kept", &self.lock().len())
            .finish()
    }
}

/// A buffer that goes back to where it came from when it is dropped.
pub struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffer {
    /// Makes its bytes shareable; the buffer goes back when the last of them is dropped.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if (SMALL..=LARGE).contains(&self.bytes.capacity()) {
            let mut kept = self.home.lock();
            if kept.len() < KEPT {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.bytes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_last_of_its_bytes() {
        let buffers = Buffers::default();
        let bytes = buffers.of(1 << 20).freeze();
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(buffers.lock().len(), 0);
        drop(part);
        assert_eq!(buffers.lock().len(), 1);
        let again = buffers.of(100_000);
        assert!(again.capacity() >= 1 << 20);
        assert_eq!(buffers.lock().len(), 0);
    }

    #[test]
    fn only_so_many_buffers_and_none_that_are_very_large_or_small_are_kept() {
        let buffers = Buffers::default();
        let many: Vec<_> = (0..2 * KEPT).map(|_| buffers.of(SMALL)).collect();
        drop(many);
        assert_eq!(buffers.lock().len(), KEPT);
        let buffers = Buffers::default();
        drop((buffers.of(SMALL / 2), buffers.of(LARGE + 1)));
        assert_eq!(buffers.lock().len(), 0);
    }
}
