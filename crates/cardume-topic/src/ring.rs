//! The last messages of a topic, kept for readers.
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use cardume_content::Cid;
use cardume_gossipsub::MessageId;
use libp2p_identity::PeerId;
use tokio::sync::watch;

/// Messages kept of one topic. Fewer, and a reader that blinks loses some.
pub(crate) const MAX_MESSAGES: usize = 1024;
/// Numbers below the first message of a ring, for those from before that peers have kept.
const BEFORE: u64 = cardume_gossipsub::MAX_HISTORY as u64;
/// Bytes kept of one topic; the newest message is kept whatever its size.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A message on a topic, complete. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The topic.
    pub topic: Arc<str>,
    /// Who published it.
    pub from: PeerId,
    /// Its id.
    pub id: MessageId,
    /// What it says.
    pub data: Bytes,
    /// Its id as content, where it was too large for the topic and came as such.
    pub cid: Option<Cid>,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A message.
    Message(Received),
    /// So many messages were lost here; none when that is not known because the node was started anew.
    Lost(Option<u64>),
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// With what comes from now on.
    Now,
    /// With so many of the messages that are kept.
    Last(usize),
    /// After the item at that position: see [`Reader::next`].
    After(&'a str),
}

struct Kept {
    /// The number of its first message.
    number: u64,
    item: Entry,
}

enum Entry {
    Message(Received),
    /// So many messages that never came here.
    Lost(u64),
}

impl Entry {
    fn size(&self) -> usize {
        match self {
            Self::Message(message) => message.data.len(),
            Self::Lost(_) => 0,
        }
    }
}

struct State {
    /// The number of the next message; those lost have numbers too.
    next: u64,
    kept: VecDeque<Kept>,
    bytes: usize,
    /// Some of what was here has gone to make room.
    is_full: bool,
    /// Messages from before that may come once more as news. There are not more of them than numbers.
    before: HashSet<MessageId>,
    /// Nothing comes any more.
    is_closed: bool,
}

/// The last messages of one topic. Readers hold nothing but a position, so a slow one costs nothing.
pub(crate) struct Ring {
    /// Tells positions of this ring from those of an earlier one.
    epoch: String,
    state: Mutex<State>,
    newest: watch::Sender<u64>,
}

