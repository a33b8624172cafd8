use std::fs;

use crate::node::{finish, node, noise};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn four_providers_share_the_load() {
    let bytes = noise(11, 40 * MIB);
    let mut providers = Vec::new();
    let mut cid = None;
    for _ in 0..4 {
        let provider = node().await;
        cid = Some(provider.share("film", &bytes));
        providers.push(provider);
    }
    let b = node().await;
    let from: Vec<_> = providers.iter().map(|provider| &provider.address).collect();
    let fetched = b.get(cid.unwrap(), "film", &from).await.unwrap();
    assert_eq!(fs::read(b.path("film")).unwrap(), bytes);
    assert_eq!(fetched.fetched, bytes.len() as u64);
    assert_eq!(fetched.sources.len(), 4, "{:?}", fetched.sources);
    assert!(
        fetched
            .sources
            .iter()
            .all(|source| source.bytes >= 3 * MIB as u64),
        "{:?}",
        fetched.sources
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fetchers_serve_each_other_while_they_fetch() {
    let a = node().await;
    let bytes = noise(12, 96 * MIB);
    let cid = a.share("film", &bytes);
    let (b, c) = (node().await, node().await);
    b.meet(&a.address).await;
    c.meet(&a.address).await;
    b.meet(&c.address).await;
    let (first, second) = (
        b.exchange.fetch(b.request(cid, "film", &[&a.address])),
        c.exchange.fetch(c.request(cid, "film", &[&a.address])),
    );
    let (first, second) = tokio::join!(finish(first), finish(second));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(fs::read(b.path("film")).unwrap(), bytes);
    assert_eq!(fs::read(c.path("film")).unwrap(), bytes);
    let swapped = [(&first, c.peer), (&second, b.peer)].map(|(fetched, other)| {
        fetched
            .sources
            .iter()
            .filter(|source| source.peer == other)
            .map(|source| source.bytes)
            .sum::<u64>()
    });
    assert!(swapped.iter().sum::<u64>() >= 4 * MIB as u64, "{swapped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fetchers_learn_of_each_other_from_the_provider() {
    let a = node().await;
    let bytes = noise(13, 2 * MIB);
    let cid = a.share("film", &bytes);
    let (b, c) = (node().await, node().await);
    b.get(cid, "film", &[&a.address]).await.unwrap();
    b.exchange.sync().await.unwrap();
    let others = c
        .transfer
        .request(a.peer, cardume_transfer::Request::Swarm { cid });
    c.meet(&a.address).await;
    let answer = others.await.unwrap();
    let cardume_transfer::Response::Swarm { peers } = answer else {
        panic!("{answer:?}")
    };
    assert!(peers.iter().any(|peer| peer.peer == b.peer), "{peers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_is_taken_off_the_air() {
    let (a, b) = (node().await, node().await);
    let cid = a.share("film", &noise(14, 3 * MIB));
    fs::write(a.path("film"), noise(15, 3 * MIB)).unwrap();
    let result = b.get(cid, "film", &[&a.address]).await;
    assert!(
        matches!(
            result,
            Err(cardume_exchange::FetchError::NotFound { .. } | cardume_exchange::FetchError::Gone { .. })
        ),
        "{result:?}"
    );
    assert!(!b.path("film").exists());
}
