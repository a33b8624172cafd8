use std::fs;

use cardume_content::{Cid, Hash};
use cardume_exchange::{Destination, FetchError, FetchRequest, Phase};
use cardume_store::{Mode, Presence};

use crate::node::{config, finish, node, node_at, noise};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_fetched_from_one_provider_and_shared_on() {
    let (a, b) = (node().await, node().await);
    let bytes = noise(1, 5 * MIB + 12_345);
    let cid = a.share("film", &bytes);
    let fetch = b.exchange.fetch(b.request(cid, "copy", &[&a.address]));
    let progress = fetch.progress();
    let fetched = finish(fetch).await.unwrap();
    assert_eq!(fs::read(b.path("copy")).unwrap(), bytes);
    assert_eq!(fetched.cid, cid);
    assert_eq!(fetched.size, bytes.len() as u64);
    assert_eq!(fetched.fetched, bytes.len() as u64);
    assert_eq!(fetched.sources.len(), 1);
    assert_eq!(fetched.sources[0].peer, a.peer);
    assert_eq!(fetched.sources[0].bytes, bytes.len() as u64);
    assert_eq!(fetched.path, Some(b.path("copy").canonicalize().unwrap()));
    let last = progress.borrow().clone();
    assert_eq!(
        (last.phase, last.done, last.files_done),
        (Phase::Done, bytes.len() as u64, 1)
    );
    b.exchange.sync().await.unwrap();
    let root = b.store.root(cid).unwrap().unwrap();
    assert_eq!(
        (root.name.as_str(), root.size, root.path),
        ("copy", bytes.len() as u64, fetched.path)
    );

    let c = node().await;
    let again = c.get(cid, "copy", &[&b.address]).await.unwrap();
    // It may have heard of the first by then, and asked that one as well.
    assert!(again.sources.iter().any(|source| source.peer == b.peer));
    assert_eq!(fs::read(c.path("copy")).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_awkward_size_arrive_whole() {
    let (a, b) = (node().await, node().await);
    for (seed, size) in [
        0,
        1,
        16 * 1024,
        64 * 1024,
        64 * 1024 + 1,
        MIB - 1,
        MIB,
        MIB + 1,
        2 * MIB,
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = noise(seed as u64, size);
        let cid = a.share(&format!("f{size}"), &bytes);
        let fetched = b.get(cid, &format!("g{size}"), &[&a.address]).await.unwrap();
        assert_eq!(fs::read(b.path(&format!("g{size}"))).unwrap(), bytes);
        assert_eq!((fetched.size, fetched.fetched), (size as u64, size as u64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_arrives_as_it_was() {
    let (a, b) = (node().await, node().await);
    let tree = a.path("tree");
    fs::create_dir_all(tree.join("one/two/empty")).unwrap();
    fs::write(tree.join("small"), "small").unwrap();
    fs::write(tree.join("nothing"), "").unwrap();
    fs::write(tree.join("one/large"), noise(7, 3 * MIB + 7)).unwrap();
    fs::write(tree.join("one/two/run"), "#!/bin/sh").unwrap();
    std::os::unix::fs::symlink("../small", tree.join("one/link")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(tree.join("one/two/run"), fs::Permissions::from_mode(0o755)).unwrap();
    let cid = a.share_path(&tree);
    let fetched = b.get(cid, "tree", &[&a.address]).await.unwrap();
    assert_eq!(fetched.files, 4);
    assert_eq!(b.share_path(&b.path("tree")), cid);
    assert_eq!(
        fs::read_link(b.path("tree/one/link")).unwrap().to_str(),
        Some("../small")
    );

    let mut request = b.request(cid, "part", &[&a.address]);
    request.path = vec!["one".into(), "two".into()];
    let part = finish(b.exchange.fetch(request)).await.unwrap();
    assert_eq!((part.files, part.fetched), (1, 0), "it was here already");
    assert_eq!(fs::read(b.path("part/run")).unwrap(), b"#!/bin/sh");

    let mut request = b.request(cid, "missing", &[&a.address]);
    request.path = vec!["one".into(), "three".into()];
    let missing = finish(b.exchange.fetch(request)).await;
    assert!(
        matches!(missing, Err(FetchError::NoSuchPath { .. })),
        "{missing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_the_globs_name_is_fetched() {
    let (a, b) = (node().await, node().await);
    let tree = a.path("tree");
    fs::create_dir_all(tree.join("one/two")).unwrap();
    fs::create_dir_all(tree.join("three")).unwrap();
    fs::write(tree.join("a.jpg"), "a").unwrap();
    fs::write(tree.join("one/two/b.jpg"), "bb").unwrap();
    fs::write(tree.join("three/c.txt"), "ccc").unwrap();
    let cid = a.share_path(&tree);
    let mut request = b.request(cid, "jpgs", &[&a.address]);
    request.only = vec!["*.jpg".into()];
    let fetched = finish(b.exchange.fetch(request)).await.unwrap();
    assert_eq!((fetched.files, fetched.size), (2, 3));
    assert!(b.path("jpgs/one/two/b.jpg").exists() && !b.path("jpgs/three").exists());
    b.exchange.sync().await.unwrap();
    assert!(b.store.root(cid).unwrap().is_none(), "a part is not the whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_files_take_few_requests_and_equal_ones_one_download() {
    let (a, b) = (node().await, node().await);
    let tree = a.path("tree");
    fs::create_dir_all(&tree).unwrap();
    for number in 0..2_000u64 {
        fs::write(tree.join(format!("{number:05}")), noise(number, 4_096)).unwrap();
    }
    for number in 0..500u64 {
        fs::write(tree.join(format!("same{number:05}")), noise(42, 4_096)).unwrap();
    }
    let cid = a.share_path(&tree);
    let fetched = b.get(cid, "tree", &[&a.address]).await.unwrap();
    assert_eq!(fetched.files, 2_500);
    assert_eq!(fetched.fetched, 2_000 * 4_096);
    assert!(a.sent() < 9 * MIB as u64, "{}", a.sent());
    assert_eq!(b.share_path(&b.path("tree")), cid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_try_left_is_not_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let a = node().await;
    // A fetch may be through before it is cut off; then another is.
    for number in 0..8u64 {
        let (name, bytes) = (format!("film{number}"), noise(number, 96 * MIB));
        let cid = a.share(&name, &bytes);
        let b = node_at(dir.path(), config()).await;
        let fetch = b.exchange.fetch(b.request(cid, &name, &[&a.address]));
        let mut progress = fetch.progress();
        progress
            .wait_for(|progress| progress.fetched >= 4 * MIB as u64)
            .await
            .unwrap();
        drop(fetch);
        b.stop().await;
        if dir.path().join(&name).exists() {
            continue;
        }
        let b = node_at(dir.path(), config()).await;
        let fetched = b.get(cid, &name, &[&a.address]).await.unwrap();
        assert!(fetched.fetched <= 92 * MIB as u64, "{}", fetched.fetched);
        assert_eq!(fs::read(b.path(&name)).unwrap(), bytes);
        return;
    }
    panic!("no fetch was cut off in the middle");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_persists_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(4, 3 * MIB);
    let a = node().await;
    let cid = a.share("film", &bytes);
    let b = node_at(dir.path(), config()).await;
    // Nobody to get it from yet.
    let mut request = b.request(cid, "film", &[]);
    request.persist = true;
    request.deadline = Some(std::time::Duration::from_secs(60));
    let fetch = b.exchange.fetch(request);
    let mut progress = fetch.progress();
    progress
        .wait_for(|progress| progress.phase == Phase::FindingPeers)
        .await
        .unwrap();
    assert_eq!(b.exchange.running().len(), 1);
    b.stop().await;
    assert!(matches!(finish(fetch).await, Err(FetchError::Closed)));

    let b = node_at(dir.path(), config()).await;
    let (request, fetch) = loop {
        if let Some(resumed) = b.exchange.take_resumed().pop() {
            break resumed;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(request.cid, cid);
    b.meet(&a.address).await;
    finish(fetch).await.unwrap();
    assert_eq!(fs::read(b.path("film")).unwrap(), bytes);
    b.exchange.sync().await.unwrap();
    b.stop().await;
    let b = node_at(dir.path(), config()).await;
    b.exchange.sync().await.unwrap();
    assert!(b.exchange.take_resumed().is_empty(), "it is finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_let_go_of_runs_on_and_one_that_is_dropped_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let a = node().await;
    let cid = a.share("film", &noise(6, 2 * MIB));
    let b = node_at(dir.path(), config()).await;
    let mut request = b.request(cid, "film", &[&a.address]);
    request.persist = true;
    let fetch = b.exchange.fetch(request.clone());
    let mut progress = fetch.progress();
    fetch.leave();
    progress
        .wait_for(|progress| progress.phase == Phase::Done)
        .await
        .unwrap();
    request.cid = Cid::blob(Hash::of(b"nowhere"));
    let fetch = b.exchange.fetch(request);
    let mut progress = fetch.progress();
    drop(fetch);
    // Its end closes the channel.
    while progress.changed().await.is_ok() {}
    b.exchange.sync().await.unwrap();
    b.stop().await;
    let b = node_at(dir.path(), config()).await;
    b.exchange.sync().await.unwrap();
    assert!(b.exchange.take_resumed().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn content_nobody_has_is_not_found_in_time() {
    let (a, b) = (node().await, node().await);
    let cid = Cid::blob(Hash::of(b"nowhere"));
    let mut request = b.request(cid, "x", &[&a.address]);
    request.deadline = Some(std::time::Duration::from_millis(1_500));
    let begun = std::time::Instant::now();
    let result = finish(b.exchange.fetch(request)).await;
    assert!(matches!(result, Err(FetchError::NotFound { .. })), "{result:?}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(6));
    assert!(!b.path("x").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_comes_late_is_found() {
    let (a, b) = (node().await, node().await);
    let cid = a.share("film", &noise(5, 2 * MIB));
    let fetch = b.exchange.fetch(b.request(cid, "film", &[]));
    let mut progress = fetch.progress();
    progress
        .wait_for(|progress| progress.phase == Phase::FindingPeers)
        .await
        .unwrap();
    b.meet(&a.address).await;
    finish(fetch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn destinations_that_are_taken_or_the_nodes_own_are_refused_at_once() {
    let (a, b) = (node().await, node().await);
    let cid = a.share("film", b"film");
    fs::write(b.path("taken"), "mine").unwrap();
    let taken = b.get(cid, "taken", &[&a.address]).await;
    assert!(matches!(taken, Err(FetchError::Exists { .. })), "{taken:?}");
    assert_eq!(fs::read(b.path("taken")).unwrap(), b"mine");
    let own = b.get(cid, "data/film", &[&a.address]).await;
    assert!(matches!(own, Err(FetchError::Denied(_))), "{own:?}");
    let mut request = b.request(cid, "taken", &[&a.address]);
    request.destination = Destination::Path {
        path: b.path("taken"),
        force: true,
    };
    finish(b.exchange.fetch(request)).await.unwrap();
    assert_eq!(fs::read(b.path("taken")).unwrap(), b"film");
}

#[tokio::test(flavor = "multi_thread")]
async fn content_goes_into_the_store_and_from_there_anywhere() {
    let (a, b) = (node().await, node().await);
    let tree = a.path("tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("small"), noise(1, 100)).unwrap();
    fs::write(tree.join("large"), noise(2, 2 * MIB + 5)).unwrap();
    let cid = a.share_path(&tree);
    let mut request = FetchRequest::new(cid, Destination::Store);
    request.peers = vec![a.address.clone()];
    request.name = Some("the tree".into());
    let fetched = finish(b.exchange.fetch(request)).await.unwrap();
    assert_eq!(fetched.path, None);
    b.exchange.sync().await.unwrap();
    assert_eq!(b.store.root(cid).unwrap().unwrap().name, "the tree");
    a.stop().await;
    let local = b.get(cid, "out", &[]).await.unwrap();
    assert_eq!(local.fetched, 0);
    assert_eq!(
        b.store.import(&b.path("out"), Mode::InPlace, &()).unwrap().cid,
        cid
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_met_before_anything_is_written() {
    let a = node().await;
    let tree = a.path("tree");
    fs::create_dir_all(tree.join("deep/er/still")).unwrap();
    for number in 0..50 {
        fs::write(tree.join(format!("{number}")), "x").unwrap();
    }
    let cid = a.share_path(&tree);
    for config in [
        cardume_exchange::Config {
            max_tree_entries: 20,
            ..config()
        },
        cardume_exchange::Config {
            max_directory_entries: 20,
            ..config()
        },
        cardume_exchange::Config {
            max_depth: 2,
            ..config()
        },
        cardume_exchange::Config {
            max_total: cardume_units::Size(10),
            ..config()
        },
        cardume_exchange::Config {
            max_manifest: cardume_units::Size(100),
            ..config()
        },
    ] {
        let b = crate::node::node_with(config).await;
        let result = b.get(cid, "tree", &[&a.address]).await;
        assert!(matches!(result, Err(FetchError::Limit(_))), "{result:?}");
        let left: Vec<_> = fs::read_dir(&b.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["data"]);
        assert_eq!(b.store.presence(Hash::of(b"x")).unwrap(), Presence::Absent);
    }
}
