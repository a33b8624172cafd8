//! Topics, from configuration to parts that know each other.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use bytes::{Bytes, BytesMut};
use cardume_access::Roll;
use cardume_content::Cid;
use cardume_gossipsub::{Allow, Topic};
use cardume_store::Store;
use futures::FutureExt as _;
use libp2p::{Multiaddr, identity::Keypair};

use crate::{Config, StartError};

/// The behaviour, the way in, and what judges messages; nothing but a closed way in where topics are switched off.
pub(crate) type Gossipsub = (
    Option<cardume_gossipsub::Behaviour>,
    cardume_gossipsub::Handle,
    Option<cardume_gossipsub::Server>,
);

/// Builds the protocol, unless it is switched off.
pub(crate) fn gossipsub(config: &Config, key: &Keypair, roll: &Roll) -> Result<Gossipsub, StartError> {
    let mut mistakes = config.topic.iter().flat_map(|(name, topic)| {
        let found = topic.mistakes(name).into_iter();
        found.map(move |mistake| format!("{name}.{}: {}", mistake.path.join("."), mistake.reason))
    });
    if let Some(reason) = mistakes.next() {
        return Err(StartError::Config { key: "topic", reason });
    }
    if !config.gossipsub.enabled {
        return Ok((None, cardume_gossipsub::Handle::closed(), None));
    }
    let mut topics = BTreeMap::new();
    for (name, topic) in &config.topic {
        let rules = Topic {
            publishers: allow(roll, topic.publishers.as_deref())?,
            subscribers: allow(roll, topic.subscribers.as_deref())?,
            max_message: topic.max_message,
            max_rate: topic.max_rate,
            history: topic.history,
        };
        topics.insert(name.clone(), rules);
    }
    let built = config.gossipsub.build(key, &config.network.id, topics);
    let (behaviour, handle, server) = built.map_err(|error| StartError::Config {
        key: "gossipsub",
        reason: error.to_string(),
    })?;
    Ok((Some(behaviour), handle, Some(server)))
}

/// Whom a list of words allows; none where there is no list.
fn allow(roll: &Roll, words: Option<&[String]>) -> Result<Option<Allow>, StartError> {
    let Some(words) = words else { return Ok(None) };
    let rules = roll.names().rules(words.iter().map(String::as_str));
    let rules = rules.map_err(|error| StartError::Config {
        key: "topic",
        reason: error.to_string(),
    })?;
    let roll = roll.clone();
    Ok(Some(Allow::new(move |peer| {
        roll.allows(&rules, peer, SystemTime::now())
    })))
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
