//! What a node is called, where it keeps its state, and how it logs.

use std::{fs, process::Stdio};

use cardume_testkit::{
    daemon::{Home, status},
    patience,
};
use serde_json::Value;

use crate::{home, start};

#[test]
fn a_node_is_called_what_configuration_says() {
    let node = start(&["node.name=\"attic\""]);
    assert_eq!(node.json(["status"]).unwrap()["name"], "attic");
}

#[test]
fn a_node_keeps_its_state_where_configuration_says() {
    let home = home();
    let data = home.path().join("elsewhere");
    let mut command = home.alone();
    command.args(["--set", &format!("node.data_dir={data:?}"), "daemon"]);
    let mut daemon = command.stderr(Stdio::null()).spawn().unwrap();
    // The identity that was made for it.
    patience::until("an identity", || Ok(data.join("identity.key").exists())).unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

/// The first line of a log.
fn first_line(home: Home, setting: &str) -> String {
    let daemon = home.set(setting).start().unwrap();
    let mut line = None;
    patience::until("a line of the log", || {
        line = daemon.log().lines().next().map(str::to_owned);
        Ok(line.is_some())
    })
    .unwrap();
    line.unwrap()
}

#[test]
fn a_line_of_the_log_is_written_as_configuration_says() {
    let json = first_line(home(), "log.format=\"json\"");
    assert!(serde_json::from_str::<Value>(&json).unwrap().is_object());
    let pretty = first_line(home(), "log.format=\"pretty\"");
    assert!(serde_json::from_str::<Value>(&pretty).is_err(), "{pretty}");
    assert!(pretty.contains("INFO"), "{pretty}");
}

#[test]
fn networks_of_other_names_never_mix() {
    let (main, yard) = (start(&[]), start(&["network.id=\"yard\""]));
    fs::write(main.path().join("note"), "for main").unwrap();
    let shared = main.json(["share", "note"]).unwrap();
    let link = shared["link"].as_str().unwrap();
    let get = ["get", "--timeout", "2s", link, "-o", "note"];
    assert_ne!(status(&yard.run(get).unwrap()), 0);
    assert!(!yard.path().join("note").exists());
    start(&[]).json(get).unwrap();
}
