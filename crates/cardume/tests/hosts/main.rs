//! Whole daemons on hosts of their own: what finds whom, and what leaves a host.

mod link;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
    process::Command,
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    capture::Frame,
    daemon::{Daemon, Home},
    files,
    hosts::{self, Lan},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
/// Where multicast DNS is spoken (RFC 6762).
const MDNS: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251));

/// A file of several pieces and a tree of many files; returns their CIDs.
fn share_some(giver: &Daemon) -> anyhow::Result<(String, String)> {
    files::random_file(&giver.path().join("film"), 20_000_003, 1)?;
    files::random_tree(&giver.path().join("tree"), 300, 5_000)?;
    let cid = |name: &str| -> anyhow::Result<String> {
        Ok(giver.json(["share", name])?["cid"]
            .as_str()
            .context("cid")?
            .to_owned())
    };
    Ok((cid("film")?, cid("tree")?))
}

/// Gets both, and compares every byte.
fn get_and_compare(taker: &Daemon, giver: &Daemon, film: &str, tree: &str) -> anyhow::Result<()> {
    taker.json(["get", film, "-o", "got-film", "--timeout", "30s"])?;
    taker.json(["get", tree, "-o", "got-tree", "--timeout", "30s"])?;
    same(&giver.path().join("film"), &taker.path().join("got-film"))?;
    same(&giver.path().join("tree"), &taker.path().join("got-tree"))
}

fn same(a: &Path, b: &Path) -> anyhow::Result<()> {
    let output = Command::new("diff").arg("-r").arg(a).arg(b).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}

#[test]
fn a_bare_cid_is_found_on_a_lan_with_nothing_but_multicast() -> anyhow::Result<()> {
    if !hosts::available() {
        return Ok(());
    }
    let mut lan = Lan::new()?;
    let giver = Home::on(PROGRAM, &lan.host()?)?.start()?;
    let taker = Home::on(PROGRAM, &lan.host()?)?.start()?;
    let (film, tree) = share_some(&giver)?;
    get_and_compare(&taker, &giver, &film, &tree)?;
    let again = taker.json(["share", "got-tree"])?;
    ensure!(
        again["cid"] == tree.as_str(),
        "the same tree has the same CID everywhere"
    );
    Ok(())
}

#[test]
fn a_bare_cid_is_found_through_three_nodes_that_know_one_bootstrap_peer() -> anyhow::Result<()> {
    if !hosts::available() {
        return Ok(());
    }
    let mut lan = Lan::new()?;
    let quiet = |home: Home| home.set("mdns.enabled=false");
    let middle = quiet(Home::on(PROGRAM, &lan.host()?)?).start()?;
    let bootstrap = format!("connect.bootstrap=[\"{}\"]", middle.address(false)?);
    let giver = quiet(Home::on(PROGRAM, &lan.host()?)?).set(&bootstrap).start()?;
    let taker = quiet(Home::on(PROGRAM, &lan.host()?)?).set(&bootstrap).start()?;
    let (film, tree) = share_some(&giver)?;
    get_and_compare(&taker, &giver, &film, &tree)?;
    let held = middle.json(["file", "ls"]).unwrap_or_default();
    ensure!(
        !held.to_string().contains(&film),
        "the bootstrap peer only helps to find"
    );
    Ok(())
}

#[test]
fn a_link_alone_is_enough() -> anyhow::Result<()> {
    if !hosts::available() {
        return Ok(());
    }
    let mut lan = Lan::new()?;
    let quiet = |home: Home| home.set("mdns.enabled=false").set("kad.enabled=false");
    let giver = quiet(Home::on(PROGRAM, &lan.host()?)?).start()?;
    let taker = quiet(Home::on(PROGRAM, &lan.host()?)?).start()?;
    files::random_file(&giver.path().join("film"), 3_000_001, 1)?;
    let shared = giver.json(["share", "film"])?;
    taker.json(["get", shared["link"].as_str().context("link")?])?;
    same(&giver.path().join("film"), &taker.path().join("film"))
}

#[test]
fn an_idle_node_says_nothing_but_multicast_dns() -> anyhow::Result<()> {
    if !hosts::available() {
        return Ok(());
    }
    let mut lan = Lan::new()?;
    let host = lan.host()?;
    let capture = host.capture()?;
    let node = Home::on(PROGRAM, &host)?.start()?;
    // Sharing something must not change that: there is nobody to tell.
    fs::write(node.path().join("note"), "hello")?;
    node.json(["share", "note"])?;
    let mut heard = 0;
    let began = std::time::Instant::now();
    while began.elapsed() < std::time::Duration::from_secs(8) {
        for frame in capture.frames() {
            match frame {
                Frame::Transport {
                    protocol: "udp",
                    to,
                    port: 5353,
                    ..
                } if to == MDNS => heard += 1,
                // The loopback of the control socket is a file; these are its own announcements of its address.
                Frame::ArpRequest { from, target } if from == target => {}
                Frame::Other => {}
                frame => anyhow::bail!("{frame:?} left an idle host: {}", node.log()),
            }
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    ensure!(heard > 0, "the node was asking for peers on its link");
    Ok(())
}
