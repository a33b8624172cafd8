//! Whole daemons behind routers: reached through a relay, and around it where the routers allow.

mod partition;
mod talk;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::{Daemon, Home},
    files,
    internet::{self, Internet, Nat},
    patience,
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

/// A relay, and two nodes behind routers of their own that keep a place there.
struct Apart {
    _net: Internet,
    homes: [internet::Home; 2],
    relay: Daemon,
    giver: Daemon,
    taker: Daemon,
}

impl Apart {
    fn new(nat: Nat, set: &[&str]) -> anyhow::Result<Self> {
        let mut net = Internet::new()?;
        let host = net.host()?;
        let relay = quiet(Home::on(PROGRAM, &host)?)
            .set("nat.relay_server=true")
            .set("nat.autonat_server=true")
            .start()?;
        let relays = format!("nat.relays=[\"{}\"]", relay.address(false)?);
        let mut homes = [net.home(nat)?, net.home(nat)?];
        let start = |home: &mut internet::Home| -> anyhow::Result<Daemon> {
            let node = quiet(Home::on(PROGRAM, &home.host()?)?).set(&relays);
            set.iter().fold(node, |node, setting| node.set(*setting)).start()
        };
        let (giver, taker) = (start(&mut homes[0])?, start(&mut homes[1])?);
        for node in [&giver, &taker] {
            patience::until("a place at the relay", || {
                Ok(node.json(["net", "relays"])?[0]["state"] == "held")
            })?;
        }
        Ok(Self {
            _net: net,
            homes,
            relay,
            giver,
            taker,
        })
    }

    /// Shares a file of random bytes; its link.
    fn share(&self, name: &str, size: u64) -> anyhow::Result<String> {
        files::random_file(&self.giver.path().join(name), size, 1)?;
        let shared = self.giver.json(["share", name])?;
        Ok(shared["link"].as_str().context("link")?.to_owned())
    }

    fn is_there(&self, name: &str) -> anyhow::Result<()> {
        let same = fs::read(self.giver.path().join(name))? == fs::read(self.taker.path().join(name))?;
        ensure!(same, "{name} has other bytes");
        Ok(())
    }

    /// How the taker reaches the giver.
    fn connection(&self) -> anyhow::Result<Value> {
        self.taker.connection(&self.giver.peer_id()?)
    }
}

/// A home whose node finds nobody by itself.
fn quiet(home: Home) -> Home {
    home.set("mdns.enabled=false")
}

#[expect(clippy::print_stderr, reason = "figures to be read")]
fn tell(what: &str, began: Instant) {
    eprintln!("{what}: {:.2} s", began.elapsed().as_secs_f64());
}

#[test]
fn nodes_behind_routers_meet_at_a_relay_and_go_on_without_it() -> anyhow::Result<()> {
    if !internet::available() {
        return Ok(());
    }
    let apart = Apart::new(Nat::EndpointIndependent, &[])?;
    let (note, film) = (apart.share("note", 1000)?, apart.share("film", 32 << 20)?);
    let began = Instant::now();
    apart.taker.json(["get", &note])?;
    tell("something small is there", began);
    apart.is_there("note")?;
    // It waits for the direct path, and goes there.
    apart.taker.json(["get", &film])?;
    tell("32 MiB are there too", began);
    apart.is_there("film")?;
    let connection = apart.connection()?;
    ensure!(
        connection["path"] == "direct" && connection["punched"] == true,
        "{connection}"
    );
    let nat = apart.taker.json(["net", "nat"])?;
    ensure!(
        nat["reachable"] == "private" || nat["reachable"] == "unknown",
        "{nat}"
    );
    ensure!(nat["punched"] == 1, "{nat}");
    let relayed = apart.relay.json(["net", "nat"])?;
    ensure!(relayed["reservations"] == 2, "{relayed}");
    Ok(())
}