impl Ring {
    pub(crate) fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            epoch: format!("{:x}", since_1970.as_micros()),
            state: Mutex::new(State {
                next: BEFORE + 1,
                kept: VecDeque::new(),
                bytes: 0,
                is_full: false,
                before: HashSet::new(),
                is_closed: false,
            }),
            newest: watch::Sender::new(0),
        }
    }

    pub(crate) fn push(&self, message: Received) {
        if self.state().before.remove(&message.id) {
            return;
        }
        self.add(Entry::Message(message), 1);
    }

    /// Notes messages that were lost before they came here.
    pub(crate) fn lose(&self, count: u64) {
        self.add(Entry::Lost(count), count);
    }

    fn add(&self, item: Entry, count: u64) {
        let mut state = self.state();
        state.bytes += item.size();
        let number = state.next;
        state.kept.push_back(Kept { number, item });
        state.next += count;
        while state.kept.len() > MAX_MESSAGES || (state.bytes > MAX_BYTES && state.kept.len() > 1) {
            let oldest = state.kept.pop_front();
            state.is_full = true;
            state.bytes -= oldest.map_or(0, |oldest| oldest.item.size());
        }
        drop(state);
        self.newest.send_replace(number);
    }

    /// How many messages from before would be of use to who wants to begin with the last `count`; none once there was no
    /// room for all that came.
    pub(crate) fn lacks(&self, count: usize) -> usize {
        let state = self.state();
        match state.is_full {
            true => 0,
            false => count.saturating_sub(state.kept.len()),
        }
    }

    /// Puts messages from before in front of the others, oldest first; those that are here already are left out. Readers
    /// of what comes from now on do not see them.
    pub(crate) fn put_before(&self, messages: Vec<Received>) {
        let mut state = self.state();
        for message in messages.into_iter().rev() {
            let is_here = |kept: &Kept| matches!(&kept.item, Entry::Message(here) if here.id == message.id);
            let (number, size) = (state.oldest() - 1, message.data.len());
            let is_room = state.kept.len() < MAX_MESSAGES && state.bytes + size <= MAX_BYTES;
            if state.is_full || number == 0 || !is_room {
                return;
            }
            if state.kept.iter().any(is_here) {
                continue;
            }
            state.bytes += size;
            state.before.insert(message.id.clone());
            let item = Entry::Message(message);
            state.kept.push_front(Kept { number, item });
        }
    }

    /// Ends what readers read, once they have read all there is.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.newest.send_modify(|_| {});
    }

    /// Readers there are now.
    pub(crate) fn readers(&self) -> usize {
        self.newest.receiver_count()
    }

    pub(crate) fn reader(self: &Arc<Self>, start: Start<'_>) -> Reader {
        let state = self.state();
        let (position, lost) = match start {
            Start::Now => (state.next, None),
            Start::Last(count) => (state.last(count), None),
            Start::After(text) => match self.position(text) {
                Some(position) if position <= state.next => (position, None),
                // Of an earlier run: what came between is not known, what is kept is here.
                _ => (state.oldest(), Some(Item::Lost(None))),
            },
        };
        drop(state);
        Reader {
            newest: self.newest.subscribe(),
            ring: self.clone(),
            position,
            lost,
        }
    }

    fn position(&self, text: &str) -> Option<u64> {
        let (epoch, position) = text.split_once('-')?;
        (epoch == self.epoch).then(|| position.parse().ok())?
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn oldest(&self) -> u64 {
        self.kept.front().map_or(self.next, |kept| kept.number)
    }

    fn last(&self, count: usize) -> u64 {
        let first = self.kept.len().saturating_sub(count);
        self.kept.get(first).map_or(self.next, |kept| kept.number)
    }
}

/// One reader's place among the messages of a topic.
pub struct Reader {
    ring: Arc<Ring>,
    newest: watch::Receiver<u64>,
    /// The number of the message that is due.
    position: u64,
    lost: Option<Item>,
}

impl Reader {
    /// What it reads.
    pub(crate) fn ring(&self) -> Arc<Ring> {
        self.ring.clone()
    }

