//! Ways to peers, and what a node tells of what goes over them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use cardume_testkit::{
    daemon::{Daemon, Home},
    files, patience,
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
const SIZE: u64 = 3 << 20;

fn home() -> Home {
    Home::new(PROGRAM).unwrap()
}

fn share(daemon: &Daemon, name: &str) -> String {
    files::random_file(&daemon.path().join(name), SIZE, 1).unwrap();
    let shared = daemon.json(["share", name]).unwrap();
    shared["cid"].as_str().unwrap().to_owned()
}

fn named<'a>(shares: &'a Value, name: &str) -> &'a Value {
    let mut shares = shares.as_array().unwrap().iter();
    shares.find(|share| share["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn content_comes_over_a_web_socket_and_every_byte_is_counted() {
    let giver = home()
        .set(r#"listen.addresses=["/ip4/127.0.0.1/tcp/0/ws"]"#)
        .set(r#"listen.announce=["/dns/node.example/tcp/443/wss"]"#)
        .start()
        .unwrap();
    let external = giver.json(["status"]).unwrap()["external"].to_string();
    assert!(external.contains("/dns/node.example/tcp/443/wss"), "{external}");
    let taker = home().start().unwrap();
    let cid = share(&giver, "film");
    let address = giver.address(true).unwrap();
    assert!(address.contains("/ws/p2p/"), "{address}");
    let peer = taker.json(["peer", "connect", &address]).unwrap();
    assert_eq!(peer["transport"], "ws", "{peer}");
    taker.json(["get", &cid]).unwrap();
    let film = |node: &Daemon, name: &str| fs::read(node.path().join(name)).unwrap();
    assert!(film(&giver, "film") == film(&taker, &cid));
    let giving = giver.peer_id().unwrap();
    patience::until("a round trip is known", || {
        Ok(taker.connection(&giving)?["rtt_ms"].is_number())
    })
    .unwrap();

    for (node, direction, other) in [(&taker, "received", "sent"), (&giver, "sent", "received")] {
        let traffic = node.json(["net", "traffic"]).unwrap();
        let transfer = named(&traffic["protocols"], "transfer");
        let bytes = transfer[direction].as_u64().unwrap();
        assert!((SIZE..SIZE + SIZE / 10).contains(&bytes), "{traffic}");
        assert!(transfer[other].as_u64().unwrap() < SIZE / 10, "{traffic}");
        assert!(transfer["sent_per_s"].is_u64(), "{traffic}");
        for spoken in ["identify", "ping"] {
            assert!(
                named(&traffic["protocols"], spoken)["sent"].as_u64() > Some(0),
                "{traffic}"
            );
        }
        // Anybody may be behind a web server.
        assert!(named(&traffic["classes"], "wan")[direction].as_u64().unwrap() >= bytes);
        assert!(named(&traffic["classes"], "lan").is_null(), "{traffic}");
        let sums = |shares: &Value| -> u64 {
            let shares = shares.as_array().unwrap().iter();
            shares.map(|share| share["sent"].as_u64().unwrap()).sum()
        };
        assert_eq!(
            sums(&traffic["protocols"]),
            sums(&traffic["classes"]),
            "{traffic}"
        );
        let metric = format!("direction=\"{direction}\"}} {bytes}\n");
        let metrics = node.ask("/metrics").unwrap();
        assert!(
            metrics.contains(&format!(
                "cardume_network_bytes_total{{protocol=\"transfer\",class=\"wan\",{metric}"
            )),
            "{metrics}"
        );
    }
    let shown = taker.json(["peer", "show", &giving]).unwrap();
    assert!(
        named(&shown["traffic"], "transfer")["received"].as_u64().unwrap() >= SIZE,
        "{shown}"
    );
}

#[test]
fn nodes_that_know_nothing_but_a_point_meet_there_and_fetch() {
    let quiet = || home().set("kad.enabled=false");
    let point = quiet().set("rendezvous.server=true").start().unwrap();
    let points = format!("rendezvous.points=[\"{}\"]", point.address(false).unwrap());
    let node = || {
        quiet()
            .set(&points)
            .set("rendezvous.interval=\"1s\"")
            .start()
            .unwrap()
    };
    let (giver, taker) = (node(), node());
    for node in [&giver, &taker] {
        patience::until("a place at the point", || {
            Ok(node.json(["net", "rendezvous"])?["points"][0]["state"] == "registered")
        })
        .unwrap();
    }
    let registrations = &point.json(["net", "rendezvous"]).unwrap()["registrations"];
    assert_eq!(*registrations, 2);
    let giving = giver.peer_id().unwrap();
    patience::until("they meet", || Ok(taker.connection(&giving)?.is_object())).unwrap();
    let cid = share(&giver, "film");
    taker.json(["get", &cid]).unwrap();
    let film = |node: &Daemon, name: &str| fs::read(node.path().join(name)).unwrap();
    assert!(film(&giver, "film") == film(&taker, &cid));
    let traffic = taker.json(["net", "traffic"]).unwrap();
    assert!(
        named(&traffic["protocols"], "rendezvous")["sent"].as_u64() > Some(0),
        "{traffic}"
    );
}
