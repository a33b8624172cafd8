//! `[connect]`: who is dialled and let in, and for how long.

use std::{
    io::{ErrorKind, Read as _},
    net::{TcpListener, TcpStream},
    time::Duration,
};

use cardume_testkit::{
    daemon::{Daemon, status},
    patience::{self, PATIENCE},
};

use crate::{begin, is_connected, start};

/// Longer than any test.
const LATE: &str = "1h";
const SOON: &str = "300ms";

fn with(key: &str, value: &str) -> Daemon {
    start(&[&format!("{key}={value:?}")])
}

#[test]
fn a_connection_of_others_beyond_those_that_may_be_coming_is_not_taken() {
    let (other, node) = (start(&[]), start(&["connect.max_pending_inbound=0"]));
    for tcp in [true, false] {
        let to = node.address(tcp).unwrap();
        let refused = other.run(["peer", "connect", &to]).unwrap();
        assert_ne!(status(&refused), 0);
    }
    assert!(!is_connected(&node, &other));
    // Those that it makes are others.
    node.json(["peer", "connect", &other.address(true).unwrap()])
        .unwrap();
}

#[test]
fn a_dial_that_gets_no_answer_ends_when_its_time_is_over() {
    // Connections are made, and nobody speaks on them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let nobody = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let to = format!("/ip4/127.0.0.1/tcp/{port}/p2p/{nobody}");
    let (late, soon) = (
        with("connect.dial_timeout", LATE),
        with("connect.dial_timeout", SOON),
    );
    let mut waiting = begin(&late, &["peer", "connect", &to]);
    let _held = silent.accept().unwrap();
    let failed = soon.run(["peer", "connect", &to]).unwrap();
    assert_ne!(status(&failed), 0);
    assert!(waiting.try_wait().unwrap().is_none(), "it has time left");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
}

/// Whether a node has hung up; what it says before is passed over.
fn is_over(stream: &mut TcpStream, limit: Duration) -> bool {
    stream.set_read_timeout(Some(limit)).unwrap();
    match std::io::copy(&mut stream.by_ref(), &mut std::io::sink()) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
        Err(error) => {
            assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            );
            false
        }
    }
}

#[test]
fn who_connects_and_does_not_say_who_it_is_has_as_long_as_is_configured() {
    let (late, soon) = (
        with("connect.accept_timeout", LATE),
        with("connect.accept_timeout", SOON),
    );
    let [mut waiting, mut over] = [&late, &soon].map(|node| TcpStream::connect(node.tcp().unwrap()).unwrap());
    assert!(is_over(&mut over, PATIENCE));
    assert!(
        !is_over(&mut waiting, Duration::from_millis(1)),
        "it has time left"
    );
}

#[test]
fn a_connection_that_nobody_uses_ends_when_its_time_is_over() {
    // What speaks on it all the time uses it.
    let silent = ["gossipsub.enabled=false", "kad.enabled=false"];
    let friend = start(&silent);
    let to = friend.address(true).unwrap();
    // A quarter of so few is none: no connection stays for there being few.
    let few = "connect.max_connections=3";
    let [topics, table] = silent;
    let node = |time: &str| start(&[topics, table, few, &format!("connect.idle_timeout={time:?}")]);
    let (late, soon) = (node(LATE), node(SOON));
    for node in [&late, &soon] {
        node.json(["peer", "connect", &to]).unwrap();
    }
    patience::until("it is closed", || Ok(!is_connected(&soon, &friend))).unwrap();
    assert!(is_connected(&late, &friend), "it has time left");
}