#[test]
fn between_symmetric_routers_little_goes_through_the_relay_and_much_only_if_configured() -> anyhow::Result<()>
{
    if !internet::available() {
        return Ok(());
    }
    let apart = Apart::new(Nat::Symmetric, &["exchange.direct_timeout=\"1s\""])?;
    let (note, film) = (apart.share("note", 500_000)?, apart.share("film", 3 << 20)?);
    apart.taker.json(["get", &note])?;
    apart.is_there("note")?;
    let refused = apart.taker.run(["get", &film])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(9), "{}: {said}", refused.status);
    ensure!(
        said.contains("relay") && said.contains("exchange.max_relayed"),
        "{said}"
    );
    let connection = apart.connection()?;
    ensure!(connection["path"] == "relayed", "{connection}");
    let received = connection["received"].as_u64().context("received")?;
    ensure!(received < 1_200_000, "{received} bytes went through the relay");

    let Apart {
        _net,
        homes,
        relay,
        giver,
        taker,
    } = apart;
    let taker = taker.stop()?.0.set("exchange.max_relayed=\"16MiB\"").start()?;
    let apart = Apart {
        _net,
        homes,
        relay,
        giver,
        taker,
    };
    apart.taker.json(["get", &film])?;
    apart.is_there("film")?;
    ensure!(apart.connection()?["path"] == "relayed", "there is no other way");
    Ok(())
}

#[test]
fn without_hole_punching_there_is_no_way_around_a_relay() -> anyhow::Result<()> {
    if !internet::available() {
        return Ok(());
    }
    let settings = ["nat.hole_punching=false", "exchange.direct_timeout=\"5s\""];
    let apart = Apart::new(Nat::EndpointIndependent, &settings)?;
    let film = apart.share("film", 3 << 20)?;
    let refused = apart.taker.run(["get", &film])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(9), "{}: {said}", refused.status);
    ensure!(apart.connection()?["path"] == "relayed", "there is another way");
    Ok(())
}

/// A node behind a router that forwards a port to it, and a node that has dialled it back there.
struct Forwarded {
    _net: Internet,
    home: internet::Home,
    checker: Daemon,
    node: Daemon,
    /// Where it is reached, and where it is in its own network.
    public: String,
    private: String,
}

fn forwarded() -> anyhow::Result<Forwarded> {
    let mut net = Internet::new()?;
    let public = net.host()?;
    let checker = quiet(Home::on(PROGRAM, &public)?)
        .set("nat.autonat_server=true")
        // Who asks to be dialled back is told that nobody gets through before it stops listening.
        .set("connect.dial_timeout=\"5s\"")
        .start()?;
    let mut home = net.home(Nat::EndpointIndependent)?;
    let host = home.host()?;
    home.forward("udp", 4011, &host)?;
    let node = quiet(Home::on(PROGRAM, &host)?)
        .set(format!("connect.bootstrap=[\"{}\"]", checker.address(false)?))
        .set("nat.autonat_interval=\"2s\"")
        .start()?;
    patience::until("somebody to dial back", || {
        Ok(node.json(["net", "nat"])?["reachable"] == "public")
    })?;
    let forwarded = Forwarded {
        public: format!("/ip4/{}/udp/4011/quic-v1", home.router.ip),
        private: format!("/ip4/{}/", host.ip),
        _net: net,
        home,
        checker,
        node,
    };
    patience::until("it answers lookups", || forwarded.serves())?;
    Ok(forwarded)
}

impl Forwarded {
    fn external(&self) -> anyhow::Result<String> {
        Ok(self.node.json(["status"])?["external"].to_string())
    }

    /// Whether the node answers lookups of the DHT.
    fn serves(&self) -> anyhow::Result<bool> {
        Ok(self.node.ask("/v1/kad")?.contains("\"server\":true"))
    }
}

#[test]
fn a_forwarded_port_is_found_to_work_and_told() -> anyhow::Result<()> {
    if !internet::available() {
        return Ok(());
    }
    let forwarded = forwarded()?;
    let (external, public) = (forwarded.external()?, &forwarded.public);
    ensure!(external.contains(public), "{public} is not in {external}");
    let peer = forwarded.node.peer_id()?;
    let told = forwarded.checker.json(["peer", "show", &peer])?["addresses"].to_string();
    ensure!(!told.contains(&forwarded.private), "{told}");
    Ok(())
}