    /// The next item, and the position after it, from which another reader can go on; none when the node stops.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<(Item, String)> {
        loop {
            if let Some(item) = self.take_ready() {
                return Some((item, format!("{}-{}", self.ring.epoch, self.position)));
            }
            if self.ring.state().is_closed {
                return None;
            }
            self.newest.changed().await.ok()?;
        }
    }

    /// The next item, if it is there.
    pub(crate) fn take_ready(&mut self) -> Option<Item> {
        // Seen before the messages are, so that what comes meanwhile wakes the reader again.
        self.newest.borrow_and_update();
        if let Some(lost) = self.lost.take() {
            return Some(lost);
        }
        let state = self.ring.state();
        let lost = state.oldest().saturating_sub(self.position);
        if lost > 0 {
            self.position += lost;
            return Some(Item::Lost(Some(lost)));
        }
        let index = state.kept.partition_point(|kept| kept.number < self.position);
        let (item, count) = match &state.kept.get(index)?.item {
            Entry::Message(message) => (Item::Message(message.clone()), 1),
            Entry::Lost(count) => (Item::Lost(Some(*count)), *count),
        };
        self.position += count;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize, bytes: usize) -> Received {
        Received {
            topic: "t".into(),
            from: PeerId::random(),
            id: cardume_gossipsub::MessageId::new(&number.to_be_bytes()),
            data: vec![0; bytes].into(),
            cid: None,
        }
    }

    fn number(item: &Item) -> usize {
        match item {
            Item::Message(message) => usize::from_be_bytes(message.id.as_bytes().try_into().unwrap()),
            Item::Lost(_) => panic!("{item:?}"),
        }
    }

    #[tokio::test]
    async fn a_reader_goes_on_where_another_was() {
        let ring = Arc::new(Ring::new());
        let mut first = ring.reader(Start::Now);
        (0..3).for_each(|n| ring.push(message(n, 1)));
        let (item, place) = first.next().await.unwrap();
        assert_eq!(number(&item), 0);
        let mut second = ring.reader(Start::After(&place));
        assert_eq!(number(&second.next().await.unwrap().0), 1);
        let mut last = ring.reader(Start::Last(1));
        assert_eq!(number(&last.next().await.unwrap().0), 2);
    }

    #[tokio::test]
    async fn a_reader_that_was_away_too_long_is_told_how_much_it_lost() {
        let ring = Arc::new(Ring::new());
        let mut reader = ring.reader(Start::Now);
        ring.lose(7);
        (0..MAX_MESSAGES + 2).for_each(|n| ring.push(message(n, 1)));
        assert_eq!(reader.next().await.unwrap().0, Item::Lost(Some(9)));
        let (item, _) = reader.next().await.unwrap();
        assert_eq!(number(&item), 2);
        ring.lose(3);
        for _ in 3..MAX_MESSAGES + 2 {
            reader.next().await.unwrap();
        }
        assert_eq!(reader.next().await.unwrap().0, Item::Lost(Some(3)));
    }

    #[tokio::test]
    async fn a_place_in_an_earlier_run_is_told_as_a_loss_and_then_all_there_is() {
        let ring = Arc::new(Ring::new());
        (0..2).for_each(|n| ring.push(message(n, 1)));
        for place in ["0-1", "nonsense", &format!("{}-9999", ring.epoch)] {
            let mut reader = ring.reader(Start::After(place));
            assert_eq!(reader.next().await.unwrap().0, Item::Lost(None));
            assert_eq!(number(&reader.next().await.unwrap().0), 0);
        }
    }

    #[tokio::test]
    async fn what_was_before_comes_before_the_rest_once_and_only_to_who_begins_there() {
        let ring = Arc::new(Ring::new());
        let mut now = ring.reader(Start::Now);
        ring.push(message(7, 1));
        assert_eq!(ring.lacks(5), 4);
        ring.put_before(vec![message(5, 1), message(6, 1), message(7, 1)]);
        assert_eq!(ring.lacks(5), 2);
        // One of them is still on its way.
        ring.push(message(6, 1));
        ring.push(message(8, 1));
        let read = async |reader: &mut Reader, count: usize| {
            let mut numbers = Vec::new();
            for _ in 0..count {
                numbers.push(number(&reader.next().await.unwrap().0));
            }
            numbers
        };
        assert_eq!(read(&mut now, 2).await, [7, 8]);
        assert_eq!(read(&mut ring.reader(Start::Last(9)), 4).await, [5, 6, 7, 8]);
        assert_eq!(read(&mut ring.reader(Start::Last(3)), 3).await, [6, 7, 8]);
        (0..MAX_MESSAGES).for_each(|n| ring.push(message(n + 9, 1)));
        assert_eq!(ring.lacks(MAX_MESSAGES), 0);
        ring.put_before(vec![message(4, 1)]);
        assert_eq!(read(&mut ring.reader(Start::Last(MAX_MESSAGES)), 1).await, [9]);
    }

    #[tokio::test]
    async fn reading_ends_with_what_comes_and_not_before() {
        let ring = Arc::new(Ring::new());
        let mut reader = ring.reader(Start::Now);
        ring.push(message(0, 1));
        ring.close();
        assert_eq!(number(&reader.next().await.unwrap().0), 0);
        assert_eq!(reader.next().await, None);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_the_newest_is_always_kept() {
        let ring = Ring::new();
        ring.push(message(0, MAX_BYTES * 2));
        assert_eq!(ring.state().kept.len(), 1);
        for n in 0..10 {
            ring.push(message(n, MAX_BYTES / 4));
        }
        assert!(ring.state().kept.len() <= 4);
    }
}
