//! What configuration names comes and goes while daemons run.
use std::fs;

use cardume_testkit::{
    daemon::{Daemon, status},
    patience,
};
use serde_json::{Value, json};

use super::{start, write};

pub(super) const QUIET: &str = "[mdns]\nenabled = false\n";

/// Has a daemon go by QUIET and `text` from now on, without a restart.
pub(super) fn reload(daemon: &Daemon, text: &str) {
    write(daemon.path(), &format!("{QUIET}{text}"));
    let plan = daemon.json(["reload"]).unwrap();
    assert_eq!(plan["restart"], false, "{plan}");
    let left = daemon.json(["config", "plan"]).unwrap();
    assert_eq!(left["changed"], false, "{left}");
}

pub(super) fn peer(name: &str, of: &Daemon) -> String {
    let (id, address) = (of.peer_id().unwrap(), of.address(true).unwrap());
    format!("[peer.{name}]\nid = {id:?}\naddresses = [{address:?}]\nkeep = true\n")
}

fn is_connected(daemon: &Daemon, to: &Daemon) -> bool {
    daemon.connection(&to.peer_id().unwrap()).unwrap().is_object()
}

fn share(daemon: &Daemon, name: &str, more: &str) -> String {
    let path = daemon.path().join(name);
    format!("[share.{name}]\npath = {path:?}\nsettle = \"50ms\"\n{more}\n")
}

/// Waits for a share, and tells its id.
fn shared(daemon: &Daemon, name: &str) -> String {
    let mut cid = String::new();
    patience::until("it is shared", || {
        let shares = daemon.json(["status"])?["shares"].clone();
        let share = shares
            .as_array()
            .into_iter()
            .flatten()
            .find(|share| share["name"] == name);
        let found = share.filter(|share| share["state"] == "shared");
        cid = found
            .and_then(|share| share["cid"].as_str())
            .unwrap_or_default()
            .to_owned();
        Ok(!cid.is_empty())
    })
    .unwrap();
    cid
}

fn get(daemon: &Daemon, cid: &str) -> i32 {
    let got = daemon
        .run(["get", "--timeout", "2s", "--force", cid, "-o", "got"])
        .unwrap();
    status(&got)
}

#[test]
fn peers_shares_and_fetches_come_and_go() {
    let (giver, taker) = (start(QUIET), start(QUIET));
    for name in ["one", "two", "three"] {
        fs::write(giver.path().join(name), name).unwrap();
    }
    let one = share(&giver, "one", "");
    reload(&giver, &one);
    let cid = shared(&giver, "one");

    let known = peer("giver", &giver);
    reload(&taker, &known);
    patience::until("a new peer is kept", || Ok(is_connected(&taker, &giver))).unwrap();
    let to = taker.path().join("fetched");
    reload(
        &taker,
        &format!("{known}[fetch.one]\nfrom = {cid:?}\nto = {to:?}\n"),
    );
    patience::until("what is wanted comes", || Ok(to.exists())).unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), "one");

    // The list of a share, by a name that is given in the same moment.
    let friend = |daemon: &Daemon| format!("[peer.friend]\nid = {:?}\n", daemon.peer_id().unwrap());
    let listed = ["two", "three"].map(|name| share(&giver, name, "allow = [\"friend\"]"));
    let listed = format!("{one}{}{}", listed[0], listed[1]);
    reload(&giver, &format!("{}{listed}", friend(&taker)));
    let [two, three] = ["two", "three"].map(|name| shared(&giver, name));
    assert_eq!(get(&taker, &two), 0);
    let other = start(QUIET);
    reload(&giver, &format!("{}{listed}", friend(&other)));
    assert_eq!(get(&taker, &three), 4, "the name is another's now");
    reload(&giver, &format!("{one}{}", share(&giver, "three", "")));
    assert_eq!(get(&taker, &three), 0, "the list has gone");

    // What goes is no longer there; what was fetched stays.
    reload(&giver, "");
    patience::until("it is shared no more", || {
        Ok(giver.json(["status"])?["shares"] == json!([]))
    })
    .unwrap();
    patience::until("it is forgotten", || {
        Ok(giver.run(["--json", "file", "ls"])?.stdout.is_empty())
    })
    .unwrap();
    assert!(
        is_connected(&taker, &giver),
        "it is the same connection all the time"
    );
    reload(&taker, "");
    patience::until("nothing is wanted", || {
        let wanted = taker.json(["status"])?["wanted"].clone();
        Ok(wanted == Value::Null || wanted == json!([]))
    })
    .unwrap();
    assert!(to.exists() && is_connected(&taker, &giver));
}

