//! Nodes that are killed and come back: by what they have on disk alone.

use std::time::Instant;

use anyhow::Context;
use cardume_testkit::{
    daemon::{Daemon, Home},
    patience,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
const NODES: usize = 5;

fn peers(daemon: &Daemon) -> anyhow::Result<u64> {
    daemon.json(["status"])?["peers"].as_u64().context("peers")
}

/// Where a node listens, as configuration says it: nodes that are known by their addresses keep them.
fn listening(daemon: &Daemon) -> anyhow::Result<String> {
    let [tcp, quic] = [daemon.address(true)?, daemon.address(false)?];
    let places = [tcp, quic].map(|address| address.split("/p2p/").next().map(str::to_owned));
    Ok(format!(
        "listen.addresses={:?}",
        places.map(Option::unwrap_or_default)
    ))
}

#[test]
fn each_node_of_five_finds_a_peer_again_by_its_address_book() -> anyhow::Result<()> {
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Home::new(PROGRAM)?.start()?);
    }
    for n in 1..NODES {
        let address = nodes[n - 1].address(n % 2 == 0)?;
        nodes[n].json(["peer", "connect", &address])?;
    }
    for n in 0..NODES {
        // A book is written a moment after it changes.
        patience::until("the address book on disk", || {
            Ok(peers(&nodes[n])? > 0 && nodes[n].path().join("data/peers").exists())
        })?;
        let node = nodes.remove(n);
        let listening = listening(&node)?;
        let home = node.kill()?.set(listening);
        let began = Instant::now();
        let daemon = home.start()?;
        patience::until("a peer after the restart", || Ok(peers(&daemon)? > 0))?;
        println!("node {n}: a peer is seen {:?} after the restart", began.elapsed());
        nodes.insert(n, daemon);
    }
    Ok(())
}
