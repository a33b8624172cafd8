//! A neighbour that says too much, in every way there is.

use std::collections::BTreeSet;

use cardume_testkit::{
    daemon::Daemon,
    patience,
    shouter::{Harm, Shouter},
};
use serde_json::Value;

use crate::{Running, home};

const HARMS: [Harm; 5] = [
    Harm::Floods,
    Harm::Forges,
    Harm::Subscribes,
    Harm::Grafts,
    Harm::Flaps,
];
/// Messages that the others say to each other meanwhile.
const MESSAGES: usize = 2;
/// Memory that a daemon may take for all of it; what is sent at it is many times that.
const MEMORY: u64 = 64 << 20;

/// Whether what a daemon thinks of a peer that is subscribed to a topic is so.
pub(crate) fn thinks(daemon: &Daemon, topic: &str, peer: &str, so: impl Fn(&Value) -> bool) -> bool {
    let output = daemon.run(["--json", "topic", "peers", topic]).unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut peers = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    peers.any(|row| row["peer_id"] == peer && so(&row))
}

#[test]
fn whatever_a_neighbour_shouts_it_is_shunned_costs_little_memory_and_the_others_hear_each_other() {
    // Sixteen at once and then eight a second: never less than the others say in all, and little enough for a program
    // without optimisation to be above it.
    let quiet = || home().set("gossipsub.max_peer_rate=8");
    let middle = quiet().start().unwrap();
    let address = middle.address(true).unwrap();
    let beside = || {
        quiet()
            .set(format!("connect.bootstrap=[{address:?}]"))
            .start()
            .unwrap()
    };
    let [author, end] = [beside(), beside()];
    let from = author.peer_id().unwrap();
    let mut heard = Running::new(end.command().args(["--json", "topic", "sub", "t"]));
    let _passes_on = Running::new(middle.command().args(["topic", "sub", "t"]));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut hears = |what: &str| {
        let mut due: BTreeSet<String> = (0..MESSAGES).map(|number| format!("{what} {number}")).collect();
        for text in &due {
            author.json(["topic", "pub", "t", text, "--wait", "1m"]).unwrap();
        }
        while !due.is_empty() {
            let message = heard.json();
            assert!(message["lost"].is_null(), "{message}");
            if message["from"] == *from {
                assert!(due.remove(message["text"].as_str().unwrap()), "{message}");
            }
        }
    };
    let next = middle.peer_id().unwrap();
    let is_linked = || Ok(thinks(&end, "t", &next, |row| row["mesh"] == true));
    patience::until("the end to be in the mesh", is_linked).unwrap();
    hears("before");
    let before = middle.anonymous_memory().unwrap();
    for harm in HARMS {
        let started = Shouter::start(address.parse().unwrap(), "t", harm);
        let shouter = runtime.block_on(started).unwrap();
        let peer = shouter.peer_id.to_string();
        let is_bad = |row: &Value| row["mesh"] == false && row["score"].as_f64().unwrap() < 0.0;
        let is_shunned = || Ok(thinks(&middle, "t", &peer, is_bad));
        patience::until(&format!("{harm:?} to be shunned"), is_shunned).unwrap();
        hears(&format!("{harm:?}"));
        println!("{harm:?}: {} RPCs", shouter.sent());
    }
    let grown = middle.anonymous_memory().unwrap().saturating_sub(before);
    println!("{grown} bytes more");
    assert!(grown < MEMORY, "{grown}");
}
