//! The way in for the rest of the node.
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use cardume_content::{Cid, Hash};
use cardume_gossipsub::{self as gossipsub, Counts, MessageId, SubscribeError, TopicPeer, TopicStatus};
use cardume_store::{Store, WriteError};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use multiaddr::Multiaddr;
use tokio::sync::{Mutex, mpsc, watch};

use crate::{
    DeliveryStatus, Reader, Received, Start, content,
    hub::{Deliveries, KeptTopics, MAX_FETCHING, Opened, Settings, received},
    ring::Ring,
};

/// Gets content of at most so many bytes from peers at these addresses, into a store; what is wrong is told in words.
pub type Fetch =
    Arc<dyn Fn(Cid, Vec<Multiaddr>, u64, Store) -> BoxFuture<'static, Result<Bytes, String>> + Send + Sync>;

/// Time for the content of messages from before: somebody waits for it.
const BEFORE_TIME: Duration = Duration::from_secs(20);

/// Topics that somebody here reads.
pub(crate) type Open = Arc<Mutex<HashMap<String, Arc<Ring>>>>;

/// Publishes, and reads what others do. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) gossipsub: gossipsub::Handle,
    pub(crate) store: Store,
    pub(crate) fetch: Fetch,
    pub(crate) agent: Arc<str>,
    pub(crate) settings: Arc<RwLock<Arc<Settings>>>,
    pub(crate) open: Open,
    pub(crate) opened: mpsc::Sender<Opened>,
    pub(crate) deliveries: watch::Sender<Deliveries>,
    pub(crate) kept: watch::Sender<KeptTopics>,
}

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Topics do not take it.
    #[error(transparent)]
    Topic(#[from] gossipsub::PublishError),
    /// It is larger than a message may be even as content.
    #[error("a message on this topic has at most {max} bytes, this one has {size}")]
    TooLarge {
        /// Bytes of the message.
        size: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// It is too large for the topic, and the store does not take it.
    #[error("the message is too large for the topic, and could not be kept as content: {0}")]
    Store(#[from] WriteError),
}

/// Why a topic cannot be read.
pub type OpenError = SubscribeError;

impl Handle {
    /// A handle to no topics: every call answers that they are switched off.
    pub fn closed(store: Store) -> Self {
        Self {
            gossipsub: gossipsub::Handle::closed(),
            store,
            fetch: Arc::new(|_, _, _, _| async { Err("topics are switched off".to_owned()) }.boxed()),
            agent: Arc::from(""),
            settings: Arc::default(),
            open: Open::default(),
            opened: mpsc::channel(1).0,
            deliveries: watch::Sender::default(),
            kept: watch::Sender::default(),
        }
    }

    /// What the content of a topic's messages is taken in through: it is for those only whom messages are sent to.
    pub(crate) fn store(&self, topic: &str) -> Store {
        let settings = self.settings();
        settings.guarding.get(topic).unwrap_or(&self.store).clone()
    }

    /// What configuration says now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        let settings = self.settings.read();
        settings.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a message would travel as content: it is too large for the topic, or looks as if it did.
    pub fn is_content(&self, topic: &str, data: &[u8]) -> bool {
        content::is_content(data, self.settings().limits.of(topic).0)
    }

    /// Publishes a message. One that is too large for the topic is kept in the store for an hour, where peers get it
    /// from; `addresses` are where they find this node.
    ///
    /// # Errors
    /// When it breaks a limit, nobody would hear it, or the disk refuses.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have published the message.
    pub async fn publish(
        &self,
        topic: &str,
        data: Bytes,
        addresses: Vec<Multiaddr>,
    ) -> Result<MessageId, PublishError> {
        if !self.is_content(topic, &data) {
            return Ok(self.gossipsub.publish(topic, data).await?);
        }
        let (size, (_, max)) = (data.len() as u64, self.settings().limits.of(topic));
        if size > max {
            return Err(PublishError::TooLarge { size, max });
        }
        let store = self.store(topic);
        let keep = move || {
            let cid = Cid::blob(Hash::of(&data));
            store.put(cid, &data).map(|()| cid)
        };
        let kept = tokio::task::spawn_blocking(keep).await;
        let cid = kept.expect("keeping bytes does not panic")?;
        let envelope = content::envelope(cid, size, addresses);
        Ok(self.gossipsub.publish(topic, envelope.into()).await?)
    }

    /// Reads a topic; subscribes to it, if nobody here reads it yet, and stays so for a minute after the last reader.
    ///
    /// Who begins with more of the last messages than there are here waits until peers have been asked for those from
    /// before, where configuration keeps a history of the topic.
    ///
    /// # Errors
    /// When the name is none, or this node is subscribed to as many topics as it may.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind but, maybe, the subscription for a minute.
    pub async fn read(&self, topic: &str, start: Start<'_>) -> Result<Reader, OpenError> {
        let reader = self.open(topic, start).await?;
        let Start::Last(count) = start else {
            return Ok(reader);
        };
        let ring = reader.ring();
        let wanted = count.min(self.settings().limits.history(topic));
        if ring.lacks(wanted) > 0 {
            ring.put_before(self.before(topic, wanted).await?);
        }
        Ok(ring.reader(start))
    }

    /// The last messages of a topic that peers have kept, complete.
    async fn before(&self, topic: &str, count: usize) -> Result<Vec<Received>, OpenError> {
        let kept = self.gossipsub.history(topic, count).await?;
        let ((_, max), store) = (self.settings().limits.of(topic), self.store(topic));
        let whole = kept
            .into_iter()
            .map(|message| match content::stands_for(&message.data) {
                None => {
                    std::future::ready(Some(received(&message, message.data.clone(), None))).left_future()
                }
                Some(link) => {
                    content::get(self.fetch.clone(), store.clone(), max, message, link).right_future()
                }
            });
        // Content is in the way of nothing but itself: a few at once, and each within its time.
        let whole = futures::stream::iter(whole).buffered(MAX_FETCHING);
        let whole: Vec<_> = whole.take_until(tokio::time::sleep(BEFORE_TIME)).collect().await;
        Ok(whole.into_iter().flatten().collect())
    }

    async fn open(&self, topic: &str, start: Start<'_>) -> Result<Reader, OpenError> {
        let mut open = self.open.lock().await;
        if let Some(ring) = open.get(topic) {
            return Ok(ring.reader(start));
        }
        // Whoever wants to publish to the topic at once, or to read it, waits for this; nobody else does.
        let place = self.opened.reserve().await.map_err(|_| closed())?;
        let subscription = self.gossipsub.subscribe(topic).await?;
        let ring = Arc::new(Ring::new());
        let reader = ring.reader(start);
        open.insert(topic.to_owned(), ring.clone());
        place.send(Opened {
            topic: topic.to_owned(),
            subscription,
            ring,
        });
        Ok(reader)
    }

    /// The topics that this node or a peer is subscribed to, by name.
    ///
    /// # Errors
    /// When topics are switched off.
    pub async fn topics(&self) -> Result<Vec<TopicStatus>, OpenError> {
        Ok(self.gossipsub.topics().await?)
    }

    /// The peers connected that are subscribed to a topic.
    ///
    /// # Errors
    /// When topics are switched off.
    pub async fn peers(&self, topic: &str) -> Result<Vec<TopicPeer>, OpenError> {
        Ok(self.gossipsub.peers(topic).await?)
    }

    /// Messages of all topics since the start.
    pub fn counts(&self) -> Counts {
        self.gossipsub.counts()
    }

    /// What configuration delivers, and how it goes.
    pub fn deliveries(&self) -> Vec<DeliveryStatus> {
        let all = self.deliveries.borrow();
        all.values().map(|one| one.tally.status()).collect()
    }
}

fn closed() -> OpenError {
    OpenError::from(gossipsub::Closed)
}
