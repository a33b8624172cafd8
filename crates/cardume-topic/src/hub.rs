//! What turns the topics that somebody here reads.
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use cardume_gossipsub::{self as gossipsub, Delivery, Message, Subscription};
use cardume_store::Store;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Fetch, Handle, Received, Start,
    content::{self, stands_for},
    deliver::{self, Deliverer},
    handle::Open,
    ring::Ring,
};

/// Topics that are being opened.
const OPENING: usize = 16;
/// How long a topic stays subscribed to after its last reader: readers that lose their connection come back.
const LINGER: Duration = Duration::from_secs(60);
/// How often it is looked whether somebody reads.
const LOOK: Duration = Duration::from_secs(5);
/// Messages of one topic whose content is being fetched; more are lost.
pub(crate) const MAX_FETCHING: usize = 8;
/// Pause before a topic that could not be opened for a delivery is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// What holds for messages of each topic.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// Bytes of a message, where the topic says nothing.
    max_message: usize,
    topics: BTreeMap<String, Config>,
}

impl Limits {
    /// Bytes of a message, and of one that travels as content.
    pub(crate) fn of(&self, topic: &str) -> (usize, u64) {
        let own = self.topics.get(topic);
        let max_message = own.and_then(|own| own.max_message);
        let max_message = max_message.map_or(self.max_message, |size| size.get() as usize);
        let max_content = own.map_or_else(|| Config::default().max_content, |own| own.max_content);
        (max_message, max_content.get())
    }

    /// Messages kept for peers, and asked of them.
    pub(crate) fn history(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, |own| own.history)
    }

    /// Topics that are kept for peers.
    fn kept(&self) -> Vec<String> {
        let kept = self.topics.iter().filter(|(_, topic)| topic.history > 0);
        kept.map(|(name, _)| name.clone()).collect()
    }
}

/// A topic that somebody has begun to read.
pub(crate) struct Opened {
    pub(crate) topic: String,
    pub(crate) subscription: Subscription,
    pub(crate) ring: Arc<Ring>,
}

/// Why deliveries cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("topic.{topic}.deliver: {}: {reason}", path.display())]
pub struct BuildError {
    /// The topic.
    pub topic: String,
    /// The file that is at fault.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Keeps topics turning, and delivers what configuration says.
pub struct Server {
    handle: Handle,
    fetch: Fetch,
    opened: mpsc::Receiver<Opened>,
    deliverers: Vec<Deliverer>,
}

/// Builds what reads topics, and what delivers those of `topics`; `max_message` is what `[gossipsub]` says, and
/// `agent` what webhooks are told. Reads the files with secrets: it blocks.
///
/// # Errors
/// When one of those files cannot be read.
pub fn build(
    topics: &BTreeMap<String, Config>,
    max_message: usize,
    agent: &str,
    gossipsub: gossipsub::Handle,
    store: Store,
    fetch: Fetch,
) -> Result<(Handle, Server), BuildError> {
    let mut deliverers = Vec::new();
    for (topic, config) in topics {
        deliverers.extend(Deliverer::of(topic, &config.deliver, agent)?);
    }
    let guarding = topics.iter().filter_map(|(topic, config)| {
        let allow = config.subscribers.clone()?;
        Some((topic.clone(), store.guarding_with(allow)))
    });
    let guarding = Arc::new(guarding.collect());
    let (opening, opened) = mpsc::channel(OPENING);
    let handle = Handle {
        gossipsub,
        store,
        guarding,
        fetch: fetch.clone(),
        limits: Arc::new(Limits {
            max_message,
            topics: topics.clone(),
        }),
        open: Arc::new(Mutex::new(HashMap::new())),
        opened: opening,
        tallies: deliverers.iter().map(|one| one.tally.clone()).collect(),
    };
    let server = Server {
        handle: handle.clone(),
        fetch,
        opened,
        deliverers,
    };
    Ok((handle, server))
}

impl Server {
    /// Runs until `stop`: all topics and deliveries run inside this future. What a spool directory has got under its
    /// name by then is durable; commands that run are killed.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            handle,
            fetch,
            mut opened,
            deliverers,
        } = self;
        let mut turning = FuturesUnordered::<BoxFuture<'static, ()>>::new();
        for deliverer in deliverers {
            turning.push(deliver(handle.clone(), deliverer).boxed());
        }
        for topic in handle.limits.kept() {
            turning.push(stay(handle.clone(), topic).boxed());
        }
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(new) = opened.recv() => {
                    let (_, max) = handle.limits.of(&new.topic);
                    let topic = Topic {
                        store: handle.store(&new.topic),
                        name: new.topic,
                        ring: new.ring,
                        fetch: fetch.clone(),
                        max,
                    };
                    turning.push(topic.turn(new.subscription, handle.open.clone()).boxed());
                }
                Some(()) = turning.next() => {}
            }
        }
    }
}

/// Hands a topic's messages to what configuration names, for ever.
async fn deliver(handle: Handle, deliverer: Deliverer) {
    loop {
        match handle.read(&deliverer.topic, Start::Now).await {
            Ok(reader) => return deliver::run(deliverer, reader).await,
            Err(error) => {
                tracing::warn!(topic = deliverer.topic, %error, "nothing is delivered");
                deliverer.tally.fail_with(error.to_string());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Stays subscribed to a topic that is kept for peers, for ever.
async fn stay(handle: Handle, topic: String) {
    loop {
        match handle.read(&topic, Start::Now).await {
            // As long as there is a reader, there is a subscription.
            Ok(_reader) => std::future::pending().await,
            Err(error) => {
                tracing::warn!(topic, %error, "nothing is kept for peers");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One topic that somebody reads.
struct Topic {
    name: String,
    ring: Arc<Ring>,
    fetch: Fetch,
    store: Store,
    /// Bytes of content.
    max: u64,
}

impl Topic {
    /// Takes what comes, until nobody has read it for a while.
    async fn turn(self, mut subscription: Subscription, open: Open) {
        let mut fetching = FuturesUnordered::new();
        let mut clock = interval(LOOK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read = Instant::now();
        loop {
            tokio::select! {
                delivery = subscription.next() => match delivery {
                    Some(Delivery::Message(message)) => match stands_for(&message.data) {
                        None => self.ring.push(received(&message, message.data.clone(), None)),
                        Some(link) if fetching.len() < MAX_FETCHING => fetching.push(content::get(self.fetch.clone(), self.store.clone(), self.max, message, link)),
                        Some(_) => self.ring.lose(1),
                    },
                    Some(Delivery::Lagged(count)) => self.ring.lose(count),
                    None => break,
                },
                Some(got) = fetching.next() => match got {
                    Some(message) => self.ring.push(message),
                    None => self.ring.lose(1),
                },
                _ = clock.tick() => {
                    if self.ring.readers() > 0 {
                        read = Instant::now();
                    } else if read.elapsed() >= LINGER {
                        let mut open = open.lock().await;
                        // Somebody may have come while we waited.
                        if self.ring.readers() == 0 {
                            open.remove(&self.name);
                            return;
                        }
                    }
                }
            }
        }
        self.ring.close();
        open.lock().await.remove(&self.name);
    }
}

pub(crate) fn received(message: &Message, data: Bytes, cid: Option<cardume_content::Cid>) -> Received {
    Received {
        topic: message.topic.clone(),
        from: message.from,
        id: message.id.clone(),
        data,
        cid,
    }
}
