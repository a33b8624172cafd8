//! Blobs that come in piece by piece.
use std::{fs, os::unix::fs::FileExt};

use bytes::Bytes;
use cardume_content::Hash;
use cardume_store::{Presence, ReadError, Target, WriteError};

use crate::stand::{MIB, Stand, bytes, complete, piece, read, slice_of};

fn to_file(stand: &Stand) -> Target {
    Target::File {
        temporary: stand.path("name.part"),
        path: stand.path("name"),
    }
}

#[test]
fn a_blob_of_any_size_is_fetched_to_either_place() {
    for len in [0, 1, 16_384, 16_385, 100_000, MIB, MIB + 1, 5 * MIB + 3] {
        for to_store in [true, false] {
            let mut stand = Stand::new();
            let content = bytes(len, len as u64);
            let hash = Hash::of(&content);
            let target = if to_store { Target::Store } else { to_file(&stand) };
            let fetch = stand.store().fetch(hash, len as u64, target).unwrap();
            complete(&fetch, &content);
            if !to_store {
                fs::rename(stand.path("name.part"), stand.path("name")).unwrap();
            }
            fetch.finish().unwrap();
            assert_eq!(
                stand.store().presence(hash).unwrap(),
                Presence::Complete { size: len as u64 }
            );
            assert_eq!(read(stand.store(), hash), content, "{len} {to_store}");
            assert_eq!(stand.store().settle().unwrap(), 1);
            assert_eq!(stand.store().unsettled(), 0);
            assert_eq!(read(stand.reopen(), hash), content, "{len} {to_store}");
            let partial = fs::read_dir(stand.path("store/partial")).unwrap().count();
            assert_eq!(partial, 0);
        }
    }
}

#[test]
fn verified_pieces_are_served_while_others_are_missing() {
    let stand = Stand::new();
    let content = bytes(3 * MIB, 1);
    let hash = Hash::of(&content);
    let fetch = stand
        .store()
        .fetch(hash, content.len() as u64, Target::Store)
        .unwrap();
    let range = piece(&content, 1);
    assert_eq!(
        fetch
            .write(range.clone(), slice_of(&content, range.clone()))
            .unwrap(),
        MIB as u64
    );
    let mut out = Vec::new();
    stand.store().slice(hash, range.clone(), &mut out).unwrap();
    assert_eq!(out, slice_of(&content, range.clone()));
    assert_eq!(
        stand
            .store()
            .read(hash, range.start + 5..range.start + 9)
            .unwrap(),
        content[MIB + 5..MIB + 9]
    );
    assert!(matches!(
        stand.store().read(hash, 0..1),
        Err(ReadError::NotHeld(_))
    ));
    let Presence::Partial { size, pieces } = stand.store().presence(hash).unwrap() else {
        panic!("partial")
    };
    assert_eq!(
        (size, pieces.iter().collect::<Vec<_>>()),
        (content.len() as u64, vec![1])
    );
    assert!(matches!(fetch.finish(), Err(WriteError::Incomplete)));
}

#[test]
fn a_wrong_slice_is_refused_and_nothing_is_written() {
    let stand = Stand::new();
    let content = bytes(2 * MIB, 2);
    let fetch = stand
        .store()
        .fetch(Hash::of(&content), content.len() as u64, to_file(&stand))
        .unwrap();
    let mut slice = slice_of(&content, piece(&content, 0)).to_vec();
    *slice.last_mut().unwrap() ^= 1;
    let error = fetch.write(piece(&content, 0), Bytes::from(slice)).unwrap_err();
    assert!(matches!(error, WriteError::Slice(_)), "{error}");
    assert!(
        fs::read(stand.path("name.part"))
            .unwrap()
            .iter()
            .all(|byte| *byte == 0)
    );
    assert_eq!(fetch.pieces().count(), 0);
}

