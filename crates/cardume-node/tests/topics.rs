//! Topics of whole nodes, over real sockets on loopback.
#![expect(clippy::unwrap_used, reason = "a test says enough when it panics")]

use std::{path::Path, time::Duration};

use cardume_gossipsub::{Delivery, PublishError};
use cardume_node::{Config, Node};
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, SwarmBuilder,
    gossipsub::{self, IdentTopic, MessageAuthenticity},
    noise,
    swarm::SwarmEvent,
    yamux,
};
use tempfile::TempDir;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

fn quiet(home: &Path) -> Config {
    let mut config = Config::default();
    config.node.data_dir = Some(home.join("data"));
    config.control.listen = Some(format!("unix:{}", home.join("s").display()).into());
    config.listen.addresses = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.mdns.enabled = false;
    config
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes seconds")
}

async fn address(node: &Node) -> Multiaddr {
    soon(async {
        loop {
            if let Some(address) = node.addresses().await.listen.into_iter().next() {
                break address.with_p2p(node.peer_id()).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_libp2p_program_and_a_node_hear_each_other_over_tcp() {
    let home = TempDir::new().unwrap();
    let node = soon(Node::start(quiet(home.path()))).await.unwrap();
    let mut heard = node.gossipsub().subscribe("news").await.unwrap();
    let mut stock = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(Default::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let signed = MessageAuthenticity::Signed(key.clone());
            gossipsub::Behaviour::<gossipsub::IdentityTransform>::new(signed, gossipsub::Config::default())
                .unwrap()
        })
        .unwrap()
        .build();
    let topic = IdentTopic::new("news");
    stock.behaviour_mut().subscribe(&topic).unwrap();
    stock.dial(address(&node).await).unwrap();
    let id = *stock.local_peer_id();
    let (said, mut says) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let mut has_spoken = false;
        loop {
            match stock.select_next_some().await {
                SwarmEvent::Behaviour(gossipsub::Event::Subscribed { .. }) if !has_spoken => {
                    has_spoken = true;
                    stock.behaviour_mut().publish(topic.clone(), "from afar").unwrap();
                }
                SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. }) => {
                    said.send(message.data).await.unwrap();
                }
                _ => {}
            }
        }
    });
    let Some(Delivery::Message(message)) = soon(heard.next()).await else {
        panic!()
    };
    assert_eq!((message.from, &message.data[..]), (id, &b"from afar"[..]));
    node.gossipsub()
        .publish("news", "from here".into())
        .await
        .unwrap();
    assert_eq!(soon(says.recv()).await.unwrap(), b"from here");
    node.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_tell_each_other_and_one_without_topics_is_told_so() {
    let homes = [(); 3].map(|()| TempDir::new().unwrap());
    let first = soon(Node::start(quiet(homes[0].path()))).await.unwrap();
    let address = address(&first).await;
    let mut config = quiet(homes[1].path());
    config.connect.bootstrap = vec![address];
    let second = soon(Node::start(config)).await.unwrap();
    let mut heard = first.gossipsub().subscribe("news").await.unwrap();
    let published = soon(async {
        loop {
            match second.gossipsub().publish("news", "all is well".into()).await {
                Err(PublishError::NoSubscribers) => tokio::time::sleep(Duration::from_millis(10)).await,
                published => break published.unwrap(),
            }
        }
    })
    .await;
    let Some(Delivery::Message(message)) = soon(heard.next()).await else {
        panic!()
    };
    assert_eq!((message.from, message.id), (second.peer_id(), published));
    assert_eq!(&message.data[..], b"all is well");

    let mut config = quiet(homes[2].path());
    config.gossipsub.enabled = false;
    let third = soon(Node::start(config)).await.unwrap();
    let refused = third.gossipsub().publish("news", "hm".into()).await;
    assert!(matches!(refused, Err(PublishError::Closed(_))));
    for node in [first, second, third] {
        node.shutdown().await.unwrap();
    }
}