#[test]
fn a_port_that_is_forwarded_no_longer_is_told_no_longer() -> anyhow::Result<()> {
    if !internet::available() {
        return Ok(());
    }
    let mut forwarded = forwarded()?;
    // The connection that there is goes on.
    forwarded.home.forward_nothing()?;
    let began = Instant::now();
    patience::until("nobody gets through any more", || {
        Ok(forwarded.node.json(["net", "nat"])?["reachable"] == "private")
    })?;
    tell("it is noticed", began);
    let (external, public) = (forwarded.external()?, &forwarded.public);
    ensure!(!external.contains(public), "{public} is still in {external}");
    patience::until("it only asks", || Ok(!forwarded.serves()?))
}

#[test]
fn with_several_relays_one_may_die() -> anyhow::Result<()> {
    if !internet::available() {
        return Ok(());
    }
    let mut net = Internet::new()?;
    let mut relays = Vec::new();
    for _ in 0..2 {
        let home = Home::on(PROGRAM, &net.host()?)?.set("nat.relay_server=true");
        relays.push(quiet(home).start()?);
    }
    let named = format!(
        "nat.relays=[\"{}\",\"{}\"]",
        relays[0].address(false)?,
        relays[1].address(false)?
    );
    let mut homes = [net.home(Nat::Symmetric)?, net.home(Nat::Symmetric)?];
    let mut start = |at: usize| quiet(Home::on(PROGRAM, &homes[at].host()?)?).set(&named).start();
    let (giver, taker) = (start(0)?, start(1)?);
    let held = |node: &Daemon| -> anyhow::Result<usize> {
        let relays = node.json(["net", "relays"])?;
        let relays = relays.as_array().context("relays")?.iter();
        Ok(relays.filter(|relay| relay["state"] == "held").count())
    };
    for node in [&giver, &taker] {
        patience::until("a place at both", || Ok(held(node)? == 2))?;
    }
    // Two peers see it, each at another port.
    patience::until("what router there is", || {
        Ok(giver.json(["net", "nat"])?["mapping"] == "dependent")
    })?;
    let found = giver.json(["doctor"])?["findings"].to_string();
    ensure!(
        found.contains("symmetric") && found.contains("a place at 2 of 2 relays"),
        "{found}"
    );
    let dead = relays.remove(0).kill()?;
    patience::until("one place is lost", || Ok(held(&giver)? == 1))?;
    files::random_file(&giver.path().join("note"), 1000, 1)?;
    let link = giver.json(["share", "note"])?["link"]
        .as_str()
        .context("link")?
        .to_owned();
    taker.json(["get", &link])?;
    ensure!(fs::read(giver.path().join("note"))? == fs::read(taker.path().join("note"))?);
    let _again = dead.start()?;
    patience::until("it is back", || Ok(held(&giver)? == 2))
}

#[test]
fn a_large_film_goes_around_the_relay() -> anyhow::Result<()> {
    if !internet::available() {
        return Ok(());
    }
    let apart = Apart::new(Nat::EndpointIndependent, &[])?;
    let film = apart.share("film", 256 << 20)?;
    let relayed = format!(
        "{}/p2p-circuit/p2p/{}",
        apart.relay.address(false)?,
        apart.giver.peer_id()?
    );
    let began = Instant::now();
    apart.taker.json(["peer", "connect", &relayed])?;
    tell("connected through the relay", began);
    ensure!(began.elapsed() < Duration::from_secs(5));
    patience::until("a hole", || Ok(apart.connection()?["punched"] == true))?;
    tell("a hole is punched", began);
    let began = Instant::now();
    apart.taker.json(["get", &film])?;
    tell("256 MiB have come", began);
    apart.is_there("film")?;
    ensure!(apart.connection()?["path"] == "direct");
    Ok(())
}