#[test]
fn two_who_fetch_the_same_share_one_fetch() {
    let stand = Stand::new();
    let content = bytes(2 * MIB, 3);
    let hash = Hash::of(&content);
    let one = stand
        .store()
        .fetch(hash, content.len() as u64, to_file(&stand))
        .unwrap();
    let two = stand
        .store()
        .fetch(hash, content.len() as u64, Target::Store)
        .unwrap();
    assert_eq!(two.target(), &to_file(&stand));
    one.write(piece(&content, 0), slice_of(&content, piece(&content, 0)))
        .unwrap();
    assert!(two.pieces().contains(0));
}

#[test]
fn writers_of_one_piece_at_the_same_time_bring_it_once() {
    let stand = Stand::new();
    let content = bytes(3 * MIB, 4);
    let size = content.len() as u64;
    let fetch = stand
        .store()
        .fetch(Hash::of(&content), size, to_file(&stand))
        .unwrap();
    let writers = 8;
    let start = std::sync::Barrier::new(writers);
    let written: u64 = std::thread::scope(|scope| {
        let write = || {
            let pieces =
                [0, 1].map(|index| (piece(&content, index), slice_of(&content, piece(&content, index))));
            start.wait();
            pieces
                .map(|(range, slice)| fetch.write(range, slice).unwrap())
                .iter()
                .sum::<u64>()
        };
        let threads: Vec<_> = (0..writers).map(|_| scope.spawn(write)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(written, 2 * MIB as u64);
    assert_eq!(fetch.missing(), 1);
}

#[test]
fn a_fetch_goes_on_where_the_last_one_stopped() {
    for to_store in [true, false] {
        let mut stand = Stand::new();
        let content = bytes(8 * MIB + 5, 4);
        let hash = Hash::of(&content);
        let target = if to_store { Target::Store } else { to_file(&stand) };
        let fetch = stand
            .store()
            .fetch(hash, content.len() as u64, target.clone())
            .unwrap();
        for index in [0, 3, 8] {
            fetch
                .write(piece(&content, index), slice_of(&content, piece(&content, index)))
                .unwrap();
        }
        drop(fetch);
        stand.reopen();
        let store = stand.store();
        assert_eq!(store.presence(hash).unwrap(), Presence::Absent);
        let fetch = store.fetch(hash, content.len() as u64, target).unwrap();
        assert_eq!(fetch.pieces().iter().collect::<Vec<_>>(), [0, 3, 8]);
        complete(&fetch, &content);
        if !to_store {
            fs::rename(stand.path("name.part"), stand.path("name")).unwrap();
        }
        fetch.finish().unwrap();
        assert_eq!(read(stand.store(), hash), content);
    }
}

#[test]
fn damaged_partial_data_is_fetched_again() {
    let mut stand = Stand::new();
    let content = bytes(4 * MIB, 5);
    let hash = Hash::of(&content);
    let fetch = stand
        .store()
        .fetch(hash, content.len() as u64, to_file(&stand))
        .unwrap();
    for index in [0, 1, 2] {
        fetch
            .write(piece(&content, index), slice_of(&content, piece(&content, index)))
            .unwrap();
    }
    let file = fs::File::options()
        .write(true)
        .open(stand.path("name.part"))
        .unwrap();
    file.write_all_at(b"damage", MIB as u64 + 70_000).unwrap();
    // Noticed while the fetch runs,
    assert!(matches!(
        stand.store().read(hash, MIB as u64 + 70_000..MIB as u64 + 70_010),
        Err(ReadError::NotHeld(_))
    ));
    assert_eq!(fetch.pieces().iter().collect::<Vec<_>>(), [0, 2]);
    drop(fetch);
    // and after a restart.
    stand.reopen();
    let fetch = stand
        .store()
        .fetch(hash, content.len() as u64, to_file(&stand))
        .unwrap();
    assert_eq!(fetch.pieces().iter().collect::<Vec<_>>(), [0, 2]);
    complete(&fetch, &content);
    assert_eq!(fs::read(stand.path("name.part")).unwrap(), content);
}

#[test]
fn a_fetch_without_its_tree_starts_again_unless_it_was_complete() {
    let mut stand = Stand::new();
    let content = bytes(4 * MIB, 6);
    let hash = Hash::of(&content);
    let sidecar = format!("store/partial/{}.tree", hash.to_hex());
    let fetch = stand
        .store()
        .fetch(hash, content.len() as u64, Target::Store)
        .unwrap();
    fetch
        .write(piece(&content, 0), slice_of(&content, piece(&content, 0)))
        .unwrap();
    drop(fetch);
    fs::remove_file(stand.path(&sidecar)).unwrap();
    let fetch = stand
        .reopen()
        .fetch(hash, content.len() as u64, Target::Store)
        .unwrap();
    assert_eq!(fetch.pieces().count(), 0);
    complete(&fetch, &content);
    drop(fetch);
    fs::remove_file(stand.path(&sidecar)).unwrap();
    let fetch = stand
        .reopen()
        .fetch(hash, content.len() as u64, Target::Store)
        .unwrap();
    assert!(fetch.pieces().is_full());
    fetch.finish().unwrap();
    assert_eq!(read(stand.store(), hash), content);
}

#[test]
fn what_was_not_settled_is_not_listed_but_proves_itself() {
    for len in [100_000, 3 * MIB] {
        let mut stand = Stand::new();
        let content = bytes(len, 7);
        let hash = Hash::of(&content);
        let fetch = stand.store().fetch(hash, len as u64, to_file(&stand)).unwrap();
        complete(&fetch, &content);
        fs::rename(stand.path("name.part"), stand.path("name")).unwrap();
        fetch.finish().unwrap();
        stand.reopen();
        let store = stand.store();
        assert_eq!(store.presence(hash).unwrap(), Presence::Absent);
        let fetch = store.fetch(hash, len as u64, to_file(&stand)).unwrap();
        assert!(fetch.pieces().is_full());
        fetch.finish().unwrap();
        stand.store().settle().unwrap();
        assert_eq!(read(stand.reopen(), hash), content);
    }
}

#[test]
fn another_file_under_the_last_name_is_not_believed() {
    let stand = Stand::new();
    let content = bytes(100_000, 8);
    stand.write("name", &bytes(100_000, 9));
    let fetch = stand
        .store()
        .fetch(Hash::of(&content), content.len() as u64, to_file(&stand))
        .unwrap();
    assert_eq!(fetch.pieces().count(), 0);
    complete(&fetch, &content);
    assert!(matches!(fetch.finish(), Err(WriteError::Incomplete)));
}

#[test]
fn an_abandoned_fetch_leaves_nothing() {
    let stand = Stand::new();
    let content = bytes(3 * MIB, 10);
    let fetch = stand
        .store()
        .fetch(Hash::of(&content), content.len() as u64, to_file(&stand))
        .unwrap();
    fetch
        .write(piece(&content, 0), slice_of(&content, piece(&content, 0)))
        .unwrap();
    fetch.abandon().unwrap();
    assert!(!stand.path("name.part").exists());
    assert_eq!(fs::read_dir(stand.path("store/partial")).unwrap().count(), 0);
}

#[test]
fn many_blobs_settle_together() {
    let mut stand = Stand::new();
    let contents: Vec<_> = (0..60).map(|seed| bytes(20_000 + seed, seed as u64)).collect();
    for (index, content) in contents.iter().enumerate() {
        let (temporary, path) = (
            stand.path(&format!("{index}.part")),
            stand.path(&index.to_string()),
        );
        let target = if index % 2 == 0 {
            Target::Store
        } else {
            Target::File {
                temporary: temporary.clone(),
                path: path.clone(),
            }
        };
        let fetch = stand
            .store()
            .fetch(Hash::of(content), content.len() as u64, target)
            .unwrap();
        complete(&fetch, content);
        if index % 2 == 1 {
            fs::rename(temporary, path).unwrap();
        }
        fetch.finish().unwrap();
    }
    assert_eq!(stand.store().settle().unwrap(), 60);
    stand.reopen();
    let store = stand.store();
    for content in &contents {
        assert_eq!(&read(store, Hash::of(content)), content);
    }
}
