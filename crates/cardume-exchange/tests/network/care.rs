//! Room asked for before anything comes, and what is broken made whole again.
use std::fs;

use cardume_content::Cid;
use cardume_exchange::{FetchError, Mend, Progress};
use cardume_store::Remedy;
use cardume_units::Size;
use tokio::sync::watch;

use crate::node::{Node, config, node, node_with_store, noise};

const MIB: usize = 1 << 20;

fn tree(node: &Node) -> Cid {
    fs::create_dir_all(node.path("tree/inner")).unwrap();
    fs::write(node.path("tree/inner/large"), noise(1, 6 * MIB)).unwrap();
    fs::write(node.path("tree/small"), noise(2, 1_000)).unwrap();
    node.share_path(&node.path("tree"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_fit_is_refused_before_it_starts_and_leaves_nothing() {
    let a = node().await;
    let tree = tree(&a);
    let file = a.share("film", &noise(3, 6 * MIB));
    let store = cardume_store::Config {
        keep_free: Some(Size::bytes(1 << 60)),
        ..Default::default()
    };
    let b = node_with_store(config(), store).await;
    for (cid, bytes) in [(tree, 0), (file, MIB as u64)] {
        let before = a.sent();
        let error = b.get(cid, "got", &[&a.address]).await.unwrap_err();
        assert!(matches!(error, FetchError::NoRoom(_)), "{error}");
        assert!(error.to_string().contains("stay free"), "{error}");
        // The size of a file that nothing names is known by its last piece.
        let sent = a.sent() - before;
        assert!(sent <= bytes + 64 * 1024, "{sent}");
        let left: Vec<_> = fs::read_dir(&b.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["data"], "nothing is left beside the destination");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_broken_tree_only_what_is_wrong_comes_again() {
    let a = node().await;
    let cid = tree(&a);
    let b = node().await;
    b.get(cid, "got", &[&a.address]).await.unwrap();
    b.exchange.sync().await.unwrap();
    let path = b.path("got/inner/large");
    let mut bytes = fs::read(&path).unwrap();
    bytes[2 * MIB] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::remove_file(b.path("got/small")).unwrap();
    let broken = b.store.verify(Some(cid), &()).unwrap().broken;
    assert_eq!(broken.len(), 2);
    let mends: Vec<_> = broken
        .iter()
        .map(|broken| {
            let Remedy::Fetch(target) = b.store.prepare_repair(broken, false).unwrap() else {
                panic!("it is to be fetched")
            };
            Mend {
                cid: broken.cid,
                size: broken.size,
                target,
            }
        })
        .collect();
    let before = a.sent();
    let (progress, _) = watch::channel(Progress::default());
    let repair = b.exchange.repair(cid, vec![a.address.clone()], mends, progress);
    let repaired = tokio::time::timeout(crate::node::GUARD, repair)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(repaired.len(), 2);
    // The piece that proves the size, and the one that is wrong.
    let sent = a.sent() - before;
    assert!(sent < 5 * MIB as u64 / 2, "{sent}");
    assert!(b.store.verify(Some(cid), &()).unwrap().broken.is_empty());
    assert_eq!(fs::read(path).unwrap(), noise(1, 6 * MIB));
    assert_eq!(fs::read(b.path("got/small")).unwrap(), noise(2, 1_000));
}
