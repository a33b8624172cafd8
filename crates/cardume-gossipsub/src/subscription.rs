//! Messages on their way to those who subscribed.
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use libp2p_identity::PeerId;
use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::Validator;

/// Messages that wait for one slow subscriber; more are lost.
const MAX_WAITING: usize = 1024;
/// Bytes that wait for it.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The id of a message: its author and a sequence number, as the gossipsub specification has it. Shown in hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Arc<[u8]>);

impl MessageId {
    /// The id with these bytes.
    pub fn new(id: &[u8]) -> Self {
        Self(id.into())
    }

    /// The id as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message on a topic. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The topic.
    pub topic: Arc<str>,
    /// Who published it; its signature has been verified.
    pub from: PeerId,
    /// Its id.
    pub id: MessageId,
    /// What it says.
    pub data: Bytes,
}

/// What a subscriber gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message(Message),
    /// So many messages were lost here, because the subscriber was slow.
    Lagged(u64),
}

#[derive(Debug, Default)]
struct Shared {
    /// One more than the number of the last message that was lost.
    lost: AtomicU64,
    /// Bytes that wait.
    bytes: AtomicUsize,
}

/// A place in the queue.
#[derive(Debug)]
struct Numbered {
    number: u64,
    message: Message,
}

/// Messages of one topic as they come. Dropping it unsubscribes, within about a second.
#[derive(Debug)]
pub struct Subscription {
    waiting: mpsc::Receiver<Numbered>,
    shared: Arc<Shared>,
    /// The number of the message that is due.
    due: u64,
    /// A message that comes after a gap has been told.
    held: Option<Numbered>,
}

impl Subscription {
    /// The next message, or how many were lost before it; none when the node stops.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<Delivery> {
        if let Some(delivery) = self.ready() {
            return Some(delivery);
        }
        let numbered = self.waiting.recv().await?;
        Some(self.deliver(numbered))
    }

    /// What is there now.
    fn ready(&mut self) -> Option<Delivery> {
        if let Some(held) = self.held.take() {
            return Some(self.deliver(held));
        }
        // Before the queue is looked at: what was sent before the last loss is in the queue by then.
        let lost = self.shared.lost.load(Ordering::Acquire);
        match self.waiting.try_recv() {
            Ok(numbered) => Some(self.deliver(numbered)),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => self.skip_to(lost),
        }
    }

    fn deliver(&mut self, numbered: Numbered) -> Delivery {
        if let Some(lagged) = self.skip_to(numbered.number) {
            self.held = Some(numbered);
            return lagged;
        }
        self.due = numbered.number + 1;
        let bytes = numbered.message.data.len();
        self.shared.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Delivery::Message(numbered.message)
    }

    fn skip_to(&mut self, number: u64) -> Option<Delivery> {
        let lost = number.checked_sub(self.due).filter(|lost| *lost > 0)?;
        self.due = number;
        Some(Delivery::Lagged(lost))
    }
}

/// The other end of a subscription.
pub(crate) struct Outlet {
    sender: mpsc::Sender<Numbered>,
    shared: Arc<Shared>,
    next: u64,
    pub(crate) validator: Option<Validator>,
}

impl Outlet {
    pub(crate) fn pair(validator: Option<Validator>) -> (Self, Subscription) {
        let (sender, waiting) = mpsc::channel(MAX_WAITING);
        let shared = Arc::<Shared>::default();
        let subscription = Subscription {
            waiting,
            shared: shared.clone(),
            due: 0,
            held: None,
        };
        let outlet = Self {
            sender,
            shared,
            next: 0,
            validator,
        };
        (outlet, subscription)
    }

    /// Hands a message on, unless too much is waiting; whether it was handed on.
    pub(crate) fn offer(&mut self, message: &Message) -> bool {
        let (number, bytes) = (self.next, message.data.len());
        self.next += 1;
        let is_room = self.shared.bytes.load(Ordering::Relaxed) + bytes <= MAX_WAITING_BYTES;
        if is_room && let Ok(place) = self.sender.try_reserve() {
            self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
            place.send(Numbered {
                number,
                message: message.clone(),
            });
            return true;
        }
        self.shared.lost.store(number + 1, Ordering::Release);
        false
    }

    /// Whether the subscriber has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize, bytes: usize) -> Message {
        Message {
            topic: "t".into(),
            from: PeerId::random(),
            id: MessageId::new(&number.to_be_bytes()),
            data: vec![0; bytes].into(),
        }
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_where_and_how_much_it_lost() {
        let (mut outlet, mut subscription) = Outlet::pair(None);
        for number in 0..MAX_WAITING + 5 {
            assert_eq!(outlet.offer(&message(number, 1)), number < MAX_WAITING);
        }
        assert!(matches!(subscription.next().await, Some(Delivery::Message(_))));
        assert!(outlet.offer(&message(7_777, 1)));
        for _ in 1..MAX_WAITING {
            assert!(matches!(subscription.next().await, Some(Delivery::Message(_))));
        }
        assert_eq!(subscription.next().await, Some(Delivery::Lagged(5)));
        let Some(Delivery::Message(last)) = subscription.next().await else {
            panic!()
        };
        assert_eq!(last.id, MessageId::new(&7_777_usize.to_be_bytes()));
        drop(outlet);
        assert_eq!(subscription.next().await, None);
    }

    #[tokio::test]
    async fn losses_at_the_end_are_told_too_and_large_messages_count_by_their_bytes() {
        let (mut outlet, mut subscription) = Outlet::pair(None);
        let half = MAX_WAITING_BYTES / 2;
        let taken = (0..3).filter(|number| outlet.offer(&message(*number, half)));
        assert_eq!(taken.count(), 2);
        for _ in 0..2 {
            assert!(matches!(subscription.next().await, Some(Delivery::Message(_))));
        }
        assert_eq!(subscription.next().await, Some(Delivery::Lagged(1)));
        assert!(outlet.offer(&message(4, half)));
        assert!(matches!(subscription.next().await, Some(Delivery::Message(_))));
    }
}
