//! Datagrams that wait to be sent.
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::wire::put_datagram;

/// Datagrams of one sender that wait, and their bytes: a tenth of a second at 20 Mbit/s. What waits longer is late, and is lost
/// for what is newer.
const MAX_DATAGRAMS: usize = 512;
const MAX_BYTES: usize = 256 * 1024;
/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;

/// Those of one sender, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    datagrams: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    /// Puts one at the end, and tells how many are lost for it.
    pub(crate) fn push(&self, datagram: Bytes) -> u64 {
        let mut lost = 0;
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while waiting.datagrams.len() >= MAX_DATAGRAMS || waiting.bytes + datagram.len() > MAX_BYTES {
            let Some(oldest) = waiting.datagrams.pop_front() else {
                break;
            };
            waiting.bytes -= oldest.len();
            lost += 1;
        }
        waiting.bytes += datagram.len();
        waiting.datagrams.push_back(datagram);
        drop(waiting);
        self.more.notify_one();
        lost
    }

    /// Takes what waits, at least one, as it is written.
    ///
    /// # Cancel safety
    /// Nothing is taken by a future that is dropped.
    pub(crate) async fn take(&self) -> BytesMut {
        loop {
            let more = self.more.notified();
            let batch = self.batch();
            if !batch.is_empty() {
                return batch;
            }
            more.await;
        }
    }

    fn batch(&self) -> BytesMut {
        let mut batch = BytesMut::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        while batch.len() < BATCH
            && let Some(datagram) = waiting.datagrams.pop_front()
        {
            waiting.bytes -= datagram.len();
            put_datagram(&mut batch, &datagram);
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::datagram;

    async fn taken(queue: &Queue) -> Vec<Bytes> {
        let batch = queue.take().await;
        let (mut line, mut all) = (&batch[..], Vec::new());
        while let Some(one) = datagram(&mut line).await.unwrap() {
            all.push(one);
        }
        all
    }

    #[tokio::test]
    async fn those_that_wait_longest_are_lost_when_there_are_too_many_or_too_much() {
        let queue = Queue::default();
        let lost: u64 = (0..600_u16)
            .map(|n| queue.push(Bytes::copy_from_slice(&n.to_be_bytes())))
            .sum();
        assert_eq!(lost, 600 - MAX_DATAGRAMS as u64);
        let all = taken(&queue).await;
        assert_eq!(
            (all.len(), &all[0][..]),
            (MAX_DATAGRAMS, &88_u16.to_be_bytes()[..])
        );

        let large = |n: u8| Bytes::from(vec![n; 60_000]);
        let lost: u64 = (0..10).map(|n| queue.push(large(n))).sum();
        assert_eq!(lost, 6, "four of them have 256 KiB together");
        let mut left = Vec::new();
        for _ in 0..2 {
            left.extend(taken(&queue).await.iter().map(|one| one[0]));
        }
        assert_eq!(left, [6, 7, 8, 9]);
        assert!(queue.batch().is_empty());
    }

    #[tokio::test]
    async fn who_takes_waits_for_the_first() {
        let queue = Queue::default();
        let (all, ()) = tokio::join!(taken(&queue), async {
            tokio::task::yield_now().await;
            queue.push(Bytes::new());
        });
        assert_eq!(all, [Bytes::new()], "one that says nothing is one too");
    }
}
