//! Files and trees taken in, and what comes out again.
use std::{
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use cardume_content::{Cid, Hash, Kind, manifest::Node};
use cardume_store::{ImportError, Mode, Presence, Progress, ReadError};
use proptest::{prelude::ProptestConfig, prop_assert_eq, proptest};

use crate::stand::{MIB, Stand, bytes, read};

fn tree(stand: &Stand, name: &str) -> std::path::PathBuf {
    stand.write(&format!("{name}/a/small"), b"small");
    stand.write(&format!("{name}/a/large"), &bytes(3 * MIB + 17, 1));
    stand.write(&format!("{name}/b/empty"), b"");
    let run = stand.write(&format!("{name}/run"), b"#!/bin/sh\n");
    fs::set_permissions(&run, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(stand.path(name).join("nothing")).unwrap();
    symlink("../run", stand.path(name).join("a/link")).unwrap();
    stand.path(name)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn a_file_of_any_size_is_read_back_as_it_was(
        len in proptest::prop_oneof![0..20_000_usize, 60_000..70_000_usize, 1_000_000..1_100_000_usize, 5_000_000..5_200_000_usize],
        copy in proptest::bool::ANY,
        start in 0..6_000_000_u64,
        count in 0..200_000_u64,
    ) {
        let stand = Stand::new();
        let content = bytes(len, len as u64);
        let path = stand.write("file", &content);
        let mode = if copy { Mode::Copy } else { Mode::InPlace };
        let imported = stand.store().import(&path, mode, &()).unwrap();
        prop_assert_eq!(imported.cid, Cid::blob(Hash::of(&content)));
        prop_assert_eq!((imported.size, imported.files), (len as u64, 1));
        let hash = imported.cid.hash();
        prop_assert_eq!(stand.store().presence(hash).unwrap(), Presence::Complete { size: len as u64 });
        prop_assert_eq!(read(stand.store(), hash), content.clone());
        let part = stand.store().read(hash, start..start + count).unwrap();
        let expected = content.get((start as usize).min(len)..((start + count) as usize).min(len)).unwrap();
        prop_assert_eq!(&part[..], expected);
        prop_assert_eq!(stand.store().verify(None, &()).unwrap().broken.len(), 0);
    }
}

#[test]
fn a_directory_has_one_id_wherever_it_lies() {
    let stand = Stand::new();
    let first = stand
        .store()
        .import(&tree(&stand, "one"), Mode::InPlace, &())
        .unwrap();
    assert_eq!(first.cid.kind(), Kind::Directory);
    assert_eq!((first.files, first.size), (4, 3 * MIB as u64 + 17 + 5 + 10));
    let other = Stand::new();
    let again = other
        .store()
        .import(&tree(&other, "another/place"), Mode::Copy, &())
        .unwrap();
    assert_eq!(again.cid, first.cid);
    let manifest = stand.store().manifest(first.cid).unwrap();
    let names: Vec<_> = manifest
        .entries()
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "nothing", "run"]);
    assert!(matches!(
        manifest.find("run").unwrap().node,
        Node::File { executable: true, .. }
    ));
    let Node::Directory { cid, files: 2, .. } = manifest.find("a").unwrap().node else {
        panic!("a directory")
    };
    let below = stand.store().manifest(cid).unwrap();
    assert_eq!(
        below.find("link").unwrap().node,
        Node::Symlink {
            target: "../run".into()
        }
    );
}

#[test]
fn the_root_may_be_a_symlink() {
    let stand = Stand::new();
    let path = stand.write("file", b"bytes");
    symlink(&path, stand.path("link")).unwrap();
    let imported = stand
        .store()
        .import(&stand.path("link"), Mode::InPlace, &())
        .unwrap();
    assert_eq!(imported.cid, Cid::blob(Hash::of(b"bytes")));
}

