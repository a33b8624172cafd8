//! Where content comes from, who is told of it, and how it is kept.

use std::fs;

use cardume_content::{Cid, Hash};
use cardume_testkit::{
    daemon::{Daemon, status},
    files::random_file,
    patience,
    web::Web,
};

use crate::{bootstrap, home, is_connected, start};

const SIZE: u64 = 3 << 20;

fn share(daemon: &Daemon, name: &str) -> String {
    random_file(&daemon.path().join(name), SIZE, 7).unwrap();
    let shared = daemon.json(["share", name]).unwrap();
    shared["cid"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_shared_is_copied_where_it_may_not_stay_in_its_place() {
    let (copying, usual) = (start(&["store.in_place=false"]), start(&[]));
    for (node, data, in_place) in [(&copying, SIZE, 0), (&usual, 0, SIZE)] {
        share(node, "film");
        let du = node.json(["file", "du"]).unwrap();
        assert_eq!(
            (&du["data"], &du["in_place"]),
            (&data.into(), &in_place.into()),
            "{du}"
        );
    }
}

#[test]
fn no_web_server_is_asked_where_they_are_switched_off() {
    let web = Web::start().unwrap();
    let content = b"on the web".repeat(1_000);
    web.put("/x", content.clone());
    let link = format!("cardume:{}?w={}", Cid::blob(Hash::of(&content)), web.url("/x"));
    let trusting = format!("origin.ca_file={:?}", web.authority());
    let get = |enabled: &str| {
        let node = start(&[&trusting, "origin.patience=\"100ms\"", enabled]);
        let got = node.run(["get", "--timeout", "2s", &link, "-o", "got"]).unwrap();
        status(&got)
    };
    assert_eq!(get("origin.enabled=false"), 4);
    assert_eq!(web.requests(), 0);
    assert_eq!(get("origin.enabled=true"), 0);
}

#[test]
fn a_node_without_a_hash_table_is_in_that_of_nobody_and_asks_nobody() {
    let peers = |daemon: &Daemon| daemon.json(["net", "kad", "status"]).unwrap()["peers"].clone();
    let (usual, off) = (start(&[]), start(&["kad.enabled=false"]));
    let cid = share(&off, "film");
    for args in [&["net", "kad", "status"][..], &["net", "kad", "providers", &cid]] {
        assert_ne!(status(&off.run(args).unwrap()), 0, "{args:?}");
    }
    off.json(["peer", "connect", &usual.address(true).unwrap()])
        .unwrap();
    // Who comes later is taken in.
    let other = home().set(bootstrap(&usual)).start().unwrap();
    patience::until("the other is in the table", || Ok(peers(&usual) == 1)).unwrap();
    assert!(is_connected(&usual, &off) && is_connected(&usual, &other));
    patience::until("and it has the other in its own", || Ok(peers(&other) == 1)).unwrap();
}

#[test]
fn announcements_of_those_on_the_list_are_kept_and_no_others() {
    let (friend, stranger) = (start(&[]), start(&[]));
    let keeper = home()
        .set(format!("peer.friend.id={:?}", friend.peer_id().unwrap()))
        .set("kad.allow=[\"friend\"]")
        .start()
        .unwrap();
    let to = keeper.address(true).unwrap();
    let mut cids = Vec::new();
    for (node, name) in [(&friend, "mine"), (&stranger, "film")] {
        random_file(&node.path().join(name), 1_000, cids.len() as u64).unwrap();
        let shared = node.json(["share", name]).unwrap();
        cids.push(shared["cid"].as_str().unwrap().to_owned());
        node.json(["peer", "connect", &to]).unwrap();
    }
    patience::until("the stranger is denied", || {
        Ok(keeper.json(["status"])?["denied"]["record"].as_u64() > Some(0))
    })
    .unwrap();
    patience::until("the friend is not", || {
        let found = keeper.run(["--json", "net", "kad", "providers", &cids[0]])?;
        Ok(String::from_utf8_lossy(&found.stdout).contains(&friend.peer_id()?))
    })
    .unwrap();
    fs::remove_file(friend.path().join("mine")).unwrap();
}
