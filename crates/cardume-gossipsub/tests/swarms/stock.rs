//! libp2p's gossipsub as it comes, with us.
use futures::StreamExt as _;
use libp2p_gossipsub::{self as gossipsub, IdentTopic, MessageAuthenticity};
use libp2p_swarm::{Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt as _;

use crate::peers::{meets, next_message, peer, run, soon, subscribed};

/// A peer that is not ours.
pub(crate) fn stock(config: gossipsub::Config) -> Swarm<gossipsub::Behaviour> {
    Swarm::new_ephemeral_tokio(|key| {
        gossipsub::Behaviour::new(MessageAuthenticity::Signed(key), config).unwrap()
    })
}

#[tokio::test]
async fn a_stock_peer_joins_a_topic_by_its_name_and_exchanges_plain_messages_both_ways() {
    let node = peer().await;
    let mut other = stock(gossipsub::Config::default());
    let topic = IdentTopic::new("news");
    other.behaviour_mut().subscribe(&topic).unwrap();
    other.dial(node.address.clone()).unwrap();
    let node = run(node);
    let mut heard = node.subscribe("news").await.unwrap();
    let (said, mut says) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut is_known = false;
        loop {
            match other.select_next_some().await {
                SwarmEvent::Behaviour(gossipsub::Event::Subscribed { .. }) if !is_known => {
                    is_known = true;
                    other.behaviour_mut().publish(topic.clone(), "from afar").unwrap();
                }
                SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. }) => {
                    said.send(message).await.unwrap();
                }
                _ => {}
            }
        }
    });
    let message = next_message(&mut heard).await;
    assert_eq!(&message.data[..], b"from afar");
    subscribed(&node, "news", 1).await;
    meets(&node, "news", 1).await;
    node.publish("news", "from here".into()).await.unwrap();
    let message = soon(says.recv()).await.unwrap();
    assert_eq!(message.data, b"from here");
    assert_eq!(message.topic.as_str(), "news");
}
