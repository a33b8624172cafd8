//! What turns the topics that somebody here reads.
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use cardume_content::Link;
use cardume_gossipsub::{self as gossipsub, Delivery, Message, Subscription};
use cardume_roster::Work;
use cardume_store::Store;
use futures::{
    FutureExt, StreamExt,
    future::{self, BoxFuture, ready},
    stream::FuturesUnordered,
};
use tokio::{
    sync::{Mutex, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Config, Fetch, Handle, Received, Start,
    content::{self, stands_for},
    deliver::Deliverer,
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

/// What configuration says of topics.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    /// Through which content of messages is taken in, of topics whose messages not everybody may have.
    pub(crate) guarding: BTreeMap<String, Store>,
}

impl Settings {
    fn new(topics: &BTreeMap<String, Config>, max_message: usize, store: &Store) -> Self {
        let guarding = topics.iter().filter_map(|(topic, config)| {
            let allow = config.subscribers.clone()?;
            Some((topic.clone(), store.guarding_with(allow)))
        });
        Self {
            guarding: guarding.collect(),
            limits: Limits {
                max_message,
                topics: topics.clone(),
            },
        }
    }
}

/// What is delivered, by topic and kind.
pub(crate) type Deliveries = BTreeMap<(String, &'static str), Arc<Deliverer>>;

/// Topics that are kept for peers.
pub(crate) type KeptTopics = BTreeMap<String, ()>;

fn kept(topics: &BTreeMap<String, Config>) -> KeptTopics {
    let kept = topics.iter().filter(|(_, topic)| topic.history > 0);
    kept.map(|(name, _)| (name.clone(), ())).collect()
}

/// What `topics` have delivered. What is done already as they say is kept. Reads the files with secrets: it blocks.
fn deliveries(
    topics: &BTreeMap<String, Config>,
    agent: &str,
    before: &Deliveries,
) -> Result<Deliveries, BuildError> {
    let mut all = Deliveries::new();
    for (topic, config) in topics {
        for new in Deliverer::of(topic, &config.deliver, agent)? {
            let key = (topic.clone(), new.kind());
            let old = before.get(&key).filter(|old| ***old == new).cloned();
            all.insert(key, old.unwrap_or_else(|| Arc::new(new)));
        }
    }
    Ok(all)
}

/// Keeps topics turning, and delivers what configuration says.
pub struct Server {
    handle: Handle,
    opened: mpsc::Receiver<Opened>,
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
    let deliveries = deliveries(topics, agent, &Deliveries::new())?;
    let settings = Settings::new(topics, max_message, &store);
    let (opening, opened) = mpsc::channel(OPENING);
    let handle = Handle {
        gossipsub,
        store,
        fetch,
        agent: agent.into(),
        settings: Arc::new(RwLock::new(Arc::new(settings))),
        open: Arc::new(Mutex::new(HashMap::new())),
        opened: opening,
        deliveries: watch::Sender::new(deliveries),
        kept: watch::Sender::new(kept(topics)),
    };
    let server = Server {
        handle: handle.clone(),
        opened,
    };
    Ok((handle, server))
}

impl Handle {
    /// Has `topics` hold from now on: what is delivered, what is kept for peers, and how large messages are, where a topic
    /// says nothing `max_message`. A delivery that is as before goes on undisturbed, unless the secret in its file is
    /// another.
    ///
    /// # Errors
    /// When a file with a secret cannot be read; nothing has changed then.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have done it.
    pub async fn configure(
        &self,
        topics: BTreeMap<String, Config>,
        max_message: usize,
    ) -> Result<(), BuildError> {
        let (agent, before) = (self.agent.clone(), self.deliveries.borrow().clone());
        let topics = Arc::new(topics);
        let reading = {
            let topics = topics.clone();
            tokio::task::spawn_blocking(move || deliveries(&topics, &agent, &before))
        };
        let deliveries = reading.await.expect("reading secrets does not panic")?;
        let settings = Settings::new(&topics, max_message, &self.store);
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.deliveries.send_replace(deliveries);
        self.kept.send_replace(kept(&topics));
        Ok(())
    }
}

impl Server {
    /// Runs until `stop`: all topics and deliveries run inside this future. What a spool directory has got under its
    /// name by then is durable; commands that run are killed.
    pub async fn run(self, stop: CancellationToken) {
        let Self { handle, mut opened } = self;
        let delivering = cardume_roster::keep(
            handle.deliveries.subscribe(),
            Delivering(handle.clone()),
            stop.clone(),
        );
        let staying = cardume_roster::keep(handle.kept.subscribe(), Staying(handle.clone()), stop);
        let roster = future::join(delivering, staying);
        tokio::pin!(roster);
        let mut turning = FuturesUnordered::new();
        loop {
            tokio::select! {
                // When it is stopped.
                _ = &mut roster => return,
                Some(new) = opened.recv() => {
                    let topic = Topic {
                        handle: handle.clone(),
                        name: new.topic,
                        ring: new.ring,
                    };
                    turning.push(topic.turn(new.subscription));
                }
                Some(()) = turning.next() => {}
            }
        }
    }
}

/// Hands topics' messages to what configuration names.
struct Delivering(Handle);

impl Work<(String, &'static str), Arc<Deliverer>> for Delivering {
    fn run(
        &self,
        _: (String, &'static str),
        deliverer: Arc<Deliverer>,
        stop: CancellationToken,
    ) -> BoxFuture<'static, ()> {
        let delivering = deliver(self.0.clone(), deliverer);
        stop.run_until_cancelled_owned(delivering).map(drop).boxed()
    }

    fn gone(&self, _: (String, &'static str)) -> BoxFuture<'static, ()> {
        ready(()).boxed()
    }
}

/// Hands a topic's messages to what configuration names, for ever.
async fn deliver(handle: Handle, deliverer: Arc<Deliverer>) {
    loop {
        match handle.read(&deliverer.topic, Start::Now).await {
            Ok(reader) => return deliverer.run(reader).await,
            Err(error) => {
                tracing::warn!(topic = deliverer.topic, %error, "nothing is delivered");
                deliverer.tally.fail_with(error.to_string());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Has this node subscribed to topics that are kept for peers.
struct Staying(Handle);

impl Work<String, ()> for Staying {
    fn run(&self, topic: String, (): (), stop: CancellationToken) -> BoxFuture<'static, ()> {
        let staying = stay(self.0.clone(), topic);
        stop.run_until_cancelled_owned(staying).map(drop).boxed()
    }

    fn gone(&self, _: String) -> BoxFuture<'static, ()> {
        ready(()).boxed()
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
    handle: Handle,
    name: String,
    ring: Arc<Ring>,
}

impl Topic {
    /// Takes what comes, until nobody has read it for a while.
    async fn turn(self, mut subscription: Subscription) {
        let mut fetching = FuturesUnordered::new();
        let mut clock = interval(LOOK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut read = Instant::now();
        loop {
            tokio::select! {
                delivery = subscription.next() => match delivery {
                    Some(Delivery::Message(message)) => match stands_for(&message.data) {
                        None => self.ring.push(received(&message, message.data.clone(), None)),
                        Some(link) if fetching.len() < MAX_FETCHING => fetching.push(self.get(message, link)),
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
                        let mut open = self.handle.open.lock().await;
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
        self.handle.open.lock().await.remove(&self.name);
    }

    /// The message with the content that it stands for.
    fn get(&self, message: Message, link: Link) -> BoxFuture<'static, Option<Received>> {
        let (_, max) = self.handle.settings().limits.of(&self.name);
        let store = self.handle.store(&self.name);
        content::get(self.handle.fetch.clone(), store, max, message, link)
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
