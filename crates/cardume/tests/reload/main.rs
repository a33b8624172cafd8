//! A configuration that changes while daemons run.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

mod limits;
mod sections;
mod tables;

use std::{fs, process::Stdio};

use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    files::random_file,
    patience,
};
use rustix::process::Signal;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

/// A daemon with its configuration in a file.
fn start(text: &str) -> Daemon {
    let home = Home::new(PROGRAM).unwrap();
    write(home.path(), text);
    let config = home.path().join("cardume.toml");
    home.config(config).start().unwrap()
}

fn write(home: &std::path::Path, text: &str) {
    fs::write(home.join("cardume.toml"), text).unwrap();
}

fn upload(daemon: &Daemon) -> Value {
    daemon.json(["net", "rates"]).unwrap()["limits"]["upload"].clone()
}

#[test]
fn a_reload_applies_what_it_can_tells_the_rest_and_keeps_connections() {
    let daemon = start("[rates]\nupload = \"1MB/s\"\n");
    let other = Home::new(PROGRAM).unwrap().set("log.level=\"debug\"");
    let other = other.start().unwrap();
    let address = other.address(true).unwrap();
    daemon.json(["peer", "connect", &address]).unwrap();

    let unchanged = daemon.run(["config", "plan", "--exit-code"]).unwrap();
    assert_eq!(status(&unchanged), 0, "{}", error(&unchanged));

    write(
        daemon.path(),
        "[rates]\nupload = \"2MB/s\"\n[log]\nlevel = \"debug\"\n[store]\nin_place = false\n",
    );
    let planned = daemon.run(["config", "plan", "--exit-code", "--json"]).unwrap();
    assert_eq!(status(&planned), 10, "{}", error(&planned));
    let planned: Value = serde_json::from_slice(&planned.stdout).unwrap();
    let changes = planned["changes"].as_array().unwrap().iter();
    let told: Vec<_> = changes
        .map(|change| {
            (
                change["key"].as_str().unwrap(),
                change["applies"].as_str().unwrap(),
            )
        })
        .collect();
    let all = [
        ("log.level", "live"),
        ("rates.upload", "live"),
        ("store.in_place", "restart"),
    ];
    assert_eq!(told, all);
    assert_eq!(upload(&daemon), 1_000_000, "a plan changes nothing");

    let reloaded = daemon.json(["reload"]).unwrap();
    assert_eq!(reloaded, planned);
    assert_eq!(upload(&daemon), 2_000_000);
    let running = daemon.json(["status"]).unwrap();
    assert_eq!(
        running["config"]["waiting"],
        serde_json::json!(["store.in_place"])
    );
    let left = daemon.json(["config", "plan"]).unwrap();
    assert_eq!(left["changes"].as_array().unwrap().len(), 1, "{left}");
    patience::until("the log tells more", || Ok(daemon.log().contains("DEBUG"))).unwrap();
    let connection = daemon.connection(&other.peer_id().unwrap()).unwrap();
    assert!(connection.is_object(), "it is still there");
    let heard = other.log();
    assert!(
        heard.contains("\"connected\"") && !heard.contains("\"disconnected\""),
        "{heard}"
    );
}

#[test]
fn a_transfer_goes_on_over_reloads_on_the_connection_that_it_has() {
    // Who goes is logged at this level.
    let debug = |text: &str| format!("[log]\nlevel = \"debug\"\n{text}");
    let giver = start(&debug("[rates]\nupload = \"2MB/s\"\n"));
    let getter = start(&debug(""));
    random_file(&giver.path().join("a.bin"), 6_000_000, 7).unwrap();
    let shared = giver.json(["share", "a.bin"]).unwrap();
    let link = shared["link"].as_str().unwrap();
    let mut get = getter
        .command()
        .args(["get", link, "-o", "b.bin"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let giver_id = giver.peer_id().unwrap();
    patience::until("content comes in", || {
        let connection = getter.connection(&giver_id)?;
        Ok(connection["received"].as_u64() > Some(0))
    })
    .unwrap();
    let address = giver.connection(&getter.peer_id().unwrap()).unwrap()["address"].clone();

    write(getter.path(), &debug("[rates]\ndownload = \"4MB/s\"\n"));
    getter.json(["reload"]).unwrap();
    write(giver.path(), &debug("[rates]\nuplaod = \"4MB/s\"\n"));
    assert_eq!(status(&giver.run(["reload"]).unwrap()), 78);
    write(giver.path(), &debug("[rates]\nupload = \"4MB/s\"\n"));
    giver.json(["reload"]).unwrap();
    assert!(
        get.try_wait().unwrap().is_none(),
        "the transfer has ended too early"
    );

    let output = patience::output_of(get).unwrap();
    assert_eq!(status(&output), 0, "{}", error(&output));
    let read = |daemon: &Daemon, name| fs::read(daemon.path().join(name)).unwrap();
    assert!(read(&giver, "a.bin") == read(&getter, "b.bin"));
    // On loopback the getter's port is one of the connection's own.
    let after = giver.connection(&getter.peer_id().unwrap()).unwrap();
    assert_eq!(after["address"], address);
    let sent = after["sent"].as_u64().unwrap();
    assert!((6_000_000..6_600_000).contains(&sent), "{sent} bytes sent");
    for daemon in [&giver, &getter] {
        let log = daemon.log();
        assert!(
            log.contains("\"connected\"") && !log.contains("\"disconnected\""),
            "{log}"
        );
    }
}

#[test]
fn a_broken_file_is_told_with_its_place_and_changes_nothing() {
    let daemon = start("[rates]\nupload = \"1MB/s\"\n");
    write(
        daemon.path(),
        "[rates]\nupload = \"2MB/s\"\ndownlaod = \"2MB/s\"\n",
    );
    for command in [&["reload"][..], &["config", "plan", "--exit-code"]] {
        let refused = daemon.run(command).unwrap();
        assert_eq!(status(&refused), 78, "{command:?}: {}", error(&refused));
        assert!(
            error(&refused).contains("cardume.toml:3:1"),
            "{}",
            error(&refused)
        );
    }
    assert_eq!(upload(&daemon), 1_000_000);
    let problem = daemon.json(["status"]).unwrap()["config"]["problem"].clone();
    assert!(
        problem.as_str().unwrap().contains("cardume.toml:3:1"),
        "{problem}"
    );

    daemon.signal(Signal::HUP).unwrap();
    patience::until("a signal tells the place too", || {
        Ok(daemon.log().matches("configuration not reloaded").count() == 2)
    })
    .unwrap();
    assert_eq!(upload(&daemon), 1_000_000);

    write(daemon.path(), "[rates]\nupload = \"3MB/s\"\n");
    daemon.signal(Signal::HUP).unwrap();
    patience::until("a signal reloads", || Ok(upload(&daemon) == 3_000_000)).unwrap();
    assert_eq!(daemon.json(["status"]).unwrap()["config"]["problem"], Value::Null);
}