#[test]
fn what_cannot_be_shared_is_listed_and_left_out() {
    let stand = Stand::new();
    let plain = stand.write("plain/kept", b"kept");
    let alone = stand
        .store()
        .import(plain.parent().unwrap(), Mode::InPlace, &())
        .unwrap();
    let root = stand.write("dir/kept", b"kept").parent().unwrap().to_owned();
    symlink("../outside", root.join("leaves")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    fs::write(root.join(std::ffi::OsStr::from_bytes(b"not\xffutf8")), b"x").unwrap();
    fs::write(root.join("back\\slash"), b"x").unwrap();
    fs::write(root.join(".film.0123456789ab.cardume-part"), b"x").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let imported = stand.store().import(&root, Mode::InPlace, &()).unwrap();
    assert_eq!(imported.cid, alone.cid);
    let mut skipped: Vec<_> = imported
        .skipped
        .iter()
        .map(|(path, _)| path.file_name().unwrap().to_owned())
        .collect();
    skipped.sort();
    let expected: [&[u8]; 7] = [
        b".film.0123456789ab.cardume-part",
        b"absolute",
        b"back\\slash",
        b"fifo",
        b"leaves",
        b"not\xffutf8",
        b"socket",
    ];
    assert_eq!(
        skipped.iter().map(|name| name.as_bytes()).collect::<Vec<_>>(),
        expected
    );
}

#[test]
fn a_device_is_not_imported() {
    let stand = Stand::new();
    let error = stand
        .store()
        .import(Path::new("/dev/null"), Mode::InPlace, &())
        .unwrap_err();
    assert!(matches!(error, ImportError::Unsupported { .. }), "{error}");
}

fn age(path: &Path) {
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(past)
        .unwrap();
}

#[test]
fn an_unchanged_tree_is_not_read_again() {
    let stand = Stand::new();
    let path = stand.write("dir/file", b"first");
    age(&path);
    let modified = path.metadata().unwrap().modified().unwrap();
    let dir = path.parent().unwrap();
    let first = stand.store().import(dir, Mode::InPlace, &()).unwrap();
    // Only somebody who cheats with the time stamp can tell that the bytes were not looked at.
    fs::write(&path, b"other").unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    assert_eq!(
        stand.store().import(dir, Mode::InPlace, &()).unwrap().cid,
        first.cid
    );
    age(&stand.write("dir/file", b"longer than before"));
    assert_ne!(
        stand.store().import(dir, Mode::InPlace, &()).unwrap().cid,
        first.cid
    );
}

#[test]
fn a_file_just_written_is_read_again() {
    let stand = Stand::new();
    let path = stand.write("file", b"first");
    stand.store().import(&path, Mode::InPlace, &()).unwrap();
    let modified = path.metadata().unwrap().modified().unwrap();
    fs::write(&path, b"other").unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let again = stand.store().import(&path, Mode::InPlace, &()).unwrap();
    assert_eq!(again.cid, Cid::blob(Hash::of(b"other")));
}

#[test]
fn a_changed_file_is_taken_off_the_air() {
    let stand = Stand::new();
    let content = bytes(2 * MIB, 7);
    let path = stand.write("file", &content);
    let hash = stand
        .store()
        .import(&path, Mode::InPlace, &())
        .unwrap()
        .cid
        .hash();
    stand.store().slice(hash, 0..10, &mut Vec::new()).unwrap();
    stand.write("file", &bytes(2 * MIB + 1, 7));
    let mut out = b"before".to_vec();
    let error = stand.store().slice(hash, 0..10, &mut out).unwrap_err();
    assert!(
        matches!(&error, ReadError::Changed { path: found } if *found == path.canonicalize().unwrap()),
        "{error}"
    );
    assert_eq!(out, b"before");
    assert_eq!(stand.store().presence(hash).unwrap(), Presence::Absent);
    let changed = stand.store().take_changed();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].hash, hash);
    assert!(stand.store().take_changed().is_empty());
    assert!(path.exists());
}

#[test]
fn a_change_that_hides_from_the_time_stamp_is_never_served() {
    let stand = Stand::new();
    let mut content = bytes(2 * MIB, 8);
    let path = stand.write("file", &content);
    let modified = path.metadata().unwrap().modified().unwrap();
    let hash = stand
        .store()
        .import(&path, Mode::InPlace, &())
        .unwrap()
        .cid
        .hash();
    content[MIB + 5] ^= 1;
    let file = File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &content, 0).unwrap();
    file.set_modified(modified).unwrap();
    let mut out = Vec::new();
    // What still verifies may be served; what does not, never.
    stand.store().slice(hash, 0..MIB as u64, &mut out).unwrap();
    let error = stand.store().read(hash, MIB as u64..MIB as u64 + 10).unwrap_err();
    assert!(matches!(error, ReadError::Changed { .. }), "{error}");
    assert!(matches!(
        stand.store().read(hash, 0..10),
        Err(ReadError::NotFound)
    ));
}

