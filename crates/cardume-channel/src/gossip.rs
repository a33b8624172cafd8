//! A channel's topic: whoever follows says now and again what it knows, and soon when somebody knows less.
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cardume_gossipsub::{Delivery, PublishError, SubscribeError, Subscription, Validator, Verdict};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    Id, Record, Refused,
    server::{jittered, offer},
    shelf::Shelf,
};

/// Says "tell me what you know"; records begin with another byte.
const ASK: &[u8] = &[0];
/// Mean time after which a follower says what it knows, unless it has heard it from somebody.
const AGAIN: Duration = Duration::from_secs(120);
/// Mean time before somebody who knows less is told, unless another does.
const SOON: Duration = Duration::from_millis(500);
/// Least time between two answers, so that nobody makes us talk.
const SPACING: Duration = Duration::from_secs(3);
/// Mean time after which a follower that knows nothing asks again.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Time before it is tried again where nobody listens, or the topic cannot be had.
const ALONE: Duration = Duration::from_secs(2);
const REFUSED: Duration = Duration::from_secs(60);

/// The topic of a channel.
pub fn topic(channel: Id) -> String {
    format!("cardume-channel/{channel}")
}

/// One channel on its topic, for ever; ends when there are no topics.
pub(crate) async fn run(shelf: &Arc<Shelf>, topics: &cardume_gossipsub::Handle, id: Id) {
    let Some(newest) = shelf.newest(id) else { return };
    let behind = Arc::new(Notify::new());
    let topic = topic(id);
    loop {
        let judge = validator(shelf.clone(), id, newest.clone(), behind.clone());
        match topics.subscribe_with(&topic, judge).await {
            Ok(subscription) => {
                let talk = Talk {
                    shelf,
                    topics,
                    id,
                    topic: &topic,
                    newest: newest.clone(),
                    due: Instant::now() + jittered(SOON),
                    told: None,
                };
                if !talk.run(subscription, &behind).await {
                    return;
                }
            }
            Err(SubscribeError::Closed(_)) => return,
            Err(error) => {
                tracing::warn!(channel = %id, %error, "a channel's topic cannot be had; the DHT is asked for news");
                tokio::time::sleep(jittered(REFUSED)).await;
            }
        }
    }
}

/// What is passed on: questions, and records that are true and not old.
fn validator(
    shelf: Arc<Shelf>,
    id: Id,
    newest: watch::Receiver<Option<Record>>,
    behind: Arc<Notify>,
) -> Validator {
    Arc::new(move |message| {
        let known = newest.borrow().clone();
        if *message.data == *ASK
            || known
                .as_ref()
                .is_some_and(|known| known.bytes() == &*message.data)
        {
            return Verdict::Accept;
        }
        let record = match Record::decode(&message.data) {
            Ok(record) if record.channel() == id => record,
            Ok(_) => return shelf.counts.reject(Refused::OtherChannel),
            Err(error) => return shelf.counts.reject(error.into()),
        };
        if known.is_some_and(|known| record.compare(&known).is_lt()) {
            shelf.counts.refused(Refused::Older);
            behind.notify_one();
            return Verdict::Ignore;
        }
        Verdict::Accept
    })
}

/// One node's part in the talk on a topic.
struct Talk<'a> {
    shelf: &'a Arc<Shelf>,
    topics: &'a cardume_gossipsub::Handle,
    id: Id,
    topic: &'a str,
    newest: watch::Receiver<Option<Record>>,
    /// When it says something.
    due: Instant,
    /// When it has said something last.
    told: Option<Instant>,
}

impl Talk<'_> {
    /// Listens and talks; `false` when there are no topics any more.
    async fn run(mut self, mut subscription: Subscription, behind: &Notify) -> bool {
        let is_own = self.shelf.is_own(self.id);
        self.newest.mark_unchanged();
        loop {
            tokio::select! {
                delivery = subscription.next() => match delivery {
                    Some(Delivery::Message(message)) => self.hear(&message.data).await,
                    Some(Delivery::Lagged(_)) => self.soon(),
                    None => return false,
                },
                () = behind.notified() => self.soon(),
                changed = self.newest.changed() => match changed {
                    Ok(()) if is_own => self.due = Instant::now(),
                    Ok(()) => self.soon(),
                    Err(_) => return false,
                },
                () = tokio::time::sleep_until(self.due) => if !self.say().await {
                    return false;
                },
            }
        }
    }

    /// Takes what somebody has said.
    async fn hear(&mut self, data: &Bytes) {
        if **data == *ASK {
            if self.newest.borrow().is_some() {
                self.soon();
            }
            return;
        }
        if offer(self.shelf, self.id, data.to_vec()).await.is_err() {
            return;
        }
        let newest = self.newest.borrow_and_update().clone();
        if newest.is_some_and(|newest| newest.bytes() == &**data) {
            // Whoever listens has heard it too.
            self.due = Instant::now() + jittered(AGAIN);
        } else {
            self.soon();
        }
    }

    /// Says something soon.
    fn soon(&mut self) {
        let earliest = self.told.map(|told| told + SPACING);
        let at = Instant::now() + jittered(SOON);
        self.due = self.due.min(earliest.map_or(at, |earliest| at.max(earliest)));
    }

    /// Says what it knows, or asks; `false` when there are no topics any more.
    async fn say(&mut self) -> bool {
        let Ok(peers) = self.topics.peers(self.topic).await else {
            return false;
        };
        if peers.is_empty() {
            self.due = Instant::now() + jittered(ALONE);
            return true;
        }
        let newest = self.newest.borrow().clone();
        let data = newest.as_ref().map_or(ASK, Record::bytes);
        let wait = match self
            .topics
            .publish(self.topic, Bytes::copy_from_slice(data))
            .await
        {
            Ok(_) if newest.is_some() => AGAIN,
            Ok(_) => ASK_AGAIN,
            Err(PublishError::Closed(_)) => return false,
            Err(error) => {
                tracing::debug!(channel = %self.id, %error, "nothing could be said on a channel's topic yet");
                ALONE
            }
        };
        self.told = Some(Instant::now());
        self.due = Instant::now() + jittered(wait);
        true
    }
}
