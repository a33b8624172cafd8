//! Channels on their topics: real swarms in memory, no DHT.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use cardume_channel::{Counts, Follow, Handle, Id, KeyFiles, Record, build, topic};
use cardume_content::{Cid, Hash};
use futures::StreamExt as _;
use libp2p_core::Multiaddr;
use libp2p_identity::Keypair;
use libp2p_swarm::Swarm;
use libp2p_swarm_test::SwarmExt as _;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A node with channels, and nothing to find others by but the peers it dials.
struct Node {
    channels: Handle,
    topics: cardume_gossipsub::Handle,
    address: Multiaddr,
    turning: JoinHandle<()>,
    _dir: TempDir,
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, what).await.expect("it takes seconds")
}

/// Starts a node that follows a channel, if there is one, and dials others.
async fn node(followed: Option<Id>, others: &[&Node]) -> Node {
    let mut built = None;
    let mut swarm = Swarm::new_ephemeral_tokio(|key| {
        let config = cardume_gossipsub::Config::default();
        let (behaviour, handle, server) = config.build(&key, "test", BTreeMap::new()).unwrap();
        built = Some((handle, server));
        behaviour
    });
    let (address, _) = swarm.listen().with_memory_addr_external().await;
    let (topics, validators) = built.unwrap();
    for other in others {
        swarm.dial(other.address.clone()).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let files = KeyFiles {
        load: |_| Err("no key has been made".into()),
        create: |_| Ok(Keypair::generate_ed25519()),
    };
    let follow = followed.map(|id| ("app".to_owned(), Follow::new(id, "/nowhere/app")));
    let (channels, server) = build(
        &BTreeMap::new(),
        &follow.into_iter().collect(),
        &dir.path().join("channels"),
        files,
        Arc::new(redb::Database::create(dir.path().join("db")).unwrap()),
        cardume_kad::Handle::closed(),
        topics.clone(),
        Counts::default(),
    )
    .unwrap();
    let turning = tokio::spawn(async move {
        tokio::join!(validators.run(), server.run(CancellationToken::new()), async {
            while swarm.next().await.is_some() {}
        },);
    });
    Node {
        channels,
        topics,
        address,
        turning,
        _dir: dir,
    }
}

async fn publish(node: &Node, text: &str) -> Record {
    let cid = Cid::blob(Hash::of(text.as_bytes()));
    let published = node.channels.publish("app".into(), cid, 1, text.into());
    published.await.unwrap()
}

/// Waits until a node knows a record.
async fn knows(node: &Node, record: &Record) {
    let mut newest = node.channels.newest(record.channel()).unwrap();
    soon(newest.wait_for(|newest| newest.as_ref() == Some(record)))
        .await
        .unwrap();
}

fn refused(node: &Node, reason: &str) -> u64 {
    let counts = node.channels.counts();
    counts.refusals().find(|(name, _)| *name == reason).unwrap().1
}

#[tokio::test]
async fn news_reach_followers_and_those_who_come_when_the_publisher_is_gone() {
    let publisher = node(None, &[]).await;
    let id = publisher.channels.create("app".into()).await.unwrap();
    let first = node(Some(id), &[&publisher]).await;
    let old = publish(&publisher, "one").await;
    knows(&first, &old).await;
    let new = publish(&publisher, "two").await;
    knows(&first, &new).await;
    publisher.turning.abort();
    // One follower is enough: a newcomer asks, and is told.
    let second = node(Some(id), &[&first]).await;
    knows(&second, &new).await;
    // … and whoever has been told tells others.
    let third = node(Some(id), &[&second]).await;
    knows(&third, &new).await;
}

#[tokio::test]
async fn what_is_not_true_or_old_is_refused_counted_and_not_passed_on() {
    let publisher = node(None, &[]).await;
    let id = publisher.channels.create("app".into()).await.unwrap();
    let old = publish(&publisher, "one").await;
    let new = publish(&publisher, "two").await;
    let other = node(None, &[]).await;
    other.channels.create("app".into()).await.unwrap();
    let of_other = publish(&other, "three").await;
    let follower = node(Some(id), &[&publisher]).await;
    knows(&follower, &new).await;
    // Behind the follower, so that whatever it hears it hears from the follower.
    let behind = node(Some(id), &[&follower]).await;
    knows(&behind, &new).await;

    let mut forged = new.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let lies: [(&str, &[u8]); 5] = [
        ("older", old.bytes()),
        ("forged", &forged),
        ("other_channel", of_other.bytes()),
        ("oversized", &[1; 2000]),
        ("malformed", b"nonsense"),
    ];
    for (reason, bytes) in lies {
        // Each from somebody who has not lied before, and is not shut out for it.
        let liar = node(None, &[&follower]).await;
        let _heard = liar.topics.subscribe(&topic(id)).await.unwrap();
        soon(async {
            while liar.topics.peers(&topic(id)).await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let said = liar
            .topics
            .publish(&topic(id), Bytes::copy_from_slice(bytes))
            .await;
        said.unwrap();
        soon(async {
            while refused(&follower, reason) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        liar.turning.abort();
    }
    let newest = follower.channels.newest(id).unwrap();
    assert_eq!(newest.borrow().as_ref(), Some(&new));
    assert_eq!(
        behind
            .channels
            .counts()
            .refusals()
            .map(|(_, count)| count)
            .sum::<u64>(),
        0
    );
}