#[test]
fn a_copy_elsewhere_serves_when_one_has_changed() {
    let stand = Stand::new();
    let content = bytes(100_000, 9);
    let one = stand.write("one", &content);
    let two = stand.write("two", &content);
    let hash = stand.store().import(&one, Mode::InPlace, &()).unwrap().cid.hash();
    stand.store().import(&two, Mode::InPlace, &()).unwrap();
    fs::write(&two, b"changed").unwrap();
    assert_eq!(read(stand.store(), hash), content);
    assert_eq!(stand.store().take_changed().len(), 1);
    fs::remove_file(&one).unwrap();
    assert!(matches!(
        stand.store().read(hash, 0..1),
        Err(ReadError::Changed { .. })
    ));
}

#[test]
fn a_copy_does_not_mind_what_becomes_of_the_original() {
    for len in [10, 100_000, 6 * MIB] {
        let mut stand = Stand::new();
        let content = bytes(len, 10);
        let path = stand.write("file", &content);
        let hash = stand.store().import(&path, Mode::Copy, &()).unwrap().cid.hash();
        fs::remove_file(&path).unwrap();
        assert_eq!(read(stand.reopen(), hash), content);
    }
}

#[test]
fn what_was_imported_is_there_after_a_restart() {
    let mut stand = Stand::new();
    let dir = tree(&stand, "dir");
    let imported = stand.store().import(&dir, Mode::InPlace, &()).unwrap();
    let store = stand.reopen();
    assert_eq!(store.verify(Some(imported.cid), &()).unwrap().broken.len(), 0);
    assert_eq!(
        read(store, Hash::of(&bytes(3 * MIB + 17, 1))),
        bytes(3 * MIB + 17, 1)
    );
}

struct Until(AtomicU64);
impl Progress for Until {
    fn advance(&self, _: u64, files: u64) -> bool {
        self.0.fetch_add(files, Ordering::Relaxed) < 3
    }
}

#[test]
fn an_import_stops_when_told() {
    let stand = Stand::new();
    for index in 0..100 {
        stand.write(&format!("dir/{index}"), format!("{index}").as_bytes());
    }
    let error = stand
        .store()
        .import(&stand.path("dir"), Mode::InPlace, &Until(AtomicU64::new(0)))
        .unwrap_err();
    assert!(matches!(error, ImportError::Cancelled), "{error}");
    let large = stand.write("large", &bytes(40 * MIB, 3));
    let error = stand
        .store()
        .import(&large, Mode::InPlace, &Until(AtomicU64::new(3)))
        .unwrap_err();
    assert!(matches!(error, ImportError::Cancelled), "{error}");
}

#[test]
fn the_store_does_not_take_in_itself() {
    let stand = Stand::new();
    stand.write("dir/file", b"bytes");
    let config = cardume_store::Config::default();
    let database = redb::Database::create(stand.path("other")).unwrap();
    let store = cardume_store::Store::open(&stand.path("dir/store"), database.into(), &config).unwrap();
    let imported = store.import(&stand.path("dir"), Mode::InPlace, &()).unwrap();
    assert_eq!((imported.files, imported.skipped.len()), (1, 1));
}

#[test]
fn the_same_file_many_times_is_one_blob() {
    let mut stand = Stand::new();
    let content = bytes(30_000, 11);
    for index in 0..20 {
        stand.write(&format!("dir/{index}"), &content);
    }
    for mode in [Mode::InPlace, Mode::Copy] {
        stand.store().import(&stand.path("dir"), mode, &()).unwrap();
        assert_eq!(stand.store().usage().unwrap().blobs, 2);
        assert_eq!(fs::read_dir(stand.path("store/tmp")).unwrap().count(), 0);
    }
    fs::remove_dir_all(stand.path("dir")).unwrap();
    assert_eq!(read(stand.reopen(), Hash::of(&content)), content);
}

