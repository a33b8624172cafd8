//! Everything at once, and a disk with no room.
use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use cardume_content::{Cid, Hash};
use cardume_store::{Config, ImportError, Mode, Store, Target, WriteError};

use crate::stand::{MIB, Stand, bytes, complete, read};

#[test]
fn readers_never_see_wrong_bytes_while_everything_goes_on() {
    let stand = Stand::new();
    let store = stand.store();
    let contents: Vec<_> = (0..40)
        .map(|seed| bytes(1_000 + 3_000 * seed, seed as u64))
        .collect();
    let kept = store.hold(Cid::blob(Hash::of(&contents[0])));
    store
        .put(Cid::blob(Hash::of(&contents[0])), &contents[0])
        .unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for part in 0..3 {
            let (contents, stop) = (&contents, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for content in contents.iter().skip(part).step_by(3) {
                        if let Ok(found) = store.read(Hash::of(content), 0..u64::MAX) {
                            assert!(found == content, "wrong bytes");
                        }
                    }
                    assert_eq!(read(store, Hash::of(&contents[0])), contents[0]);
                }
            });
        }
        let writers: Vec<_> = (0..2)
            .map(|half| {
                let contents = &contents;
                scope.spawn(move || {
                    for _ in 0..2 {
                        for content in contents.iter().skip(half).step_by(2) {
                            let hash = Hash::of(content);
                            let fetch = store.fetch(hash, content.len() as u64, Target::Store).unwrap();
                            complete(&fetch, content);
                            fetch.finish().unwrap();
                            store.put(Cid::blob(hash), content).unwrap();
                            assert_eq!(&read(store, hash), content);
                        }
                        store.settle().unwrap();
                        store.collect(&()).unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    drop(kept);
    assert!(store.verify(None, &()).unwrap().broken.is_empty());
}

/// A file system of a few MiB, gone when this is dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let option = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &option, "tmpfs"])
            .arg(at)
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        eprintln!("SKIPPED: mounting a small file system takes root");
        None
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || thread::panicking());
    }
}

#[test]
fn a_full_disk_is_told_before_anything_comes_and_harms_nothing() {
    let stand = Stand::new();
    let at = stand.path("small");
    let Some(_small) = Small::mount(&at, "16m") else {
        return;
    };
    let database = Arc::new(redb::Database::create(stand.path("other")).unwrap());
    // Without a floor, so that the disk itself has the word.
    let config = Config {
        keep_free: Some(cardume_units::Size::bytes(0)),
        ..Config::default()
    };
    let store = Store::open(&at.join("store"), database, &config).unwrap();
    let kept = bytes(100_000, 1);
    store.put(Cid::blob(Hash::of(&kept)), &kept).unwrap();
    store.settle().unwrap();
    let large = bytes(20 * MIB, 2);
    let hash = Hash::of(&large);
    let error = store
        .fetch(hash, large.len() as u64, Target::Store)
        .err()
        .unwrap();
    assert!(matches!(error, WriteError::Floor { .. }), "{error}");
    let target = Target::File {
        temporary: at.join("name.part"),
        path: at.join("name"),
    };
    let error = store.fetch(hash, large.len() as u64, target).err().unwrap();
    assert!(matches!(error, WriteError::NoSpace { .. }), "{error}");
    assert!(!at.join("name.part").exists());
    let path = stand.write("large", &large);
    let error = store.import(&path, Mode::Copy, &()).unwrap_err();
    assert!(
        matches!(error, ImportError::Write(WriteError::Floor { .. })),
        "{error}"
    );
    let mut upload = store.upload().unwrap();
    let error = large
        .chunks(MIB)
        .find_map(|chunk| upload.write(chunk).err())
        .unwrap();
    assert!(
        matches!(error, WriteError::NoSpace { .. } | WriteError::Floor { .. }),
        "{error}"
    );
    drop(upload);
    // What was there is served, and there is room again.
    assert_eq!(read(&store, Hash::of(&kept)), kept);
    let content = &large[..8 * MIB];
    let fetch = store
        .fetch(Hash::of(content), content.len() as u64, Target::Store)
        .unwrap();
    complete(&fetch, content);
    fetch.finish().unwrap();
    store.settle().unwrap();
    assert!(store.verify(None, &()).unwrap().broken.is_empty());
}

#[test]
fn many_files_are_served_with_few_descriptors() {
    let stand = Stand::new();
    for index in 0..300 {
        stand.write(&format!("dir/{index}"), format!("file {index}").as_bytes());
    }
    stand
        .store()
        .import(&stand.path("dir"), Mode::InPlace, &())
        .unwrap();
    let root = stand.dir.path().canonicalize().unwrap();
    let open = || {
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
        let files = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.ok()?.path()).ok());
        files.filter(|file| file.starts_with(&root)).count()
    };
    let before = open();
    for index in 0..300 {
        let content = format!("file {index}");
        assert_eq!(
            read(stand.store(), Hash::of(content.as_bytes())),
            content.as_bytes()
        );
    }
    assert!(open() <= before + 64, "{} {}", before, open());
}
