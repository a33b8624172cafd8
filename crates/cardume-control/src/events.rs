//! What happens, kept for a while so that a reader who was away can catch up.
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use cardume_api::Event;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Events kept. More would be memory; fewer, and a reader that blinks loses some.
const KEPT: usize = 1024;

/// The last events, or others like them. Readers hold nothing but a position, so a slow one costs nothing.
pub(crate) struct Events {
    most: usize,
    /// Tells positions of this run of the node from those of an earlier one.
    epoch: String,
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
    end: CancellationToken,
}

struct Ring {
    /// Position of the next event.
    next: u64,
    kept: VecDeque<Arc<str>>,
    names: VecDeque<&'static str>,
}

/// An event as it goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) name: &'static str,
    pub(crate) data: Arc<str>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new(KEPT)
    }
}

impl Events {
    /// Keeps the last `most` of what is told.
    pub(crate) fn new(most: usize) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            most,
            epoch: format!("{:x}", since_1970.as_millis()),
            ring: Mutex::new(Ring {
                next: 1,
                kept: VecDeque::with_capacity(most),
                names: VecDeque::with_capacity(most),
            }),
            newest: watch::Sender::new(0),
            end: CancellationToken::new(),
        }
    }

    /// Ends what readers read, once they have read all there is.
    pub(crate) fn end(&self) {
        self.end.cancel();
    }

    /// Text that no other run of the node has.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    pub(crate) fn publish(&self, event: &Event) {
        self.tell(event.name(), encode(event));
    }

    /// Tells of something under `name`.
    pub(crate) fn tell(&self, name: &'static str, data: Arc<str>) {
        let mut ring = self.ring();
        if ring.kept.len() == self.most {
            ring.kept.pop_front();
            ring.names.pop_front();
        }
        ring.kept.push_back(data);
        ring.names.push_back(name);
        ring.next += 1;
        let newest = ring.next - 1;
        drop(ring);
        self.newest.send_replace(newest);
    }

    /// Reads what comes from now on, or after the event with the id `last`.
    pub(crate) fn reader(self: &Arc<Self>, last: Option<&str>) -> Reader {
        let ring = self.ring();
        let oldest = ring.oldest();
        let (position, lost) = match last {
            None => (ring.next, None),
            Some(last) => match self.position(last) {
                Some(last) if last < ring.next => (last + 1, None),
                // Of another run: what came between is not known, what came since is here.
                _ => (oldest, Some(None)),
            },
        };
        drop(ring);
        Reader {
            newest: self.newest.subscribe(),
            events: self.clone(),
            position,
            lost,
        }
    }

    /// Reads the last `count` that are kept, and what comes.
    pub(crate) fn reader_of_last(self: &Arc<Self>, count: usize) -> Reader {
        let ring = self.ring();
        let position = ring.oldest().max(ring.next.saturating_sub(count as u64));
        drop(ring);
        Reader {
            newest: self.newest.subscribe(),
            events: self.clone(),
            position,
            lost: None,
        }
    }

    /// The last `count` that are kept, the oldest first.
    pub(crate) fn last(&self, count: usize) -> Vec<Arc<str>> {
        let ring = self.ring();
        let left_out = ring.kept.len().saturating_sub(count);
        ring.kept.iter().skip(left_out).cloned().collect()
    }

    fn position(&self, id: &str) -> Option<u64> {
        let (epoch, position) = id.split_once('-')?;
        (epoch == self.epoch).then(|| position.parse().ok())?
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring
            .lock()
            .expect("nothing panics while it holds the events")
    }
}

impl Ring {
    fn oldest(&self) -> u64 {
        self.next - self.kept.len() as u64
    }
}

fn encode(event: &Event) -> Arc<str> {
    serde_json::to_string(event)
        .expect("an event is plain JSON")
        .into()
}

