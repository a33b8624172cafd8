//! How commands end when there is no daemon, or something else in its place.
use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
};

use cardume_testkit::{
    daemon::{error, status},
    patience,
};

use crate::home;

/// Every command that needs a daemon, with arguments that make sense.
const NEEDING: [&[&str]; 29] = [
    &["status"],
    &["stop"],
    &["events"],
    &["log"],
    &["log", "-f"],
    &["file", "ls"],
    &["file", "cat", UNKNOWN],
    &["file", "stat", UNKNOWN],
    &["file", "verify"],
    &["file", "rm", UNKNOWN],
    &["file", "pin", UNKNOWN],
    &["file", "unpin", UNKNOWN],
    &["peer", "ls"],
    &["peer", "ls", "--blocked"],
    &["peer", "show", PEER],
    &["peer", "connect", PEER],
    &["peer", "disconnect", PEER],
    &["peer", "ping", PEER],
    &["peer", "block", PEER],
    &["peer", "unblock", PEER],
    &["net", "addrs"],
    &["net", "kad", "status"],
    &["net", "kad", "find-peer", PEER],
    &["net", "kad", "providers", UNKNOWN],
    &["net", "kad", "provide", UNKNOWN],
    &["net", "kad", "get", "key"],
    &["net", "kad", "put", "key", "value"],
    // These run a node themselves when nobody names a daemon; here one is named.
    &["get", UNKNOWN, "-o", "x"],
    &["share", "."],
];
/// 64 times `a`, as BLAKE3.
const UNKNOWN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const PEER: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

#[test]
fn every_command_says_that_there_is_no_daemon() {
    let home = home();
    // A socket that a killed daemon has left behind.
    drop(UnixListener::bind(home.path().join("dead")).unwrap());
    let api = format!("unix://{}", home.path().join("dead").display());
    for command in NEEDING {
        let arguments = ["--api", &api].into_iter().chain(command.iter().copied());
        let output = home.run(arguments).unwrap();
        assert_eq!(status(&output), 3, "{command:?}: {}", error(&output));
        assert!(
            error(&output).contains("cardume daemon"),
            "{command:?}: {}",
            error(&output)
        );
        assert!(output.stdout.is_empty(), "{command:?}");
    }
}

/// Answers every call with the same bytes.
fn answering(answer: &'static str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(directory.path().join("s")).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            // Nobody is left to tell when the caller has gone.
            let _ = stream
                .read(&mut head)
                .and_then(|_| stream.write_all(answer.as_bytes()));
        }
    });
    let api = format!("unix://{}", directory.path().join("s").display());
    (directory, api)
}

#[test]
fn something_else_that_answers_is_no_daemon() {
    let home = home();
    for answer in [
        "220 mail.example.org ESMTP\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>",
        "HTTP/1.1 500 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "",
    ] {
        let (_directory, api) = answering(answer);
        let output = patience::output(home.command().args(["--api", &api, "status"])).unwrap();
        assert_eq!(status(&output), 1, "{answer:?}: {}", error(&output));
        assert!(
            error(&output).contains("daemon"),
            "{answer:?}: {}",
            error(&output)
        );
    }
}

#[test]
fn a_daemon_of_another_version_is_told_of_to_who_asks() {
    let home = home();
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\nconnection: close\r\n\r\n\
                  {\"version\":\"99.0.0\"} ";
    let (_directory, api) = answering(answer);
    let output = patience::output(home.command().args(["--api", &api, "-v", "status"])).unwrap();
    assert_eq!(status(&output), 1, "{}", error(&output));
    let said = error(&output);
    assert!(said.contains("the daemon is cardume 99.0.0"), "{said}");
    assert!(said.contains("makes no sense"), "{said}");
}
