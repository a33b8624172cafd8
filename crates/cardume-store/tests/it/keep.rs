//! What is kept, what is collected, and what it may cost.
use std::{fs, path::Path};

use cardume_content::{Cid, Hash};
use cardume_store::{Config, ImportError, Mode, Presence, ReadError, Root, Store, Target, WriteError};
use cardume_units::Size;

use crate::stand::{MIB, Stand, bytes, complete, read};

fn root(cid: Cid) -> Root {
    Root {
        cid,
        name: "a name".into(),
        size: 1,
        files: 1,
        path: None,
        pinned: false,
        announce: true,
        allow: None,
        added: 1_700_000_000,
    }
}

/// Forgets that anything is fresh, as an hour does.
fn collect(stand: &mut Stand) -> cardume_store::Collected {
    stand.store().settle().unwrap();
    stand.reopen().collect(&()).unwrap()
}

fn is_here(store: &Store, hash: Hash) -> bool {
    matches!(store.presence(hash).unwrap(), Presence::Complete { .. })
}

#[test]
fn what_is_put_is_there_at_once_and_durable_once_settled() {
    for len in [0, 5, 16_385, 5 * MIB] {
        let mut stand = Stand::new();
        let content = bytes(len, 1);
        let cid = Cid::blob(Hash::of(&content));
        stand.store().put(cid, &content).unwrap();
        assert_eq!(read(stand.store(), cid.hash()), content);
        assert!(!is_here(stand.reopen(), cid.hash()));
        stand.store().put(cid, &content).unwrap();
        stand.store().settle().unwrap();
        assert_eq!(read(stand.reopen(), cid.hash()), content);
    }
}

#[test]
fn bytes_of_another_id_are_not_taken() {
    let stand = Stand::new();
    let cid = Cid::blob(Hash::of(b"these"));
    assert!(matches!(
        stand.store().put(cid, b"those"),
        Err(WriteError::Mismatch(_))
    ));
}

#[test]
fn an_upload_of_any_length_has_its_hash() {
    for len in [0, 10, 16_384, 16_385, 5 * MIB] {
        let mut stand = Stand::new();
        let content = bytes(len, 2);
        let mut upload = stand.store().upload().unwrap();
        for chunk in content.chunks(10_000) {
            upload.write(chunk).unwrap();
        }
        assert_eq!(upload.finish().unwrap(), (Hash::of(&content), len as u64));
        stand.store().settle().unwrap();
        assert_eq!(read(stand.reopen(), Hash::of(&content)), content);
        assert_eq!(fs::read_dir(stand.path("store/tmp")).unwrap().count(), 0);
    }
}

#[test]
fn roots_are_kept_pinned_and_forgotten() {
    let mut stand = Stand::new();
    let cid = Cid::directory(Hash::of(b"x"));
    let mut kept = root(cid);
    kept.path = Some("/some/where".into());
    stand.store().add_root(kept.clone()).unwrap();
    assert!(stand.store().pin(cid, true).unwrap());
    kept.pinned = true;
    assert_eq!(stand.reopen().roots().unwrap(), [kept.clone()]);
    assert_eq!(stand.store().root(cid).unwrap(), Some(kept));
    assert!(stand.store().remove_root(cid).unwrap());
    assert!(!stand.store().remove_root(cid).unwrap());
    assert!(!stand.store().pin(cid, true).unwrap());
    assert!(stand.store().roots().unwrap().is_empty());
}

