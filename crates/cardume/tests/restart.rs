//! Nodes that are killed and come back: by what they have on disk alone.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::{Daemon, Home},
    patience,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
const NODES: usize = 5;

/// From the start of a node to its first peer.
const SOON: u64 = 2;

fn peers(daemon: &Daemon) -> anyhow::Result<u64> {
    daemon.json(["status"])?["peers"].as_u64().context("peers")
}

#[test]
fn each_node_of_five_finds_a_peer_within_two_seconds_of_a_restart_by_its_address_book() -> anyhow::Result<()>
{
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
        let home = nodes.remove(n).kill()?;
        let began = Instant::now();
        let daemon = home.start()?;
        patience::until("a peer after the restart", || Ok(peers(&daemon)? > 0))?;
        let seen = began.elapsed();
        let uptime = daemon.json(["status"])?["uptime_s"]
            .as_u64()
            .context("uptime_s")?;
        let connected = daemon.json(["peer", "ls"])?["connected_s"].as_u64();
        let took = uptime.saturating_sub(connected.context("connected_s")?);
        println!("node {n}: a peer is seen {seen:?} after the restart");
        ensure!(took <= SOON, "node {n} had its first peer after {took} s");
        ensure!(seen < Duration::from_secs(20), "{seen:?}");
        nodes.insert(n, daemon);
    }
    Ok(())
}
