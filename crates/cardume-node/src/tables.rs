//! Tables of the configuration whose entries come and go while the node runs.
use std::collections::{BTreeMap, BTreeSet};

use cardume_access::Roll;
use cardume_channel::Follow;
use tokio::sync::watch;

use crate::{Config, StartError, places::Want, topics, wanted::wants};

/// Tells those who do what tables ask for.
pub(crate) struct Tables {
    pub(crate) fetches: watch::Sender<BTreeMap<String, Want>>,
    pub(crate) follows: watch::Sender<BTreeMap<String, Follow>>,
    pub(crate) published: watch::Sender<BTreeSet<String>>,
    shares: cardume_share::Handle,
    channels: cardume_channel::Handle,
    gossipsub: cardume_gossipsub::Handle,
    topics: cardume_topic::Handle,
    roll: Roll,
}

impl Tables {
    /// Begins with what `config` says.
    ///
    /// # Errors
    /// `Config` for a link that is none.
    pub(crate) fn new(
        config: &Config,
        shares: cardume_share::Handle,
        channels: cardume_channel::Handle,
        gossipsub: cardume_gossipsub::Handle,
        topics: cardume_topic::Handle,
        roll: Roll,
    ) -> Result<Self, StartError> {
        Ok(Self {
            fetches: watch::Sender::new(wants(&config.fetch)?),
            follows: watch::Sender::new(config.follows()),
            published: watch::Sender::new(published(config)),
            shares,
            channels,
            gossipsub,
            topics,
            roll,
        })
    }

    /// Has the tables of `config` count from now on.
    ///
    /// # Errors
    /// What the disk says about a secret, or a key that is to be made. What was set by then is to be set back.
    pub(crate) async fn set(&self, config: &Config) -> Result<(), StartError> {
        let bad = |key, reason| StartError::Config { key, reason };
        self.topics
            .configure(config.topic.clone(), config.gossipsub.max_message.get() as usize)
            .await
            .map_err(|error| bad("topic", error.to_string()))?;
        self.gossipsub
            .configure(&config.gossipsub, topics::rules(config, &self.roll));
        let follows = config.follows();
        // First: a channel is there before anybody follows it.
        self.channels
            .configure(config.publish.clone(), follows.clone())
            .await
            .map_err(|error| bad("publish", error.to_string()))?;
        self.shares.set(config.shares());
        self.published.send_replace(published(config));
        self.follows.send_replace(follows);
        // Links that are none were refused before.
        if let Ok(wants) = wants(&config.fetch) {
            self.fetches.send_replace(wants);
        }
        Ok(())
    }
}

fn published(config: &Config) -> BTreeSet<String> {
    config.publish.keys().cloned().collect()
}
