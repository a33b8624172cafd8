//! Peers that mean harm, and what becomes of the others.
use std::collections::BTreeMap;

use cardume_gossipsub::{Config, Delivery, Handle, Message, Subscription};
use futures::StreamExt as _;
use libp2p_core::Multiaddr;
use libp2p_gossipsub::{self as gossipsub, IdentTopic, MessageAuthenticity, ValidationMode};
use libp2p_identity::PeerId;
use libp2p_swarm::Swarm;
use libp2p_swarm_test::SwarmExt as _;

use crate::{
    peers::{GLANCE, meets, peer_with, run, soon, subscribed},
    stock::stock,
};

/// Three honest nodes in a row, of which the middle one is where the hostile peer connects.
struct Row {
    author: Handle,
    id: PeerId,
    middle: Handle,
    address: Multiaddr,
    heard: Subscription,
    _others: [Subscription; 2],
}

async fn row() -> Row {
    let config = || Config {
        max_rate: 2,
        ..Config::default()
    };
    let [mut author, mut middle, end] = [
        peer_with(config(), BTreeMap::new()).await,
        peer_with(config(), BTreeMap::new()).await,
        peer_with(config(), BTreeMap::new()).await,
    ];
    let address = middle.address.clone();
    let id = *author.swarm.local_peer_id();
    author.swarm.dial(address.clone()).unwrap();
    middle.swarm.dial(end.address.clone()).unwrap();
    let [author, middle, end] = [author, middle, end].map(run);
    let heard = end.subscribe("t").await.unwrap();
    let others = [
        author.subscribe("t").await.unwrap(),
        middle.subscribe("t").await.unwrap(),
    ];
    meets(&author, "t", 1).await;
    meets(&end, "t", 1).await;
    Row {
        author,
        id,
        middle,
        address,
        heard,
        _others: others,
    }
}

impl Row {
    /// The author says as much as it may while somebody does `harm`; the end hears all of it.
    async fn hears_everything(&mut self) {
        // As many as an author may at once.
        for number in 0..4_u32 {
            self.author.publish("t", number.to_string().into()).await.unwrap();
            loop {
                match soon(self.heard.next()).await.unwrap() {
                    Delivery::Message(Message { from, data, .. }) if from == self.id => {
                        assert_eq!(data, number.to_string());
                        break;
                    }
                    Delivery::Message(_) => {}
                    Delivery::Lagged(lost) => panic!("{lost} lost"),
                }
            }
        }
    }

    /// Waits until a peer is out of every mesh, and thought of as badly as that.
    async fn shuns(&self, peer: PeerId, score: f64) {
        soon(async {
            let is_shunned = async || {
                let peers = self.middle.peers("t").await.unwrap();
                peers
                    .iter()
                    .any(|row| row.peer == peer && row.score < score && !row.in_mesh)
            };
            while !is_shunned().await {
                tokio::time::sleep(GLANCE).await;
            }
        })
        .await;
    }
}

/// Lets a hostile peer do something over and over, whenever it has nothing else to do.
fn keeps_on(
    mut swarm: Swarm<gossipsub::Behaviour>,
    mut harm: impl FnMut(&mut gossipsub::Behaviour) + Send + 'static,
) {
    let mut clock = tokio::time::interval(std::time::Duration::from_millis(2));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = swarm.select_next_some() => {}
                _ = clock.tick() => harm(swarm.behaviour_mut()),
            }
        }
    });
}

/// What publishes without end.
fn flood() -> impl FnMut(&mut gossipsub::Behaviour) + Send + 'static {
    let topic = IdentTopic::new("t");
    move |gossipsub| {
        for _ in 0..5 {
            // Fails until somebody is subscribed.
            let _ = gossipsub.publish(topic.clone(), "buy, buy, buy");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_publishes_without_end_is_shunned_and_the_others_are_heard() {
    let mut row = row().await;
    let mut flooder = stock(gossipsub::Config::default());
    let id = *flooder.local_peer_id();
    flooder.behaviour_mut().subscribe(&IdentTopic::new("t")).unwrap();
    flooder.dial(row.address.clone()).unwrap();
    keeps_on(flooder, flood());
    // Without optimisation it signs few messages a second; each above the rate counts.
    row.shuns(id, 0.0).await;
    row.hears_everything().await;
    let counts = row.middle.counts();
    assert!(counts.excess > 5, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_messages_are_not_signed_is_silenced() {
    let mut row = row().await;
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(ValidationMode::Permissive)
        .build()
        .unwrap();
    let author = row.id;
    let mut forger = Swarm::new_ephemeral_tokio(|_| {
        gossipsub::Behaviour::new(MessageAuthenticity::Author(author), config).unwrap()
    });
    let id = *forger.local_peer_id();
    forger.behaviour_mut().subscribe(&IdentTopic::new("t")).unwrap();
    forger.dial(row.address.clone()).unwrap();
    keeps_on(forger, flood());
    // Nothing is heard of it any more.
    row.shuns(id, -80.0).await;
    row.hears_everything().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_topics_of_a_stranger_few_are_known_and_the_others_are_heard() {
    let mut row = row().await;
    let mut collector = stock(gossipsub::Config::default());
    for number in 0..300 {
        collector
            .behaviour_mut()
            .subscribe(&IdentTopic::new(format!("of no use {number}")))
            .unwrap();
    }
    collector.dial(row.address.clone()).unwrap();
    let mut turn = 0;
    keeps_on(collector, move |gossipsub| {
        turn += 1;
        let topic = IdentTopic::new(format!("of no use {}", turn % 1000));
        if !gossipsub.unsubscribe(&topic) {
            gossipsub.subscribe(&topic).unwrap();
        }
        let _ = gossipsub.publish(topic, vec![0; 1000]);
    });
    subscribed(&row.middle, "t", 2).await;
    row.hears_everything().await;
    let known = row.middle.topics().await.unwrap().len();
    assert!(known <= 33, "{known} topics");
}