/// One reader's place among the events.
pub(crate) struct Reader {
    events: Arc<Events>,
    newest: watch::Receiver<u64>,
    position: u64,
    /// Something to tell first: events are lost, and how many if that is known.
    lost: Option<Option<u64>>,
}

impl Reader {
    /// The next event; `None` when the node stops.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.kept() {
                return Some(message);
            }
            let end = self.events.end.clone();
            tokio::select! {
                // Something may have been told since we looked.
                () = end.cancelled() => return self.kept(),
                changed = self.newest.changed() => changed.ok()?,
            }
        }
    }

    fn kept(&mut self) -> Option<Message> {
        // Seen before the ring is read, so that what comes meanwhile wakes the reader again.
        self.newest.borrow_and_update();
        let ring = self.events.ring();
        let oldest = ring.oldest();
        if self.position < oldest {
            self.lost = Some(Some(oldest - self.position));
            self.position = oldest;
        }
        if let Some(count) = self.lost.take() {
            let event = Event::Lost { count };
            let id = format!("{}-{}", self.events.epoch, self.position - 1);
            return Some(Message {
                id,
                name: event.name(),
                data: encode(&event),
            });
        }
        let index = usize::try_from(self.position - oldest).ok()?;
        let (data, name) = (ring.kept.get(index)?.clone(), *ring.names.get(index)?);
        let id = format!("{}-{}", self.events.epoch, self.position);
        self.position += 1;
        Some(Message { id, name, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardume_api::PeerChange;

    fn events() -> Arc<Events> {
        Arc::default()
    }

    fn publish(events: &Events, peers: std::ops::Range<usize>) {
        for peer in peers {
            events.publish(&Event::Peer {
                peer_id: peer.to_string(),
                change: PeerChange::Connected,
                agent: None,
                path: None,
            });
        }
    }

    fn peer(message: &Message) -> Event {
        serde_json::from_str(&message.data).unwrap()
    }

    #[tokio::test]
    async fn a_reader_goes_on_after_the_last_event_it_has_seen() {
        let events = events();
        let mut first = events.reader(None);
        publish(&events, 0..3);
        let seen = first.next().await.unwrap();
        let mut second = events.reader(Some(&seen.id));
        assert_eq!(first.next().await, second.next().await);
        let Event::Peer { peer_id, .. } = peer(&second.next().await.unwrap()) else {
            panic!()
        };
        assert_eq!(peer_id, "2");
    }

    #[tokio::test]
    async fn a_reader_that_was_away_too_long_is_told_how_much_it_lost() {
        let events = events();
        publish(&events, 0..1);
        let mut reader = events.reader(Some(&format!("{}-0", events.epoch)));
        publish(&events, 1..KEPT + 5);
        assert_eq!(
            peer(&reader.next().await.unwrap()),
            Event::Lost { count: Some(5) }
        );
        let Event::Peer { peer_id, .. } = peer(&reader.next().await.unwrap()) else {
            panic!()
        };
        assert_eq!(peer_id, "5");
    }

    #[tokio::test]
    async fn a_position_of_an_earlier_run_is_told_as_a_loss_and_then_all_there_is() {
        let events = events();
        publish(&events, 0..2);
        for id in ["1-1", "nonsense", &format!("{}-99", events.epoch)] {
            let mut reader = events.reader(Some(id));
            assert_eq!(peer(&reader.next().await.unwrap()), Event::Lost { count: None });
            let Event::Peer { peer_id, .. } = peer(&reader.next().await.unwrap()) else {
                panic!()
            };
            assert_eq!(peer_id, "0");
        }
    }

    #[tokio::test]
    async fn reading_ends_when_the_node_stops_and_all_is_read() {
        let events = events();
        let mut reader = events.reader(None);
        publish(&events, 0..2);
        events.end();
        for peer_id in ["0", "1"] {
            let Event::Peer { peer_id: told, .. } = peer(&reader.next().await.unwrap()) else {
                panic!()
            };
            assert_eq!(told, peer_id);
        }
        assert_eq!(reader.next().await, None);
    }
}
