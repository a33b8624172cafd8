//! Who may have what, as roots say it.
use std::{fs, sync::Arc};

use cardume_content::{Cid, Hash};
use cardume_store::{Imported, Mode, Root, Store, Target};

use crate::stand::{Stand, bytes};

/// What a blob is given to.
#[derive(Debug, PartialEq)]
enum To {
    Everybody,
    These(Vec<String>),
}

fn these(words: &[&str]) -> To {
    To::These(words.iter().map(|word| (*word).to_owned()).collect())
}

fn given(store: &Store, content: &[u8]) -> To {
    to(store.allow(Hash::of(content)))
}

fn to(allow: Option<Arc<[String]>>) -> To {
    allow.map_or(To::Everybody, |words| {
        let mut words = words.to_vec();
        words.sort();
        To::These(words)
    })
}

fn root(imported: &Imported, allow: Option<&[&str]>) -> Root {
    Root {
        cid: imported.cid,
        name: "a name".into(),
        size: imported.size,
        files: imported.files,
        path: None,
        pinned: true,
        announce: false,
        allow: allow.map(|words| words.iter().map(|word| (*word).to_owned()).collect()),
        added: 1,
    }
}

fn import(stand: &Stand, name: &str, guards: bool) -> Imported {
    let store = stand.store().clone();
    let store = if guards { store.guarding() } else { store };
    store.import(&stand.path(name), Mode::InPlace, &()).unwrap()
}

fn share(stand: &Stand, name: &str, allow: Option<&[&str]>) -> Cid {
    let imported = import(stand, name, allow.is_some());
    stand.store().add_root(root(&imported, allow)).unwrap();
    imported.cid
}

#[test]
fn everything_below_a_root_with_a_list_is_for_those_on_it_from_the_first_moment() {
    let mut stand = Stand::new();
    let (small, large) = (bytes(10, 1), bytes(50_000, 2));
    stand.write("films/small", &small);
    stand.write("films/deep/large", &large);
    let imported = import(&stand, "films", true);
    assert_eq!(given(stand.store(), &small), these(&[]), "no root yet, so nobody");
    assert_eq!(to(stand.reopen().allow(imported.cid.hash())), these(&[]));
    stand.store().add_root(root(&imported, Some(&["nas"]))).unwrap();
    for _ in 0..2 {
        for content in [&small, &large] {
            assert_eq!(given(stand.store(), content), these(&["nas"]));
        }
        assert_eq!(to(stand.store().allow(imported.cid.hash())), these(&["nas"]));
        assert_eq!(stand.store().guarded(), 4);
        stand.reopen();
    }
    assert_eq!(given(stand.store(), b"of nobody"), To::Everybody);
}

#[test]
fn what_comes_for_a_root_with_a_list_is_for_those_on_it_before_all_of_it_is_there() {
    let mut stand = Stand::new();
    let (open, small, large) = (bytes(10, 1), bytes(50_000, 2), bytes(3 << 20, 3));
    let blob = |content: &[u8]| Cid::blob(Hash::of(content));
    stand.store().put(blob(&open), &open).unwrap();
    let store = stand.store().guarding_for(blob(&large), vec!["nas".into()]);
    for content in [&open, &small] {
        store.put(blob(content), content).unwrap();
    }
    let coming = store
        .fetch(Hash::of(&large), large.len() as u64, Target::Store)
        .unwrap();
    assert_eq!(given(&store, &large), these(&["nas"]));
    assert_eq!(given(&store, &small), these(&["nas"]));
    assert_eq!(given(&store, &open), To::Everybody, "it was here");
    coming.abandon().unwrap();
    store.settle().unwrap();
    drop(store);
    assert_eq!(given(stand.reopen(), &small), these(&[]), "no root came of it");
    assert_eq!(given(stand.store(), &open), To::Everybody);
    // A root that is there already says who may have it.
    stand.write("film", &large);
    share(&stand, "film", None);
    let store = stand.store().guarding_for(blob(&large), vec!["nas".into()]);
    assert_eq!(given(&store, &large), To::Everybody);
}

#[test]
fn what_is_below_no_root_is_for_those_on_the_lists_that_it_came_by() {
    let mut stand = Stand::new();
    let (open, first, both) = (bytes(10, 1), bytes(50_000, 2), bytes(10, 3));
    let blob = |content: &[u8]| Cid::blob(Hash::of(content));
    stand.store().put(blob(&open), &open).unwrap();
    let [staff, nas] = ["group:staff", "nas"].map(|word| stand.store().guarding_with(vec![word.into()]));
    for content in [&open, &first, &both] {
        staff.put(blob(content), content).unwrap();
    }
    nas.put(blob(&both), &both).unwrap();
    assert_eq!(given(&nas, &open), To::Everybody, "it was here");
    assert_eq!(given(&nas, &first), these(&["group:staff"]));
    assert_eq!(given(&nas, &both), these(&["group:staff", "nas"]));
    let nobody = stand.store().guarding_with(Vec::new());
    nobody.put(blob(b"secret"), b"secret").unwrap();
    assert_eq!(given(&nobody, b"secret"), these(&[]));
    nobody.settle().unwrap();
    drop((staff, nas, nobody));
    for content in [&first, &both] {
        assert_eq!(given(stand.reopen(), content), these(&[]), "the lists have gone");
    }
}