#[test]
fn a_shared_home_directory_leaves_the_nodes_own_data_and_key_out() {
    let stand = Stand::new();
    stand.write("home/film", b"bytes");
    stand.write("home/.node/identity.key", b"secret");
    let key = stand.write("home/keys/key", b"secret");
    fs::hard_link(&key, stand.path("home/copy of the key")).unwrap();
    let store = stand.store();
    store.keep_private(&stand.path("home/.node")).unwrap();
    store.keep_private(&key).unwrap();
    let imported = store.import(&stand.path("home"), Mode::InPlace, &()).unwrap();
    let manifest = store.manifest(imported.cid).unwrap();
    let names: Vec<_> = manifest
        .entries()
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    assert_eq!(names, ["film", "keys"]);
    assert_eq!((imported.files, imported.skipped.len()), (1, 3));

    symlink(".node", stand.path("home/link")).unwrap();
    for inside in [
        "home/.node",
        "home/.node/identity.key",
        "home/link",
        "home/keys/key",
        "store/tmp",
    ] {
        let error = store
            .import(&stand.path(inside), Mode::Copy, &())
            .unwrap_err()
            .to_string();
        assert!(error.contains("never shared; "), "{error}");
    }
}

#[test]
fn a_link_put_in_the_way_after_the_check_is_not_followed() {
    let stand = Stand::new();
    let secret = stand.write("outside/file", b"secret");
    let inside = stand.write("share/a/b/file", b"bytes");
    let above = stand.path("share").canonicalize().unwrap();
    let path = inside.canonicalize().unwrap();
    let import = |path: &Path| stand.store().import_below(&above, path, Mode::InPlace, &());
    assert_eq!(import(&path).unwrap().cid, Cid::blob(Hash::of(b"bytes")));
    assert_eq!(import(path.parent().unwrap()).unwrap().files, 1);
    assert_eq!(import(&above).unwrap().files, 1);

    fs::rename(stand.path("share/a/b"), stand.path("share/a/moved")).unwrap();
    symlink(secret.parent().unwrap(), stand.path("share/a/b")).unwrap();
    for path in [
        &*path,
        path.parent().unwrap(),
        &secret,
        &above.join("../outside/file"),
    ] {
        assert!(import(path).is_err(), "{path:?}");
    }
}

#[test]
fn a_file_that_was_moved_is_not_hashed_again_and_is_served_from_where_it_is() {
    let stand = Stand::new();
    let content = bytes(3 * MIB, 12);
    let old = stand.write("dir/a/old", &content);
    let stays = stand.write("dir/stays", b"stays");
    age(&old);
    age(&stays);
    let import = || {
        stand
            .store()
            .import(&stand.path("dir"), Mode::InPlace, &())
            .unwrap()
    };
    assert_eq!(import().hashed, 3 * MIB as u64 + 5);
    fs::create_dir(stand.path("dir/b")).unwrap();
    let new = stand.path("dir/b/new");
    fs::rename(&old, &new).unwrap();
    let moved = import();
    assert_eq!((moved.hashed, moved.files), (0, 2));
    assert_eq!(read(stand.store(), Hash::of(&content)), content);
    assert_eq!(stand.store().take_changed(), []);

    // Another name of the same file is the same file.
    fs::hard_link(&new, &old).unwrap();
    assert_eq!(import().hashed, 0);
    fs::remove_file(&new).unwrap();
    assert_eq!(
        (import().hashed, read(stand.store(), Hash::of(&content))),
        (0, content.clone())
    );

    // Two files that change places, equal or not.
    let twin = stand.write("dir/twin", &content);
    age(&twin);
    assert_eq!(import().hashed, 3 * MIB as u64);
    fs::rename(&old, stand.path("dir/aside")).unwrap();
    fs::rename(&twin, &old).unwrap();
    fs::rename(&stays, &twin).unwrap();
    fs::rename(stand.path("dir/aside"), &stays).unwrap();
    let swapped = import();
    assert_eq!((swapped.hashed, swapped.files), (0, 3));
    assert_eq!(read(stand.store(), Hash::of(&content)), content);
    assert_eq!(read(stand.store(), Hash::of(b"stays")), b"stays");
    assert_eq!(stand.store().verify(None, &()).unwrap().broken.len(), 0);
}