#[test]
fn a_collection_takes_what_no_root_holds() {
    let stand = Stand::new();
    for name in ["small", "medium", "large"] {
        let len = match name {
            "small" => 10,
            "medium" => 50_000,
            _ => 6 * MIB,
        };
        stand.write(&format!("kept/deep/{name}"), &bytes(len, 1));
        stand.write(&format!("gone/deep/{name}"), &bytes(len, 2));
    }
    let kept = stand
        .store()
        .import(&stand.path("kept"), Mode::Copy, &())
        .unwrap();
    let gone = stand
        .store()
        .import(&stand.path("gone"), Mode::Copy, &())
        .unwrap();
    stand.store().add_root(root(kept.cid)).unwrap();
    stand.store().add_root(root(gone.cid)).unwrap();
    stand.store().remove_root(gone.cid).unwrap();
    let before = stand.store().usage().unwrap();
    let collected = stand.store().collect(&()).unwrap();
    assert_eq!((collected.blobs, collected.more), (5, false));
    let after = stand.store().usage().unwrap();
    assert_eq!(after.blobs, 5);
    assert!(before.content - after.content > 6 * MIB as u64);
    assert!(collected.bytes >= before.content - after.content);
    assert!(
        stand
            .store()
            .verify(Some(kept.cid), &())
            .unwrap()
            .broken
            .is_empty()
    );
    assert!(!is_here(stand.store(), gone.cid.hash()));
    assert_eq!(
        stand.store().collect(&()).unwrap(),
        cardume_store::Collected::default()
    );
}

#[test]
fn a_collection_leaves_what_is_fresh_held_or_pending() {
    let mut stand = Stand::new();
    let content = bytes(50_000, 3);
    let cid = Cid::blob(Hash::of(&content));
    stand.store().put(cid, &content).unwrap();
    assert_eq!(stand.store().collect(&()).unwrap().blobs, 0);
    stand.store().settle().unwrap();
    assert_eq!(stand.store().collect(&()).unwrap().blobs, 0);
    let hold = stand.reopen().hold(cid);
    assert_eq!(stand.store().collect(&()).unwrap().blobs, 0);
    drop(hold);
    assert_eq!(stand.store().collect(&()).unwrap().blobs, 1);
}

#[test]
fn files_in_place_are_never_touched() {
    let mut stand = Stand::new();
    let path = stand.write("file", &bytes(6 * MIB, 4));
    let imported = stand.store().import(&path, Mode::InPlace, &()).unwrap();
    assert_eq!(stand.store().usage().unwrap().in_place, 6 * MIB as u64);
    let collected = collect(&mut stand);
    assert_eq!(collected.blobs, 1);
    assert!(!is_here(stand.store(), imported.cid.hash()));
    assert_eq!(fs::read(&path).unwrap().len(), 6 * MIB);
    assert_eq!(stand.store().usage().unwrap(), cardume_store::Usage::default());
}

#[test]
fn a_collection_finds_files_that_a_stop_has_left() {
    let mut stand = Stand::new();
    let content = bytes(50_000, 5);
    stand
        .store()
        .put(Cid::blob(Hash::of(&content)), &content)
        .unwrap();
    let collected = stand.reopen().collect(&()).unwrap();
    assert_eq!((collected.blobs, collected.bytes), (0, 50_000));
}

#[test]
fn nothing_is_collected_while_a_root_cannot_be_read() {
    let mut stand = Stand::new();
    stand.write("dir/file", &bytes(50_000, 6));
    stand.store().import(&stand.path("dir"), Mode::Copy, &()).unwrap();
    stand
        .reopen()
        .add_root(root(Cid::directory(Hash::of(b"lost"))))
        .unwrap();
    assert!(matches!(
        stand.store().collect(&()),
        Err(WriteError::Read(ReadError::NotFound))
    ));
    assert_eq!(stand.store().usage().unwrap().blobs, 2);
}

fn data_files(directory: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            data_files(&path, files)
        } else {
            files.push(path)
        }
    }
}

#[test]
fn a_damaged_blob_is_reported_and_never_served() {
    for what in ["data", "trees"] {
        let stand = Stand::new();
        stand.write("dir/whole", b"whole");
        stand.write("dir/broken", &bytes(6 * MIB, 7));
        let imported = stand.store().import(&stand.path("dir"), Mode::Copy, &()).unwrap();
        let mut files = Vec::new();
        data_files(&stand.path("store").join(what), &mut files);
        assert_eq!(files.len(), 1);
        let mut damaged = fs::read(&files[0]).unwrap();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        fs::write(&files[0], damaged).unwrap();
        let verified = stand.store().verify(Some(imported.cid), &()).unwrap();
        let hash = Hash::of(&bytes(6 * MIB, 7));
        assert_eq!(
            verified
                .broken
                .iter()
                .map(|broken| broken.cid)
                .collect::<Vec<_>>(),
            [Cid::blob(hash)]
        );
        assert_eq!(verified.blobs, 2);
        assert!(matches!(
            stand.store().read(hash, 0..10),
            Err(ReadError::NotFound)
        ));
        // The next verification says that it is missing.
        assert_eq!(
            stand
                .store()
                .verify(Some(imported.cid), &())
                .unwrap()
                .broken
                .len(),
            1
        );
        // Once it is back, all is well.
        stand
            .store()
            .import(&stand.path("dir/broken"), Mode::Copy, &())
            .unwrap();
        assert!(
            stand
                .store()
                .verify(Some(imported.cid), &())
                .unwrap()
                .broken
                .is_empty()
        );
    }
}

