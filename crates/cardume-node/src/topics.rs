//! Topics, from configuration to parts that know each other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use cardume_access::{Roll, Rules};
use cardume_content::Cid;
use cardume_gossipsub::{Allow, Topic};
use cardume_store::Store;
use futures::FutureExt as _;
use libp2p::{Multiaddr, PeerId, identity::Keypair};

use crate::{Config, StartError};

/// The behaviour, the way in, and what judges messages; nothing but a closed way in where topics are switched off.
pub(crate) type Gossipsub = (
    Option<cardume_gossipsub::Behaviour>,
    cardume_gossipsub::Handle,
    Option<cardume_gossipsub::Server>,
);

/// Builds the protocol, unless it is switched off.
pub(crate) fn gossipsub(config: &Config, key: &Keypair, roll: &Roll) -> Result<Gossipsub, StartError> {
    if !config.gossipsub.enabled {
        return Ok((None, cardume_gossipsub::Handle::closed(), None));
    }
    let built = config
        .gossipsub
        .build(key, &config.network.id, rules(config, roll));
    let (behaviour, handle, server) = built.map_err(|error| StartError::Config {
        key: "gossipsub",
        reason: error.to_string(),
    })?;
    Ok((Some(behaviour), handle, Some(server)))
}

/// What holds for each topic of a configuration that was checked.
pub(crate) fn rules(config: &Config, roll: &Roll) -> BTreeMap<String, Topic> {
    let rules = |(name, topic): (&String, &cardume_topic::Config)| {
        let rules = Topic {
            publishers: topic.publishers.as_deref().map(|words| allow(roll, words)),
            subscribers: topic.subscribers.as_deref().map(|words| allow(roll, words)),
            max_message: topic.max_message,
            max_rate: topic.max_rate,
            history: topic.history,
        };
        (name.clone(), rules)
    };
    config.topic.iter().map(rules).collect()
}

/// Whom a list of words allows.
fn allow(roll: &Roll, words: &[String]) -> Allow {
    let (rules, _) = roll.names().rules_left(words);
    let roll = roll.clone();
    Allow::new(move |peer| roll.allows(&rules, peer, SystemTime::now()))
}

/// Which of `peers` the messages of each of `topics` are for, by the names that `roll` has now.
pub(crate) fn subscribers(
    config: &Config,
    roll: &Roll,
    topics: &BTreeSet<String>,
    peers: &[PeerId],
) -> BTreeSet<(String, PeerId)> {
    let lists = topics.iter().map(|topic| {
        let words = config
            .topic
            .get(topic)
            .and_then(|topic| topic.subscribers.as_deref());
        (topic, words.map(|words| roll.names().rules_left(words).0))
    });
    let now = SystemTime::now();
    let of_list = |(topic, list): (&String, Option<Rules>)| {
        let allowed = peers
            .iter()
            .copied()
            .filter(|peer| list.as_ref().is_none_or(|rules| roll.allows(rules, peer, now)));
        allowed.map(|peer| (topic.clone(), peer)).collect::<Vec<_>>()
    };
    lists.flat_map(of_list).collect()
}

/// Builds what reads topics and delivers their messages; content that stands for messages comes from `exchange`.
pub(crate) fn deliveries(
    config: &Config,
    gossipsub: cardume_gossipsub::Handle,
    store: &Store,
    exchange: cardume_exchange::Handle,
) -> Result<(cardume_topic::Handle, cardume_topic::Server), StartError> {
    let fetch: cardume_topic::Fetch = Arc::new(move |cid, peers, max, store| {
        let exchange = exchange.clone();
        async move { content(&exchange, store, cid, peers, max).await }.boxed()
    });
    let agent = format!("cardume/{}", env!("CARGO_PKG_VERSION"));
    let max_message = config.gossipsub.max_message.get() as usize;
    let built = cardume_topic::build(
        &config.topic,
        max_message,
        &agent,
        gossipsub,
        store.clone(),
        fetch,
    );
    built.map_err(|error| StartError::Config {
        key: "topic",
        reason: error.to_string(),
    })
}

/// Reads content of at most so many bytes from whoever has it.
async fn content(
    exchange: &cardume_exchange::Handle,
    store: Store,
    cid: Cid,
    peers: Vec<Multiaddr>,
    max: u64,
) -> Result<Bytes, String> {
    let reading = exchange.read_into(store, cid, peers).await;
    let mut reading = reading.map_err(|error| error.to_string())?;
    if reading.size > max {
        return Err(format!("it has {} bytes, and max_content is {max}", reading.size));
    }
    let mut bytes = BytesMut::with_capacity(reading.size as usize);
    while let Some(chunk) = reading.chunks.recv().await {
        bytes.extend_from_slice(&chunk.map_err(|error| error.to_string())?);
    }
    if bytes.len() as u64 != reading.size {
        return Err("its end did not come".into());
    }
    Ok(bytes.freeze())
}
