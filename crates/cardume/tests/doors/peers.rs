//! `cardume peer`.
use cardume_testkit::{
    daemon::{Daemon, error, status},
    patience,
};

use crate::daemon;

fn connected(daemon: &Daemon) -> bool {
    !daemon.run(["peer", "ls"]).unwrap().stdout.is_empty()
}

#[test]
fn a_blocked_peer_is_cut_off_and_stays_out_when_the_daemon_starts_anew() {
    let (ours, theirs) = (daemon(), daemon());
    let their_address = theirs.address(true).unwrap();
    let them = theirs.peer_id().unwrap();
    ours.json(["peer", "connect", &their_address]).unwrap();
    let answer = ours.json(["peer", "ping", &them]).unwrap();
    assert_eq!(answer["peer_id"], them.as_str());
    assert!(answer["rtt_ms"].as_f64().unwrap() > 0.0, "{answer}");
    let details = ours.json(["peer", "show", &them]).unwrap();
    assert_eq!(
        (&details["blocked"], &details["connections"]),
        (&false.into(), &1.into())
    );

    ours.json(["peer", "block", &them]).unwrap();
    patience::until("the peer is cut off", || Ok(!connected(&ours))).unwrap();
    let output = ours.run(["peer", "connect", &their_address]).unwrap();
    assert_eq!(status(&output), 5, "{}", error(&output));
    assert!(error(&output).contains("unblock"), "{}", error(&output));

    let (home, ended) = ours.stop().unwrap();
    assert!(ended.success());
    let ours = home.start().unwrap();
    assert_eq!(
        ours.json(["peer", "ls", "--blocked"]).unwrap()["peer_id"],
        them.as_str()
    );
    assert_eq!(ours.json(["peer", "show", &them]).unwrap()["blocked"], true);
    // Its dial may succeed for a moment, until it learns that it is not wanted.
    let address = ours.address(true).unwrap();
    theirs.run(["peer", "connect", &address]).unwrap();
    patience::until("the peer stays out", || Ok(!connected(&theirs))).unwrap();
    assert!(!connected(&ours));

    ours.json(["peer", "unblock", &them]).unwrap();
    let output = ours.run(["peer", "unblock", &them]).unwrap();
    assert_eq!(status(&output), 4, "{}", error(&output));
    theirs.json(["peer", "connect", &address]).unwrap();
    assert!(connected(&ours));
}

#[test]
fn a_peer_goes_by_the_name_that_configuration_gives_it() {
    let theirs = daemon();
    let them = theirs.peer_id().unwrap();
    let ours = crate::home()
        .set(format!("peer.nas.id={them}"))
        .set(format!("peer.nas.addresses={}", theirs.address(true).unwrap()))
        .start()
        .unwrap();
    assert_eq!(
        ours.json(["peer", "ping", "nas"]).unwrap()["peer_id"],
        them.as_str()
    );
    let details = ours.json(["peer", "show", "nas"]).unwrap();
    assert_eq!(details["name"], "nas");
    assert_eq!(details["connection"]["path"], "direct");
    let output = ours.run(["peer", "show", "nobody"]).unwrap();
    assert_eq!(status(&output), 2, "{}", error(&output));
    let own = ours.peer_id().unwrap();
    let output = ours.run(["peer", "block", &own]).unwrap();
    assert_eq!(status(&output), 2, "{}", error(&output));
    assert!(error(&output).contains("this node itself"), "{}", error(&output));
}