#[test]
fn a_copy_is_verified_and_never_overwrites() {
    let stand = Stand::new();
    for len in [10, 50_000, 9 * MIB] {
        let content = bytes(len, 8);
        let path = stand.write("file", &content);
        let hash = stand
            .store()
            .import(&path, Mode::InPlace, &())
            .unwrap()
            .cid
            .hash();
        let copy = stand.path(&format!("copy{len}"));
        assert_eq!(stand.store().copy_to(hash, &copy).unwrap(), len as u64);
        assert_eq!(fs::read(&copy).unwrap(), content);
        assert!(matches!(
            stand.store().copy_to(hash, &copy),
            Err(WriteError::Io { .. })
        ));
        assert_eq!(fs::read(&copy).unwrap(), content);
        fs::write(&path, b"changed").unwrap();
        let error = stand.store().copy_to(hash, &stand.path("another")).unwrap_err();
        assert!(
            matches!(error, WriteError::Read(ReadError::Changed { .. })),
            "{error}"
        );
        assert!(!stand.path("another").exists());
    }
}

#[test]
fn the_quota_is_kept_before_anything_is_written() {
    let stand = Stand::with(Config {
        quota: Some(Size::mib(4)),
        ..Config::default()
    });
    let large = bytes(5 * MIB, 9);
    let hash = Hash::of(&large);
    assert!(matches!(
        stand.store().fetch(hash, large.len() as u64, Target::Store),
        Err(WriteError::Quota { .. })
    ));
    let path = stand.write("large", &large);
    let error = stand.store().import(&path, Mode::Copy, &()).unwrap_err();
    assert!(
        matches!(error, ImportError::Write(WriteError::Quota { .. })),
        "{error}"
    );
    // In place only the tree counts.
    stand.store().import(&path, Mode::InPlace, &()).unwrap();
    let first = stand
        .store()
        .fetch(Hash::of(&large[..3 * MIB]), 3 * MIB as u64, Target::Store)
        .unwrap();
    // What is promised is taken.
    assert!(matches!(
        stand.store().fetch(Hash::of(b"2"), 2 * MIB as u64, Target::Store),
        Err(WriteError::Quota { .. })
    ));
    first.abandon().unwrap();
    let second = stand
        .store()
        .fetch(Hash::of(&large[..2 * MIB]), 2 * MIB as u64, Target::Store)
        .unwrap();
    complete(&second, &large[..2 * MIB]);
    second.finish().unwrap();
    stand.store().settle().unwrap();
    assert!(stand.store().usage().unwrap().content == 2 * MIB as u64);
    let mut upload = stand.store().upload().unwrap();
    upload.write(&large[..MIB]).unwrap();
    assert!(matches!(
        upload.write(&large[..2 * MIB]),
        Err(WriteError::Quota { .. })
    ));
}

#[test]
fn a_store_of_a_newer_program_is_left_alone() {
    let stand = Stand::new();
    let path = stand.path("newer");
    let database = redb::Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    write
        .open_table(redb::TableDefinition::<&str, u64>::new("store_state"))
        .unwrap()
        .insert("format", 99)
        .unwrap();
    write.commit().unwrap();
    let error = Store::open(&stand.path("other"), database.into(), &Config::default())
        .err()
        .unwrap();
    assert!(
        matches!(error, cardume_store::OpenError::Format { found: 99, .. }),
        "{error}"
    );
    assert!(!stand.path("other").exists());
}
