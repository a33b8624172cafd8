//! Further names instead of copies.
use std::{fs, os::unix::fs::MetadataExt};

use cardume_content::Hash;
use cardume_store::{Mode, Presence};

use crate::stand::{Stand, bytes};

#[test]
fn a_file_that_is_still_what_it_was_gets_a_further_name_and_outlives_the_first() {
    let stand = Stand::new();
    let store = stand.store();
    for (name, len) in [("small", 10_000), ("large", 3 << 20)] {
        let first = stand.write(&format!("one/{name}"), &bytes(len, 1));
        let hash = Hash::of(&bytes(len, 1));
        store.import(&first, Mode::InPlace, &()).unwrap();
        let (second, within) = (stand.path(&format!("{name}-again")), stand.path("one"));
        let none = [
            store.link_to(hash, &stand.path("two"), &second, false).unwrap(),
            store.link_to(hash, &within, &second, true).unwrap(),
            store
                .link_to(Hash::of(b"other"), &within, &second, false)
                .unwrap(),
        ];
        assert!(
            none.iter().all(Option::is_none),
            "elsewhere, of another mode, of another blob"
        );
        assert!(!second.exists());
        let linked = store.link_to(hash, &within, &second, false).unwrap().unwrap();
        let inode = |path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&first), inode(&second));
        let last = stand.path(&format!("{name}-at-last"));
        fs::rename(&second, &last).unwrap();
        store.linked(linked, &last).unwrap();
        store.settle().unwrap();
        store.forget_below(&within).unwrap();
        fs::remove_file(&first).unwrap();
        assert_eq!(
            store.presence(hash).unwrap(),
            Presence::Complete { size: len as u64 }
        );
        assert_eq!(store.read(hash, 0..10).unwrap(), bytes(len, 1)[..10]);
        assert!(store.take_changed().is_empty(), "nobody was told of a change");
        store.forget_below(&last).unwrap();
        assert_eq!(store.presence(hash).unwrap(), Presence::Absent);
    }
}

#[test]
fn a_file_that_was_written_to_gets_none() {
    let stand = Stand::new();
    let store = stand.store();
    let first = stand.write("one/file", &bytes(10_000, 1));
    store.import(&first, Mode::InPlace, &()).unwrap();
    let kept = fs::metadata(&first).unwrap().modified().unwrap();
    // Even if its times say nothing, as long as it may have been written to within the resolution of them.
    fs::write(&first, bytes(10_000, 2)).unwrap();
    fs::File::options()
        .write(true)
        .open(&first)
        .unwrap()
        .set_modified(kept)
        .unwrap();
    let hash = Hash::of(&bytes(10_000, 1));
    let second = stand.path("two");
    assert!(
        store
            .link_to(hash, &stand.path("one"), &second, false)
            .unwrap()
            .is_none()
    );
    assert!(!second.exists());
}
