//! What is broken: found, told, and made whole with no more than is missing.
use std::fs;

use cardume_content::{Cid, Hash};
use cardume_store::{Broken, Mode, Remedy, Root, Store, Target};

use crate::stand::{MIB, Stand, bytes, complete, read};

fn keep(store: &Store, cid: Cid, path: Option<std::path::PathBuf>, is_fetched: bool) {
    let root = Root {
        cid,
        name: "a name".into(),
        size: 1,
        files: 1,
        path,
        pinned: false,
        announce: true,
        allow: None,
        added: 1,
    };
    let kept = if is_fetched {
        store.add_fetched(root)
    } else {
        store.add_root(root)
    };
    kept.unwrap();
}

fn broken(store: &Store) -> Vec<Broken> {
    store.verify(None, &()).unwrap().broken
}

fn target(remedy: Remedy) -> Target {
    match remedy {
        Remedy::Fetch(target) => target,
        other => panic!("{other:?}"),
    }
}

/// A directory shared in place, of which one large file then changes in its last piece.
fn damaged(is_fetched: bool) -> (Stand, Vec<u8>, Cid) {
    let stand = Stand::new();
    let content = bytes(6 * MIB, 7);
    let file = stand.write("dir/inner/large", &content);
    stand.write("dir/whole", b"whole");
    let imported = stand
        .store()
        .import(&stand.path("dir"), Mode::InPlace, &())
        .unwrap();
    keep(stand.store(), imported.cid, Some(stand.path("dir")), is_fetched);
    let mut changed = content.clone();
    changed[6 * MIB - 1] ^= 1;
    fs::write(file, changed).unwrap();
    (stand, content, imported.cid)
}

#[test]
fn a_verification_says_where_the_broken_stand_and_says_it_again() {
    let (stand, content, cid) = damaged(false);
    for _ in 0..2 {
        let broken = broken(stand.store());
        assert_eq!(broken.len(), 1);
        assert_eq!(broken[0].cid, Cid::blob(Hash::of(&content)));
        assert_eq!((broken[0].root, &*broken[0].path), (Some(cid), "inner/large"));
    }
}

#[test]
fn of_a_fetched_file_only_the_pieces_that_are_wrong_come_again_in_place() {
    let (stand, content, _) = damaged(true);
    let store = stand.store();
    let found = broken(store);
    // A collection in between takes nothing that the repair needs.
    store.collect(&()).unwrap();
    let target = target(store.prepare_repair(&found[0], false).unwrap());
    let fetch = store.fetch(found[0].cid.hash(), 6 << 20, target).unwrap();
    assert_eq!(fetch.missing(), 1);
    complete(&fetch, &content);
    fetch.finish().unwrap();
    assert_eq!(fs::read(stand.path("dir/inner/large")).unwrap(), content);
    assert!(broken(store).is_empty());
}

#[test]
fn a_file_that_is_gone_comes_back_with_its_directory() {
    let (stand, content, _) = damaged(true);
    fs::remove_dir_all(stand.path("dir/inner")).unwrap();
    let store = stand.store();
    let found = broken(store);
    let target = target(store.prepare_repair(&found[0], false).unwrap());
    let fetch = store.fetch(found[0].cid.hash(), 6 << 20, target).unwrap();
    complete(&fetch, &content);
    fetch.finish().unwrap();
    assert_eq!(fs::read(stand.path("dir/inner/large")).unwrap(), content);
}

#[test]
fn what_the_operator_changed_is_overwritten_only_when_told() {
    let (stand, _, _) = damaged(false);
    let found = broken(stand.store());
    let Remedy::Left(reason) = stand.store().prepare_repair(&found[0], false).unwrap() else {
        panic!("left")
    };
    assert!(reason.contains("--overwrite"), "{reason}");
    let target = target(stand.store().prepare_repair(&found[0], true).unwrap());
    assert!(matches!(target, Target::File { path, .. } if path == stand.path("dir/inner/large")));
}

#[test]
fn nothing_is_written_through_a_link_that_has_taken_a_directorys_place() {
    let (stand, _, _) = damaged(true);
    fs::rename(stand.path("dir/inner"), stand.path("elsewhere")).unwrap();
    fs::remove_file(stand.path("elsewhere/large")).unwrap();
    std::os::unix::fs::symlink(stand.path("elsewhere"), stand.path("dir/inner")).unwrap();
    let found = broken(stand.store());
    let Remedy::Left(reason) = stand.store().prepare_repair(&found[0], true).unwrap() else {
        panic!("left")
    };
    assert!(reason.contains("not a directory"), "{reason}");
    assert!(!stand.path("elsewhere/large").exists());
}

#[test]
fn a_damaged_blob_of_the_stores_own_keeps_its_good_pieces() {
    let stand = Stand::new();
    let content = bytes(6 * MIB, 9);
    let path = stand.write("file", &content);
    let cid = stand.store().import(&path, Mode::Copy, &()).unwrap().cid;
    keep(stand.store(), cid, None, false);
    let hex = cid.hash().to_hex();
    let data = stand.path(&format!("store/data/{}/{hex}", &hex[..2]));
    let mut damaged = content.clone();
    damaged[MIB] ^= 1;
    fs::write(&data, damaged).unwrap();
    let found = broken(stand.store());
    stand.store().collect(&()).unwrap();
    let target = target(stand.store().prepare_repair(&found[0], false).unwrap());
    let fetch = stand.store().fetch(cid.hash(), 6 << 20, target).unwrap();
    assert_eq!(fetch.missing(), 1);
    complete(&fetch, &content);
    fetch.finish().unwrap();
    stand.store().settle().unwrap();
    assert_eq!(read(stand.store(), cid.hash()), content);
}

#[test]
fn a_file_that_was_only_touched_is_taken_back_without_asking_anybody() {
    let (stand, content, _) = damaged(false);
    let found = broken(stand.store());
    fs::write(stand.path("dir/inner/large"), &content).unwrap();
    let remedy = stand.store().prepare_repair(&found[0], false).unwrap();
    assert_eq!(remedy, Remedy::Whole);
    assert!(broken(stand.store()).is_empty());
}
