//! Bounds of the configuration, away from their defaults.
use std::collections::BTreeMap;

use cardume_gossipsub::{Config, Counts, Handle, PublishError};
use cardume_units::Size;
use futures::future::join_all;

use crate::peers::{GLANCE, meets, peer_with, run, soon};

/// A configuration that bounds nothing that these tests do.
fn free() -> Config {
    Config {
        max_rate: 100_000,
        max_peer_rate: 100_000,
        max_queue: 100_000,
        ..Config::default()
    }
}

/// An author, and a reader with a configuration of its own that hears it.
async fn pair(author: Config, reader: Config) -> [Handle; 2] {
    let mut author = peer_with(author, BTreeMap::new()).await;
    let reader = peer_with(reader, BTreeMap::new()).await;
    author.swarm.dial(reader.address.clone()).unwrap();
    let [author, reader] = [author, reader].map(run);
    for node in [&author, &reader] {
        // Read by nobody, and for as long as the node is.
        std::mem::forget(node.subscribe("t").await.unwrap());
    }
    meets(&author, "t", 1).await;
    [author, reader]
}

/// What the reader has counted when it has heard of everything that the author says at once.
async fn heard(reader: Config) -> Counts {
    const SAID: u64 = 40;
    let [author, reader] = pair(free(), reader).await;
    for number in 0..SAID {
        author.publish("t", number.to_string().into()).await.unwrap();
    }
    soon(async {
        loop {
            let counts = reader.counts();
            if counts.received + counts.excess >= SAID {
                return counts;
            }
            tokio::time::sleep(GLANCE).await;
        }
    })
    .await
}

#[tokio::test]
async fn more_of_one_author_than_its_rate_is_not_taken() {
    assert_eq!(heard(free()).await.excess, 0);
    let counts = heard(Config {
        max_rate: 1,
        ..free()
    })
    .await;
    assert!(counts.excess > 0, "{counts:?}");
}

#[tokio::test]
async fn more_of_one_neighbour_than_its_rate_is_not_taken() {
    let [author, reader] = pair(
        free(),
        Config {
            max_peer_rate: 1,
            ..free()
        },
    )
    .await;
    // Some may come in RPCs that are not looked at.
    soon(async {
        while reader.counts().excess == 0 {
            author.publish("t", "again".into()).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn what_finds_no_room_in_the_queue_of_a_neighbour_is_not_sent() {
    let say = async |author: &Handle| {
        let saying = (0..64).map(|number: u32| author.publish("t", number.to_string().into()));
        // Whether anybody takes it is counted.
        let _ = join_all(saying).await;
    };
    let [author, _reader] = pair(free(), free()).await;
    say(&author).await;
    assert_eq!(author.counts().unsent, 0);
    let narrow = Config {
        max_queue: 1,
        ..free()
    };
    let [author, _reader] = pair(narrow, free()).await;
    soon(async {
        while author.counts().unsent == 0 {
            say(&author).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_that_is_larger_than_may_be_is_refused() {
    let config = Config {
        max_message: Size::kib(1),
        ..Config::default()
    };
    let node = run(peer_with(config, BTreeMap::new()).await);
    let refused = node.publish("t", vec![0; 1025].into()).await;
    assert_eq!(
        refused,
        Err(PublishError::TooLarge {
            size: 1025,
            max: 1024
        })
    );
}
