use crate::node::{GUARD, node, noise};

const MIB: usize = 1 << 20;

async fn all(mut reading: cardume_exchange::Reading) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = tokio::time::timeout(GUARD, reading.chunks.recv()).await.unwrap() {
        bytes.extend_from_slice(&chunk.unwrap());
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_read_in_order_and_nothing_else_is_fetched() {
    let (a, b) = (node().await, node().await);
    let bytes = noise(31, 64 * MIB);
    let cid = a.share("film", &bytes);
    let range = 20 * MIB + 100..23 * MIB + 7;
    let wanted = range.start as u64..range.end as u64;
    let reading = b
        .exchange
        .read(cid, vec![], vec![a.address.clone()], wanted)
        .await
        .unwrap();
    assert_eq!(reading.size, bytes.len() as u64);
    assert_eq!(all(reading).await, &bytes[range]);
    assert!(a.sent() <= 8 * MIB as u64, "{}", a.sent());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_whole_is_kept() {
    let (a, b) = (node().await, node().await);
    let bytes = noise(32, 5 * MIB + 1);
    let cid = a.share("film", &bytes);
    let reading = b
        .exchange
        .read(cid, vec![], vec![a.address.clone()], 0..u64::MAX)
        .await
        .unwrap();
    assert_eq!(reading.range, 0..bytes.len() as u64);
    assert_eq!(all(reading).await, bytes);
    a.stop().await;
    let again = b.exchange.read(cid, vec![], vec![], 5..10).await.unwrap();
    assert_eq!(all(again).await, &bytes[5..10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_is_resolved_with_the_directories_fetched_for_it() {
    let (a, b) = (node().await, node().await);
    let tree = a.path("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::fs::write(tree.join("sub/file"), "content").unwrap();
    let cid = a.share_path(&tree);
    let from = vec![a.address.clone()];
    let directory = b
        .exchange
        .resolve(cid, vec!["sub".into()], from.clone(), None)
        .await
        .unwrap();
    assert_eq!(directory.manifest.unwrap().entries().len(), 1);
    let file = b
        .exchange
        .resolve(cid, vec!["sub".into(), "file".into()], from.clone(), None)
        .await
        .unwrap();
    assert_eq!((file.size, file.manifest), (7, None));
    let reading = b
        .exchange
        .read(cid, vec!["sub".into(), "file".into()], from.clone(), 3..5)
        .await
        .unwrap();
    assert_eq!(all(reading).await, b"te");
    let film = a.share("film", &noise(33, 2 * MIB + 9));
    assert_eq!(
        b.exchange.resolve(film, vec![], from, None).await.unwrap().size,
        2 * MIB as u64 + 9
    );
}
