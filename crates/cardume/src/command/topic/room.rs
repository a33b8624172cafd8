//! A topic as a room for people.
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use anyhow::Context;
use cardume_api::{Client, TopicEvent};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{lost_words, words};
use crate::out::Out;

/// Time between two looks at who is there.
const LOOK: Duration = Duration::from_secs(2);

/// A room: who is there, what they say, and what is typed here.
pub(super) async fn chat(client: &Client, topic: &str, history: usize, out: &Out) -> anyhow::Result<()> {
    let own = client.status().await?.peer_id;
    let mut events = client.topic(topic, history).await?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut is_typing = true;
    let mut room = Room::default();
    // What was typed here needs no showing; what this node has said before does.
    let mut typed = HashSet::new();
    // Before anything is shown: what was said before is said by somebody with a name.
    room.look(client, topic, out).await?;
    let mut clock = interval_at(Instant::now() + LOOK, LOOK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.next() => match event {
                None => return Ok(()),
                Some(event) => match event?.event {
                    TopicEvent::Message(message) if typed.remove(&message.id) => {}
                    TopicEvent::Message(message) => {
                        // Who has just come may speak before the next look.
                        if !room.present.contains_key(&message.from) {
                            room.look(client, topic, out).await?;
                        }
                        let name = match message.from == own {
                            true => "you".to_owned(),
                            false => room.name(&message.from),
                        };
                        out.either(&message, || format!("{name}: {}", words(&message)))?;
                    }
                    TopicEvent::Lost { lost } => out.warn(lost_words(lost)),
                    _ => {}
                },
            },
            line = lines.next_line(), if is_typing => match line.context("cannot read stdin")? {
                None => is_typing = false,
                Some(line) if line.trim().is_empty() => {}
                Some(line) => match client.publish(topic, line.into()).await {
                    Ok(published) => drop(typed.insert(published.id)),
                    Err(error) => out.warn(format!("not said: {error}")),
                },
            },
            _ = clock.tick() => room.look(client, topic, out).await?,
        }
    }
}

/// Who is in a room.
#[derive(Default)]
struct Room {
    /// Peers by id, with the names that configuration gives them.
    present: BTreeMap<String, Option<String>>,
    is_known: bool,
}

impl Room {
    async fn look(&mut self, client: &Client, topic: &str, out: &Out) -> anyhow::Result<()> {
        let peers = client.topic_peers(topic).await?;
        let now: BTreeMap<_, _> = peers.into_iter().map(|peer| (peer.peer_id, peer.name)).collect();
        let before = std::mem::replace(&mut self.present, now);
        if !std::mem::replace(&mut self.is_known, true) {
            let names: Vec<_> = self.present.keys().map(|peer| self.name(peer)).collect();
            out.say(match names.len() {
                0 => "nobody else is here yet".into(),
                _ => format!("here: {}", names.join(", ")),
            });
            return Ok(());
        }
        for peer in self.present.keys().filter(|peer| !before.contains_key(*peer)) {
            out.say(format!("{} is here", self.name(peer)));
        }
        for (peer, name) in before
            .iter()
            .filter(|(peer, _)| !self.present.contains_key(*peer))
        {
            out.say(format!("{} has gone", shown(peer, name.as_deref())));
        }
        Ok(())
    }

    fn name(&self, peer: &str) -> String {
        shown(peer, self.present.get(peer).and_then(Option::as_deref))
    }
}

/// The name of a peer, or the end of its id, which tells peers apart as well as all of it.
fn shown(peer: &str, name: Option<&str>) -> String {
    let end = peer.get(peer.len().saturating_sub(8)..).unwrap_or(peer);
    name.map_or_else(|| format!("…{end}"), str::to_owned)
}