#[test]
fn what_two_roots_hold_is_for_those_of_both_and_for_everybody_if_one_has_no_list() {
    let mut stand = Stand::new();
    let content = bytes(20_000, 1);
    stand.write("one/file", &content);
    stand.write("two/same", &content);
    stand.write("three/again", &content);
    share(&stand, "one", Some(&["nas"]));
    let two = share(&stand, "two", Some(&["group:web"]));
    assert_eq!(given(stand.store(), &content), these(&["group:web", "nas"]));
    let three = share(&stand, "three", None);
    assert_eq!(given(stand.store(), &content), To::Everybody);
    assert_eq!(given(stand.reopen(), &content), To::Everybody);
    stand.store().remove_root(three).unwrap();
    assert_eq!(given(stand.store(), &content), these(&["group:web", "nas"]));
    stand.store().remove_root(two).unwrap();
    assert_eq!(given(stand.store(), &content), these(&["nas"]));
}

#[test]
fn what_everybody_could_have_is_still_everybodys_while_another_root_has_it() {
    let mut stand = Stand::new();
    let content = bytes(20_000, 1);
    stand.write("open/file", &content);
    stand.write("films/file", &content);
    stand.write("films/other", &bytes(20_000, 2));
    let open = share(&stand, "open", None);
    share(&stand, "films", Some(&["nas"]));
    for _ in 0..2 {
        assert_eq!(given(stand.store(), &content), To::Everybody);
        assert_eq!(given(stand.store(), &bytes(20_000, 2)), these(&["nas"]));
        stand.reopen();
    }
    stand.store().remove_root(open).unwrap();
    assert_eq!(given(stand.store(), &content), these(&["nas"]));
}

#[test]
fn what_has_fallen_out_of_its_root_is_nobodys_until_it_is_deleted() {
    let mut stand = Stand::new();
    let (stays, goes) = (bytes(20_000, 1), bytes(20_000, 2));
    stand.write("films/stays", &stays);
    let path = stand.write("films/goes", &goes);
    let before = share(&stand, "films", Some(&["nas"]));
    fs::rename(&path, stand.path("elsewhere")).unwrap();
    share(&stand, "films", Some(&["nas"]));
    assert_eq!(
        given(stand.store(), &goes),
        these(&["nas"]),
        "of the root from before"
    );
    stand.store().remove_root(before).unwrap();
    assert_eq!(given(stand.store(), &goes), these(&[]));
    assert_eq!(given(stand.reopen(), &goes), these(&[]));
    assert_eq!(given(stand.store(), &stays), these(&["nas"]));
    // As an hour does: after an opening nothing is fresh.
    assert!(!stand.store().collect(&()).unwrap().more);
    assert_eq!(
        stand.store().guarded(),
        2,
        "the file that is left, and its directory"
    );
    assert_eq!(stand.reopen().guarded(), 2);
}

#[test]
fn a_list_may_come_change_and_go() {
    let mut stand = Stand::new();
    let content = bytes(20_000, 1);
    stand.write("films/file", &content);
    let cid = share(&stand, "films", None);
    assert_eq!(stand.store().guarded(), 0, "no list costs nothing");
    let lists: [Option<&[&str]>; 4] = [Some(&["nas"]), Some(&[]), Some(&["nas", "web"]), None];
    for list in lists {
        let allow = list.map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        assert!(stand.store().set_allow(cid, allow, true).unwrap());
        let expected = list.map_or(To::Everybody, these);
        assert_eq!(given(stand.store(), &content), expected);
        assert_eq!(given(stand.reopen(), &content), expected);
    }
    assert!(
        !stand
            .store()
            .set_allow(Cid::blob(Hash::of(b"x")), None, true)
            .unwrap()
    );
}

#[test]
fn who_fetches_a_root_with_a_list_does_not_open_it() {
    let stand = Stand::new();
    let content = bytes(20_000, 1);
    stand.write("films/file", &content);
    let imported = import(&stand, "films", true);
    stand
        .store()
        .add_fetched(root(&imported, Some(&["nas"])))
        .unwrap();
    stand.store().add_fetched(root(&imported, None)).unwrap();
    assert_eq!(given(stand.store(), &content), these(&["nas"]));
    stand.store().add_root(root(&imported, Some(&["web"]))).unwrap();
    stand.store().add_fetched(root(&imported, None)).unwrap();
    assert_eq!(given(stand.store(), &content), these(&["web"]));
}
