//! `[nat.relay_limits]`, and what goes through a relay: nodes on this host that have no other way to each other.

use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    files::random_file,
    patience,
};

use crate::{home, start};

/// A relay with these settings.
fn relay(settings: &[&str]) -> Daemon {
    start(&[&["nat.relay_server=true"], settings].concat())
}

/// A node that dials nobody by itself.
fn quiet() -> Home {
    home().set("nat.hole_punching=false").set("kad.enabled=false")
}

/// A node that is to keep places at relays.
fn placed(relays: &[&Daemon]) -> Home {
    let addresses: Vec<_> = relays.iter().map(|relay| relay.address(true).unwrap()).collect();
    quiet().set(format!("nat.relays={addresses:?}"))
}

/// … and is reached there only.
fn behind(relays: &[&Daemon]) -> Home {
    placed(relays).set("listen.addresses=[]")
}

/// Waits until it has a place at so many relays.
fn has_places(node: &Daemon, places: usize) {
    patience::until("places at relays", || {
        let relays = node.json(["net", "relays"])?;
        let held = relays
            .as_array()
            .unwrap()
            .iter()
            .filter(|relay| relay["state"] == "held");
        Ok(held.count() == places)
    })
    .unwrap();
}

fn through(relay: &Daemon, to: &Daemon) -> String {
    let (relay, to) = (relay.address(true).unwrap(), to.peer_id().unwrap());
    format!("{relay}/p2p-circuit/p2p/{to}")
}

fn connects(from: &Daemon, relay: &Daemon, to: &Daemon) -> bool {
    let connected = from.run(["peer", "connect", &through(relay, to)]).unwrap();
    status(&connected) == 0
}

fn share(daemon: &Daemon, size: u64) -> String {
    random_file(&daemon.path().join("film"), size, 7).unwrap();
    let shared = daemon.json(["share", "film"]).unwrap();
    shared["cid"].as_str().unwrap().to_owned()
}

#[test]
fn a_relay_keeps_no_more_places_than_it_may() {
    let relay = relay(&["nat.relay_limits.reservations=1"]);
    let first = placed(&[&relay]).start().unwrap();
    has_places(&first, 1);
    let second = placed(&[&relay]).start().unwrap();
    patience::until("it is told", || {
        let place = second.json(["net", "relays"])?[0].clone();
        Ok(place["state"] == "waiting" && place["problem"].is_string())
    })
    .unwrap();
    assert_eq!(relay.json(["net", "nat"]).unwrap()["reservations"], 1);
}

#[test]
fn a_place_ends_with_its_time_unless_it_is_asked_for_again() {
    let [short, usual] = [&["nat.relay_limits.reservation_time=\"5s\""][..], &[]].map(relay);
    let node = behind(&[&short, &usual]).start().unwrap();
    has_places(&node, 2);
    let places = |relay: &Daemon| relay.json(["net", "nat"]).unwrap()["reservations"].clone();
    assert_eq!((places(&short), places(&usual)), (1.into(), 1.into()));
    // It does not ask again.
    node.signal(rustix::process::Signal::STOP).unwrap();
    patience::until("the place is free", || Ok(places(&short) == 0)).unwrap();
    assert_eq!(places(&usual), 1);
}

#[test]
fn a_relay_carries_no_more_connections_than_it_may_in_all_and_for_each_peer() {
    let none = relay(&["nat.relay_limits.circuits=0"]);
    let one = relay(&["nat.relay_limits.circuits_per_peer=1"]);
    let giver = behind(&[&none, &one]).start().unwrap();
    let other = behind(&[&one]).start().unwrap();
    has_places(&giver, 2);
    has_places(&other, 1);
    let (taker, second) = (quiet().start().unwrap(), quiet().start().unwrap());
    assert!(!connects(&taker, &none, &giver));
    assert!(connects(&taker, &one, &giver));
    assert!(!connects(&taker, &one, &other), "it has its one");
    assert!(connects(&second, &one, &other), "another has its own");
}

#[test]
fn a_relayed_connection_lasts_as_long_as_it_may() {
    let [short, usual] = [&["nat.relay_limits.circuit_time=\"1s\""][..], &[]].map(relay);
    let giver = behind(&[&short, &usual]).start().unwrap();
    has_places(&giver, 2);
    let [soon, late] = [(); 2].map(|()| quiet().start().unwrap());
    assert!(connects(&late, &usual, &giver));
    assert!(connects(&soon, &short, &giver));
    let id = giver.peer_id().unwrap();
    patience::until("it is over", || Ok(soon.connection(&id)?.is_null())).unwrap();
    assert!(late.connection(&id).unwrap().is_object(), "it has time left");
}

#[test]
fn a_relayed_connection_carries_as_many_bytes_as_it_may() {
    let [narrow, usual] = [&["nat.relay_limits.circuit_bytes=\"64KiB\""][..], &[]].map(relay);
    let giver = behind(&[&narrow, &usual]).start().unwrap();
    has_places(&giver, 2);
    let cid = share(&giver, 500_000);
    let get = |relay: &Daemon| {
        let taker = quiet().start().unwrap();
        let from = through(relay, &giver);
        let got = taker.run(["get", "--timeout", "3s", &cid, "--peer", &from, "-o", "film"]);
        status(&got.unwrap())
    };
    assert_ne!(get(&narrow), 0);
    assert_eq!(get(&usual), 0);
}

#[test]
fn more_than_may_come_through_a_relay_waits_for_a_direct_path_for_as_long_as_is_configured() {
    let relay = relay(&[]);
    let giver = behind(&[&relay]).start().unwrap();
    has_places(&giver, 1);
    let (cid, from) = (share(&giver, 2 << 20), through(&relay, &giver));
    let get = ["get", &cid, "--peer", &from, "-o", "film"];
    let taker = |settings: &[&str]| {
        let home = settings.iter().fold(quiet(), |home, setting| home.set(*setting));
        home.start().unwrap()
    };
    let late = taker(&["exchange.direct_timeout=\"1h\""]);
    let mut waiting = patience::begun(late.command().args(get)).unwrap();
    let soon = taker(&["exchange.direct_timeout=\"300ms\""]);
    let refused = soon.run(get).unwrap();
    let said = error(&refused);
    assert!(
        status(&refused) == 9 && said.contains("exchange.max_relayed"),
        "{said}"
    );
    assert!(waiting.try_wait().unwrap().is_none(), "it has time left");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    taker(&["exchange.max_relayed=\"3MiB\""]).json(get).unwrap();
}
