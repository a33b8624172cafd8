//! Who gets room, who does not, and what goes for it.
use cardume_content::{Cid, Hash};
use cardume_store::{Config, ImportError, Mode, Presence, Root, Store, Target, WriteError};
use cardume_units::Size;

use crate::stand::{MIB, Stand, bytes, complete};

fn with_quota(mib: u64) -> Stand {
    Stand::with(Config {
        quota: Some(Size::mib(mib)),
        ..Config::default()
    })
}

/// Fetches 3 MiB into the store, long ago.
fn fetched(store: &Store, seed: u64, added: u64) -> Cid {
    let content = bytes(3 * MIB, seed);
    let cid = Cid::blob(Hash::of(&content));
    let fetch = store
        .fetch(cid.hash(), content.len() as u64, Target::Store)
        .unwrap();
    complete(&fetch, &content);
    fetch.finish().unwrap();
    store.add_fetched(root(cid, added)).unwrap();
    cid
}

fn root(cid: Cid, added: u64) -> Root {
    Root {
        cid,
        name: "a name".into(),
        size: 3 * MIB as u64,
        files: 1,
        path: None,
        pinned: false,
        announce: true,
        allow: None,
        added,
    }
}

fn is_here(store: &Store, cid: Cid) -> bool {
    matches!(store.presence(cid.hash()).unwrap(), Presence::Complete { .. })
}

fn new(mib: u64) -> [(Hash, u64); 1] {
    [(Hash::of(&mib.to_le_bytes()), mib << 20)]
}

#[test]
fn what_was_fetched_and_not_used_for_longest_goes_first() {
    let stand = with_quota(14);
    let store = stand.store();
    let old: Vec<_> = (0..4).map(|seed| fetched(store, seed, 1_000 + seed)).collect();
    // It was fetched first, and has just been read.
    store.read(old[0].hash(), 0..10).unwrap();
    let claim = store.claim(&new(4), None).unwrap();
    let here: Vec<_> = old.iter().map(|cid| is_here(store, *cid)).collect();
    assert_eq!(here, [true, false, true, true]);
    assert_eq!(store.roots().unwrap().len(), 3);
    assert_eq!(store.take_evicted(), [old[1]]);
    drop(claim);
}

#[test]
fn what_is_pinned_held_shared_or_in_use_never_goes() {
    let stand = with_quota(14);
    let store = stand.store();
    let [pinned, held, shared, read] = [0, 1, 2, 3].map(|seed| fetched(store, seed, 1_000));
    store.pin(pinned, true).unwrap();
    let hold = store.hold(held);
    // The operator shares it as well.
    store.add_root(root(shared, 1_000)).unwrap();
    store.read(read.hash(), 0..10).unwrap();
    let error = store.claim(&new(4), None).err().unwrap();
    assert!(
        matches!(error, WriteError::Quota { wanted, used, quota }
            if wanted > 4 << 20 && used > 12 << 20 && quota == 14 << 20),
        "{error:?}"
    );
    assert!(error.to_string().contains("store.quota"), "{error}");
    drop(hold);
    store.claim(&new(4), None).unwrap();
    assert!(!is_here(store, held));
    for kept in [pinned, shared, read] {
        assert!(is_here(store, kept));
    }
}

#[test]
fn nothing_goes_for_what_would_not_fit_all_the_same() {
    let stand = with_quota(8);
    let store = stand.store();
    let old = fetched(store, 1, 1_000);
    assert!(store.claim(&new(9), None).is_err());
    assert!(is_here(store, old));
    // A pin or a use made known before a stop counts after it.
    store.claim(&new(7), None).unwrap();
    assert!(!is_here(store, old));
}

#[test]
fn two_that_fit_alone_and_not_together_do_not_both_begin() {
    let stand = with_quota(10);
    let store = stand.store();
    let first = store.claim(&new(6), None).unwrap();
    assert!(matches!(
        store.claim(&new(5), None),
        Err(WriteError::Quota { .. })
    ));
    // What has arrived counts where it lies, and no longer as promised.
    let content = bytes(6 * MIB, 1);
    let fetch = store.fetch(Hash::of(&content), 6 << 20, Target::Store).unwrap();
    first.arrived(6 << 20);
    store.claim(&new(3), None).unwrap();
    fetch.abandon().unwrap();
    drop(first);
    store.claim(&new(9), None).unwrap();
}

