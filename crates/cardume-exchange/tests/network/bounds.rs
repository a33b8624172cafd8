//! What bounds how much is asked for and given at once; each bound of the configuration, beside what is so without it.
use std::{
    fs,
    sync::{Arc, Mutex},
    time::Duration,
};

use cardume_content::{Cid, Hash};
use cardume_exchange::{Config, FetchError, Phase};
use cardume_transfer::{Request, Response};
use futures::future::join_all;

use crate::{
    node::{GUARD, Node, config, finish, limb, node, node_with, noise},
    slow::{Asked, slow},
};

const MIB: usize = 1 << 20;

/// What so many slow peers were asked for by a node that fetches `cid` of `giver` from them.
async fn asked(giver: &Node, peers: usize, cid: Cid, config: Config) -> Asked {
    let asked = Arc::<Mutex<Asked>>::default();
    let peers = join_all((0..peers).map(|_| slow(&giver.store, &asked))).await;
    let from: Vec<_> = peers.iter().map(|peer| &peer.address).collect();
    let taker = node_with(config).await;
    let fetched = taker.get(cid, "got", &from).await.unwrap();
    assert_eq!(fetched.cid, cid);
    let asked = asked.lock().unwrap();
    asked.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_peer_is_asked_for_more_at_once_than_its_window() {
    let giver = node().await;
    let cid = giver.share("film", &noise(41, 8 * MIB));
    let one = Config {
        max_window: 1,
        ..config()
    };
    assert_eq!(asked(&giver, 1, cid, one).await.pieces, 1);
    let usual = asked(&giver, 1, cid, config()).await;
    assert!(usual.pieces > 1, "{usual:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_peers_together_are_asked_for_no_more_at_once_than_may_be_in_flight() {
    let giver = node().await;
    let cid = giver.share("film", &noise(42, 24 * MIB));
    let narrow = Config {
        max_in_flight: 2,
        ..config()
    };
    let bounded = asked(&giver, 2, cid, narrow).await;
    assert!(bounded.pieces <= 2, "{bounded:?}");
    let usual = asked(&giver, 2, cid, config()).await;
    assert!(usual.pieces > 2, "{usual:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_there_are_as_many_peers_as_may_be_no_other_is_asked() {
    let giver = node().await;
    let cid = giver.share("film", &noise(43, 48 * MIB));
    let peers = async |config| {
        let asked = Arc::<Mutex<Asked>>::default();
        let (first, second) = (slow(&giver.store, &asked).await, slow(&giver.store, &asked).await);
        let taker = node_with(config).await;
        let fetch = taker.exchange.fetch(taker.request(cid, "got", &[&first.address]));
        let mut progress = fetch.progress();
        progress.wait_for(|progress| progress.fetched > 0).await.unwrap();
        taker.meet(&second.address).await;
        finish(fetch).await.unwrap();
        asked.lock().unwrap().peers.len()
    };
    let one = Config {
        max_peers: 1,
        ..config()
    };
    assert_eq!(peers(one).await, 1);
    assert_eq!(peers(config()).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_directory_no_more_large_files_are_fetched_at_once_than_may_be() {
    let giver = node().await;
    let tree = giver.path("tree");
    fs::create_dir_all(&tree).unwrap();
    for number in 0..6 {
        fs::write(tree.join(number.to_string()), noise(440 + number, 3 * MIB)).unwrap();
    }
    let cid = giver.share_path(&tree);
    let one = Config {
        max_open_files: 1,
        ..config()
    };
    assert_eq!(asked(&giver, 1, cid, one).await.blobs, 1);
    let usual = asked(&giver, 1, cid, config()).await;
    assert!(usual.blobs > 1, "{usual:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_has_no_more_fetched_ahead_than_it_may() {
    let giver = node().await;
    let cid = giver.share("film", &noise(45, 24 * MIB));
    let most = async |config| {
        let asked = Arc::<Mutex<Asked>>::default();
        let slow = slow(&giver.store, &asked).await;
        let from = vec![slow.address.clone()];
        let reader = node_with(config).await;
        let mut reading = reader
            .exchange
            .read(cid, vec![], from, 0..u64::MAX)
            .await
            .unwrap();
        let mut read = 0;
        while let Some(chunk) = tokio::time::timeout(GUARD, reading.chunks.recv()).await.unwrap() {
            read += chunk.unwrap().len();
        }
        assert_eq!(read, 24 * MIB);
        asked.lock().unwrap().pieces
    };
    let nothing = Config {
        read_ahead: 1,
        ..config()
    };
    // The piece that is being read, and the proof of the size.
    let bounded = most(nothing).await;
    assert!(bounded <= 2, "{bounded}");
    let usual = most(config()).await;
    assert!(usual > 2, "{usual}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_fetches_so_many_run_and_the_others_wait_for_their_turn() {
    let one = node_with(Config {
        max_fetches: 1,
        ..Config::default()
    })
    .await;
    let looks = |phase: Phase| phase == Phase::FindingPeers;
    let begin = |name: &str| {
        one.exchange
            .fetch(one.request(Cid::blob(Hash::of(name.as_bytes())), name, &[]))
    };
    let first = begin("first");
    let mut looking = first.progress();
    looking.wait_for(|progress| looks(progress.phase)).await.unwrap();
    let second = begin("second");
    let mut waiting = second.progress();
    // What is asked after it comes to its end meanwhile.
    let soon = Some(Duration::from_millis(100));
    let nobody = Cid::blob(Hash::of(b"nobody"));
    one.exchange
        .resolve(nobody, vec![], vec![], soon)
        .await
        .unwrap_err();
    assert_eq!(waiting.borrow().phase, Phase::Waiting);
    drop(first);
    waiting.wait_for(|progress| looks(progress.phase)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_reads_so_many_go_on_and_the_others_are_refused() {
    let giver = node().await;
    let cid = giver.share("film", &noise(47, 24 * MIB));
    let reader = node_with(Config {
        max_reads: 1,
        ..config()
    })
    .await;
    let read = async || {
        let from = vec![giver.address.clone()];
        reader.exchange.read(cid, vec![], from, 0..u64::MAX).await
    };
    // Nobody takes what it reads, so it goes on.
    let first = read().await.unwrap();
    let refused = read().await.map(|reading| reading.size).unwrap_err();
    assert!(
        matches!(&refused, FetchError::Limit(reason) if reason.contains("exchange.max_reads")),
        "{refused}"
    );
    reader.get(cid, "got", &[&giver.address]).await.unwrap();
    drop(first);
    let again = async { while read().await.is_err() {} };
    tokio::time::timeout(GUARD, again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_those_that_are_answered_at_once_are_told_to_come_later() {
    const AT_ONCE: u8 = 12;
    let one = node_with(Config {
        max_serving: 1,
        ..config()
    })
    .await;
    let usual = node().await;
    let asker = limb().await;
    let busy = async |node: &Node| {
        let have = |number: u8| Request::Have {
            cid: Cid::blob(Hash::of(&[number])),
            since: None,
        };
        let asked = (0..AT_ONCE).map(|number| asker.transfer.request(node.peer, have(number)));
        let answers = join_all(asked).await;
        let is_busy = |answer: &Response| matches!(answer, Response::Busy { .. });
        answers.into_iter().any(|answer| is_busy(&answer.unwrap()))
    };
    for node in [&one, &usual] {
        asker.connect.dial(node.address.clone()).await.unwrap();
    }
    // They may come in one after another; some time they do not.
    let some = async { while !busy(&one).await {} };
    tokio::time::timeout(GUARD, some).await.unwrap();
    assert!(!busy(&usual).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_news_beyond_those_who_may_is_answered_at_once() {
    let giver = node().await;
    let cid = giver.share("film", &noise(49, 16 * MIB));
    let nobody_waits = Config {
        max_waiting: 0,
        ..Config::default()
    };
    let asker = limb().await;
    let (mut kept, mut waits) = (Vec::new(), Vec::new());
    for config in [Config::default(), nobody_waits] {
        let node = node_with(config).await;
        let source = slow(&giver.store, &Arc::default()).await;
        node.meet(&source.address).await;
        let fetch = node.exchange.fetch(node.request(cid, "film", &[]));
        let mut progress = fetch.progress();
        progress.wait_for(|progress| progress.fetched > 0).await.unwrap();
        // From now on it has some of it, and no news.
        drop(source);
        asker.connect.dial(node.address.clone()).await.unwrap();
        let (transfer, peer) = (asker.transfer.clone(), node.peer);
        kept.push((node, fetch));
        // More of what is under way may come in between; then it has not waited.
        waits.push(tokio::spawn(async move {
            let mut since = None;
            loop {
                let have = transfer.request(peer, Request::Have { cid, since }).await;
                let Response::Have { version, .. } = have.unwrap() else {
                    panic!("it has some of it")
                };
                if since.replace(version) == Some(version) {
                    return;
                }
            }
        }));
    }
    let at_once = waits.pop().unwrap();
    tokio::time::timeout(GUARD, at_once).await.unwrap().unwrap();
    assert!(!waits[0].is_finished(), "where there is room, it waits");
}
