//! `[follow.*]` and `[publish.*]`: how often is looked, what is kept, and how long is waited.

use std::{fs, path::Path};

use cardume_testkit::{
    daemon::{Daemon, Home},
    patience::until,
};
use serde_json::{Value, json};

use crate::{bootstrap, home, start};

/// A publisher of the channel `app`; its id.
fn publisher(settings: &[&str]) -> (Daemon, String) {
    let daemon = start(settings);
    let made = daemon.json(["channel", "create", "app"]).unwrap();
    let id = made["channel"].as_str().unwrap().to_owned();
    publish(&daemon, 1);
    (daemon, id)
}

fn publish(daemon: &Daemon, version: u64) {
    fs::write(daemon.path().join("build"), version.to_string()).unwrap();
    let published = daemon.json(["channel", "publish", "app", "build"]).unwrap();
    assert_eq!(published["number"], version);
}

/// A node that is to follow the channel.
fn follower(publisher: &Daemon, id: &str) -> Home {
    let home = home();
    let to = home.path().join("app");
    home.set(bootstrap(publisher))
        .set(format!("follow.app.channel={id:?}"))
        .set(format!("follow.app.to={to:?}"))
        .set("follow.app.poll=\"1s\"")
}

/// Waits until a follow stands as it is to.
fn stands(daemon: &Daemon, what: &str, so: impl Fn(&Value) -> bool) {
    let mut row = Value::Null;
    let waited = until(what, || {
        row = daemon.json(["channel", "follow", "app"])?;
        Ok(so(&row))
    });
    waited.unwrap_or_else(|error| panic!("{error}: {row}"));
}

fn is_present(version: u64) -> impl Fn(&Value) -> bool {
    move |row| row["present"] == version && row["state"] == "present"
}

#[test]
fn as_many_old_versions_are_kept_as_is_configured() {
    let (publisher, id) = publisher(&[]);
    let nothing = follower(&publisher, &id)
        .set("follow.app.keep=0")
        .start()
        .unwrap();
    let usual = follower(&publisher, &id).start().unwrap();
    for node in [&nothing, &usual] {
        stands(node, "the first", is_present(1));
    }
    publish(&publisher, 2);
    stands(&nothing, "the second alone", |row| {
        is_present(2)(row) && row["versions"] == json!([2])
    });
    stands(&usual, "both", |row| {
        is_present(2)(row) && row["versions"] == json!([1, 2])
    });
}

#[test]
fn a_newer_version_is_looked_for_as_often_as_is_configured() {
    // Without topics nobody tells of it.
    let alone = "gossipsub.enabled=false";
    let (publisher, id) = publisher(&[alone]);
    let often = follower(&publisher, &id).set(alone).start().unwrap();
    let seldom = follower(&publisher, &id).set(alone).set("follow.app.poll=\"1h\"");
    let seldom = seldom.start().unwrap();
    for node in [&seldom, &often] {
        stands(node, "the first", is_present(1));
    }
    publish(&publisher, 2);
    stands(&often, "the second", is_present(2));
    assert_eq!(
        seldom.json(["channel", "follow", "app"]).unwrap()["present"],
        1,
        "it has not looked yet"
    );
}

#[test]
fn a_program_that_takes_longer_than_is_configured_is_ended() {
    let (publisher, id) = publisher(&[]);
    let follower = follower(&publisher, &id)
        .set("follow.app.on_update=[\"/bin/sleep\", \"1000\"]")
        .set("follow.app.timeout=\"200ms\"")
        .start()
        .unwrap();
    stands(&follower, "the problem", |row| {
        row["problem"]
            .as_str()
            .is_some_and(|problem| problem.starts_with("on_update: "))
    });
}

/// Puts another file in the place of one, in one step.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn what_has_changed_is_published_when_it_has_rested_for_as_long_as_is_configured() {
    let home = home();
    let [slow, fast] = ["slow", "fast"].map(|name| home.path().join(name));
    for path in [&slow, &fast] {
        fs::write(path, "one").unwrap();
    }
    let publisher = home
        .set(format!("publish.slow.path={slow:?}"))
        .set("publish.slow.settle=\"1h\"")
        .set(format!("publish.fast.path={fast:?}"))
        .set("publish.fast.settle=\"100ms\"")
        .start()
        .unwrap();
    let newest = |name: &str| {
        let shown = publisher.json(["channel", "show", name]).unwrap_or_default();
        shown["number"].as_u64()
    };
    for name in ["slow", "fast"] {
        until("the first version", || Ok(newest(name) == Some(1))).unwrap();
    }
    replace(&slow, "two");
    replace(&fast, "two");
    until("the second version", || Ok(newest("fast") == Some(2))).unwrap();
    assert_eq!(newest("slow"), Some(1), "it has not rested for so long");
}
