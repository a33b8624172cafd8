//! Whole meshes in memory: real behaviours, real connections, no ports.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod history;
mod hostile;
mod peers;
mod stock;

use std::{collections::BTreeSet, sync::Arc};

use cardume_gossipsub::{Allow, Config, Delivery, PublishError, Topic, Verdict};
use peers::{meets, next_message, peer, peer_with, run, soon, subscribed};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_nodes_every_one_hears_what_any_of_them_says() {
    const NODES: usize = 50;
    const SAYING: usize = 5;
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(peer().await);
    }
    // A ring, and chords across it: nobody is far, and nobody knows more than four.
    let addresses: Vec<_> = nodes.iter().map(|node| node.address.clone()).collect();
    for (index, node) in nodes.iter_mut().enumerate() {
        for step in [1, 7] {
            node.swarm
                .dial(addresses[(index + step) % NODES].clone())
                .unwrap();
        }
    }
    let nodes: Vec<_> = nodes.into_iter().map(run).collect();
    let mut subscriptions = Vec::new();
    for node in &nodes {
        subscriptions.push(node.subscribe("all").await.unwrap());
    }
    for node in &nodes {
        meets(node, "all", 2).await;
    }
    for node in nodes.iter().take(SAYING) {
        let text = format!("from {:p}", node);
        node.publish("all", text.into()).await.unwrap();
    }
    for subscription in &mut subscriptions {
        let mut heard = BTreeSet::new();
        while heard.len() < SAYING {
            assert!(
                heard.insert(next_message(subscription).await.data),
                "a message came twice"
            );
        }
    }
}

#[tokio::test]
async fn a_node_hears_itself_and_is_told_when_nobody_else_does() {
    let node = run(peer().await);
    let alone = node.publish("t", "to nobody".into()).await;
    assert_eq!(alone, Err(PublishError::NoSubscribers));
    let mut subscription = node.subscribe("t").await.unwrap();
    let id = node.publish("t", "to me".into()).await.unwrap();
    let heard = next_message(&mut subscription).await;
    assert_eq!((&heard.id, &heard.data[..]), (&id, &b"to me"[..]));
    let large = node.publish("t", vec![0; 32 * 1024 + 1].into()).await;
    assert_eq!(
        large,
        Err(PublishError::TooLarge {
            size: 32 * 1024 + 1,
            max: 32 * 1024
        })
    );
    drop(subscription);
    soon(async {
        while node
            .topics()
            .await
            .unwrap()
            .iter()
            .any(|topic| topic.subscriptions > 0)
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn lists_say_who_may_publish_and_who_may_listen() {
    let [mut friend, mut stranger] = [peer().await, peer().await];
    let friend_id = *friend.swarm.local_peer_id();
    let friends = || Some(Allow::new(move |peer| *peer == friend_id));
    let club = Topic {
        publishers: friends(),
        subscribers: friends(),
        ..Topic::default()
    };
    let node = peer_with(Config::default(), [("club".into(), club)].into()).await;
    friend.swarm.dial(node.address.clone()).unwrap();
    stranger.swarm.dial(node.address.clone()).unwrap();
    let [node, friend, stranger] = [node, friend, stranger].map(run);
    let mut heard = node.subscribe("club").await.unwrap();
    let mut by_friend = friend.subscribe("club").await.unwrap();
    let mut by_stranger = stranger.subscribe("club").await.unwrap();
    subscribed(&node, "club", 1).await;
    subscribed(&friend, "club", 1).await;
    subscribed(&stranger, "club", 1).await;

    stranger.publish("club", "let me in".into()).await.unwrap();
    soon(async {
        while node.counts().ignored == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    friend.publish("club", "hello".into()).await.unwrap();
    assert_eq!(&next_message(&mut heard).await.data[..], b"hello");
    node.publish("club", "for friends".into()).await.unwrap();
    for text in ["hello", "for friends"] {
        assert_eq!(&next_message(&mut by_friend).await.data[..], text.as_bytes());
    }
    // On a topic without a list the stranger hears the same node: it had the time to hear the club, too.
    let mut open = stranger.subscribe("open").await.unwrap();
    subscribed(&node, "open", 1).await;
    node.publish("open", "for everybody".into()).await.unwrap();
    assert_eq!(&next_message(&mut open).await.data[..], b"for everybody");
    assert_eq!(
        &next_message(&mut by_stranger).await.data[..],
        b"let me in",
        "its own"
    );
    drop(open);
    let more = tokio::time::timeout(std::time::Duration::from_millis(50), by_stranger.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn what_a_validator_refuses_is_neither_delivered_nor_passed_on() {
    let [mut author, mut middle, end] = [peer().await, peer().await, peer().await];
    author.swarm.dial(middle.address.clone()).unwrap();
    middle.swarm.dial(end.address.clone()).unwrap();
    let [author, middle, end] = [author, middle, end].map(run);
    let validator = Arc::new(|message: &cardume_gossipsub::Message| match &message.data[..] {
        b"bad" => Verdict::Reject,
        b"odd" => Verdict::Ignore,
        _ => Verdict::Accept,
    });
    let mut judged = middle.subscribe_with("t", validator).await.unwrap();
    let _own = author.subscribe("t").await.unwrap();
    let mut heard = end.subscribe("t").await.unwrap();
    meets(&author, "t", 1).await;
    meets(&end, "t", 1).await;
    for text in ["bad", "odd", "good"] {
        author.publish("t", text.into()).await.unwrap();
    }
    assert_eq!(&next_message(&mut judged).await.data[..], b"good");
    assert_eq!(&next_message(&mut heard).await.data[..], b"good");
    let counts = middle.counts();
    assert_eq!((counts.rejected, counts.ignored, counts.received), (1, 1, 1));
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_loses_messages_and_nobody_else_does() {
    const MORE: u64 = 6;
    let config = Config {
        max_rate: 100_000,
        ..Config::default()
    };
    let node = run(peer_with(config, Default::default()).await);
    let mut reading = node.subscribe("t").await.unwrap();
    let mut sleeping = node.subscribe("t").await.unwrap();
    for number in 0..1024 + MORE {
        node.publish("t", number.to_string().into()).await.unwrap();
        assert_eq!(next_message(&mut reading).await.data, number.to_string());
    }
    for number in 0..1024 {
        assert_eq!(next_message(&mut sleeping).await.data, number.to_string());
    }
    assert_eq!(soon(sleeping.next()).await, Some(Delivery::Lagged(MORE)));
    assert_eq!(node.counts().lost, MORE);
}