#[test]
fn a_channel_is_published_and_followed_from_a_reload_on() {
    let (publisher, follower) = (start(QUIET), start(QUIET));
    let site = publisher.path().join("site");
    fs::write(&site, "first").unwrap();
    reload(
        &publisher,
        &format!("[publish.site]\npath = {site:?}\nsettle = \"50ms\"\n"),
    );
    let mut channel = String::new();
    patience::until("it is published", || {
        let listed = publisher.json(["channel", "ls"])?;
        channel = listed["channel"].as_str().unwrap_or_default().to_owned();
        Ok(listed["number"] == 1)
    })
    .unwrap();

    let (known, to) = (peer("publisher", &publisher), follower.path().join("site"));
    reload(
        &follower,
        &format!("{known}[follow.site]\nchannel = {channel:?}\nto = {to:?}\npoll = \"1s\"\n"),
    );
    let reads = |text: &'static str| {
        let to = &to;
        move || Ok(fs::read_to_string(to).is_ok_and(|found| found == text))
    };
    patience::until("it is followed", reads("first")).unwrap();
    fs::remove_file(&site).unwrap();
    fs::write(&site, "second").unwrap();
    patience::until("it moves", reads("second")).unwrap();

    reload(&follower, &known);
    let listed = follower.run(["--json", "channel", "follow"]).unwrap();
    assert!(
        listed.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&listed.stdout)
    );
    assert_eq!(fs::read_to_string(&to).unwrap(), "second");
}

#[test]
fn a_peer_that_is_listed_no_more_is_parted_from() {
    let guest = start(QUIET);
    let listed = "[network]\naccess = \"listed\"\n";
    let host = start(&format!("{QUIET}{listed}"));
    reload(
        &host,
        &format!("{listed}[peer.guest]\nid = {:?}\n", guest.peer_id().unwrap()),
    );
    reload(&guest, &peer("host", &host));
    patience::until("the guest is in", || Ok(is_connected(&host, &guest))).unwrap();
    reload(&host, listed);
    patience::until("the guest is out", || Ok(!is_connected(&host, &guest))).unwrap();
    // It may take itself for connected until it hears otherwise.
    guest
        .run(["peer", "connect", &host.address(true).unwrap()])
        .unwrap();
    assert!(!is_connected(&host, &guest), "and stays out");
}

#[test]
fn topics_are_delivered_and_kept_to_their_lists_from_a_reload_on() {
    let (publisher, reader) = (start(QUIET), start(QUIET));
    let spool = reader.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let delivered = format!("[topic.news.deliver.spool]\ndirectory = {spool:?}\n");
    let known = peer("publisher", &publisher);
    reload(&reader, &format!("{known}{delivered}"));

    // Written down there, in the end: until somebody reads it, a message is for nobody.
    let publish = |text: &str| status(&publisher.run(["topic", "pub", "news", text]).unwrap());
    let arrives = |text: &'static str| {
        let spool = &spool;
        move || {
            let files = fs::read_dir(spool).into_iter().flatten().flatten();
            let mut texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
            Ok(texts.any(|found| found.contains(text)))
        }
    };
    patience::until("somebody reads", || Ok(publish("first") == 0)).unwrap();
    patience::until("the first is there", arrives("first")).unwrap();

    let friend = |of: &Daemon| {
        let list = "[topic.news]\nsubscribers = [\"friend\"]\n";
        format!("{list}[peer.friend]\nid = {:?}\n", of.peer_id().unwrap())
    };
    let other = start(QUIET);
    reload(&publisher, &friend(&other));
    patience::until("it is no longer for the reader", || Ok(publish("second") == 4)).unwrap();
    patience::until("which comes back", || Ok(is_connected(&publisher, &reader))).unwrap();
    assert_eq!(publish("second"), 4, "and may still not have it");
    reload(&publisher, &friend(&reader));
    patience::until("it is for the reader again", || Ok(publish("third") == 0)).unwrap();
    patience::until("the third is there", arrives("third")).unwrap();
    assert!(!arrives("second")().unwrap());

    reload(&reader, &known);
    let listed = reader.json(["topic", "ls"]).unwrap_or_default();
    assert_eq!(listed["deliveries"].as_array().map_or(0, Vec::len), 0, "{listed}");
}