#[test]
fn a_copy_that_cannot_fit_is_refused_before_anything_is_copied() {
    let stand = with_quota(4);
    for name in ["a", "b", "c"] {
        stand.write(&format!("tree/{name}"), &bytes(2 * MIB, name.len() as u64));
    }
    let error = stand
        .store()
        .import(&stand.path("tree"), Mode::Copy, &())
        .unwrap_err();
    assert!(
        matches!(error, ImportError::Write(WriteError::Quota { .. })),
        "{error}"
    );
    assert_eq!(stand.store().usage().unwrap().blobs, 0);
    // What is here already takes no room a second time.
    std::fs::remove_file(stand.path("tree/c")).unwrap();
    std::fs::remove_file(stand.path("tree/b")).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    let rested = std::fs::File::open(stand.path("tree/a")).unwrap();
    rested.set_modified(long_ago).unwrap();
    stand.write("tree/b", b"small");
    for _ in 0..2 {
        stand
            .store()
            .import(&stand.path("tree"), Mode::Copy, &())
            .unwrap();
    }
}

#[test]
fn no_disk_is_filled_beyond_its_floor() {
    let stand = Stand::with(Config {
        keep_free: Some(Size::bytes(1 << 60)),
        ..Config::default()
    });
    let site = stand.path("not/yet/there");
    for site in [None, Some(site.as_path())] {
        let error = stand.store().claim(&new(1), site).err().unwrap();
        assert!(
            matches!(error, WriteError::Floor { wanted, keep, .. } if wanted == 1 << 20 && keep == 1 << 60),
            "{error:?}"
        );
        assert!(error.to_string().contains("store.keep_free"), "{error}");
    }
    let mut upload = stand.store().upload().unwrap();
    assert!(matches!(upload.write(b"bytes"), Err(WriteError::Floor { .. })));
    // In place nothing is written but the tree.
    let path = stand.write("file", b"bytes");
    stand.store().import(&path, Mode::InPlace, &()).unwrap();
}

#[test]
fn a_blob_that_cannot_be_synced_is_dropped_and_comes_back_whole() {
    let mut stand = Stand::new();
    let content = bytes(50_000, 5);
    let cid = Cid::blob(Hash::of(&content));
    stand.store().put(cid, &content).unwrap();
    let hex = cid.hash().to_hex();
    std::fs::remove_file(stand.path(&format!("store/data/{}/{hex}", &hex[..2]))).unwrap();
    stand.store().settle().unwrap_err();
    assert_eq!(stand.store().presence(cid.hash()).unwrap(), Presence::Absent);
    stand.store().put(cid, &content).unwrap();
    stand.store().settle().unwrap();
    assert!(is_here(stand.reopen(), cid));
    assert_eq!(stand.store().problem(), None);
}

#[test]
fn what_a_root_takes_is_told_and_what_it_shares_with_others() {
    let stand = Stand::new();
    for (name, seed) in [("one/same", 1), ("one/own", 2), ("two/same", 1)] {
        stand.write(name, &bytes(2 * MIB, seed));
    }
    let [one, two] = ["one", "two"].map(|name| {
        let imported = stand.store().import(&stand.path(name), Mode::Copy, &()).unwrap();
        stand.store().add_root(root(imported.cid, 1)).unwrap();
        imported.cid
    });
    let all = stand.store().measure(None, &()).unwrap();
    assert_eq!(all.len(), 2);
    let of = |cid: Cid| stand.store().measure(Some(cid), &()).unwrap().remove(0);
    let (one, two) = (of(one), of(two));
    assert_eq!((one.blobs, one.missing), (3, 0));
    assert!(one.data > 4 << 20 && one.in_place == 0 && one.metadata > 0);
    let same = 2 << 20..(2 << 20) + 10_000;
    assert!(
        same.contains(&one.shared) && same.contains(&two.shared),
        "{one:?} {two:?}"
    );
    assert!(
        stand
            .store()
            .measure(Some(Cid::blob(Hash::of(b"?"))), &())
            .is_err()
    );
}
