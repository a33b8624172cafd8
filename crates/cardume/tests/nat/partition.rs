//! Networks that fall apart, and what goes on by itself when they are whole again.
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::Home,
    files,
    hosts::{self, Lan},
    internet::{self, Nat},
    patience,
};

use crate::{
    Apart, PROGRAM, quiet,
    talk::{Ear, Talk, knows},
    tell,
};

/// How long nothing gets through, where the paths are to live on.
const SHORT: Duration = Duration::from_secs(1);
/// … and where none of them may.
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_transfer_between_routers_goes_on_after_a_partition() -> anyhow::Result<()> {
    if !internet::available() {
        return Ok(());
    }
    let apart = Apart::new(Nat::EndpointIndependent, &["rates.download=\"8MB/s\""])?;
    let film = apart.share("film", 24 << 20)?;
    let getting = apart
        .taker
        .command()
        .args(["get", &film])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Nothing is known of the giver at first.
    let received = || {
        apart
            .connection()
            .map_or(0, |found| found["received"].as_u64().unwrap_or(0))
    };
    patience::until("some of it", || Ok(received() > 4 << 20))?;
    let router = &apart.homes[0].router;
    router.set_partitioned(true)?;
    // Nothing comes any more: what was on its way has arrived, and a second is over.
    let (mut last, mut since) = (received(), Instant::now());
    patience::until("silence", || {
        let now = received();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        Ok(since.elapsed() > SHORT)
    })?;
    router.set_partitioned(false)?;
    let healed = Instant::now();
    let got = patience::output_of(getting)?;
    ensure!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    tell("the rest has come after the partition", healed);
    apart.is_there("film")
}

#[test]
fn a_topic_is_heard_again_after_a_partition_that_no_path_has_outlived() -> anyhow::Result<()> {
    if !hosts::available() {
        return Ok(());
    }
    let mut lan = Lan::new()?;
    let (home, host) = (quiet(Home::on(PROGRAM, &lan.host()?)?), lan.host()?);
    // The author keeps somebody to talk to, whoever is cut off.
    let middle = home.start()?;
    let bootstrap = format!("connect.bootstrap=[\"{}\"]", middle.address(false)?);
    let author = quiet(Home::on(PROGRAM, &lan.host()?)?).set(&bootstrap).start()?;
    let listener = quiet(Home::on(PROGRAM, &host)?).set(&bootstrap).start()?;
    let (near, far) = (Ear::of(&middle)?, Ear::of(&listener)?);
    let id = listener.peer_id()?;
    knows(&middle, &id, true)?;
    let mut talk = Talk::by(&author)?;
    let before = talk.say()?;
    far.hears(1..=before)?;

    host.set_partitioned(true)?;
    talk.say()?;
    knows(&middle, &id, false)?;
    patience::until("the listener is alone", || {
        Ok(listener.json(["status"])?["peers"] == 0)
    })?;
    let unheard = talk.say()?;
    near.hears(1..=unheard)?;
    ensure!(far.heard().len() == before as usize, "{:?}", far.heard());

    host.set_partitioned(false)?;
    let healed = Instant::now();
    knows(&middle, &id, true)?;
    tell("the listener is back", healed);
    let last = talk.say()?;
    far.hears(unheard + 1..=last)?;
    tell("the topic is heard again", healed);
    told(&far, before + 1, unheard)
}

/// Says how many of those came that were published meanwhile; nothing may have come twice.
#[expect(clippy::print_stderr, reason = "figures to be read")]
fn told(ear: &Ear, from: u32, to: u32) -> anyhow::Result<()> {
    let mut heard = ear.heard();
    let late = heard.iter().filter(|number| (from..=to).contains(number)).count();
    eprintln!("published while nothing got through and heard later: {late}");
    let all = heard.len();
    heard.sort_unstable();
    heard.dedup();
    ensure!(heard.len() == all, "something came twice");
    Ok(())
}

#[test]
fn after_a_minute_without_a_network_everything_goes_on_by_itself() -> anyhow::Result<()> {
    if !internet::available() {
        return Ok(());
    }
    let apart = Apart::new(Nat::EndpointIndependent, &["rates.download=\"8MB/s\""])?;
    let (near, far) = (Ear::of(&apart.relay)?, Ear::of(&apart.giver)?);
    let giver = apart.giver.peer_id()?;
    knows(&apart.relay, &giver, true)?;
    let mut talk = Talk::by(&apart.taker)?;
    let before = talk.say()?;
    far.hears(1..=before)?;
    let film = apart.share("film", 24 << 20)?;
    let getting = apart
        .taker
        .command()
        .args(["get", &film])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let received = || {
        apart
            .connection()
            .map_or(0, |found| found["received"].as_u64().unwrap_or(0))
    };
    patience::until("some of it", || Ok(received() > 4 << 20))?;
    apart.homes[0].router.set_partitioned(true)?;
    talk.say()?;
    std::thread::park_timeout(MINUTE);
    let unheard = talk.say()?;
    near.hears(1..=unheard)?;
    ensure!(
        apart.connection()?.is_null(),
        "the path has been dead for a minute"
    );
    apart.homes[0].router.set_partitioned(false)?;
    let healed = Instant::now();
    let got = patience::output_of(getting)?;
    ensure!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    tell("the rest has come after a minute without a network", healed);
    apart.is_there("film")?;
    knows(&apart.relay, &giver, true)?;
    let last = talk.say()?;
    far.hears(unheard + 1..=last)?;
    tell("and so have the messages since", healed);
    told(&far, before + 1, unheard)?;
    // By the DHT: what is new, without a link that says where.
    files::random_file(&apart.giver.path().join("new"), 1000, 2)?;
    let shared = apart.giver.json(["share", "new"])?;
    let cid = shared["cid"].as_str().context("cid")?;
    patience::until("the DHT knows the new one", || {
        let found = apart.taker.run(["--json", "net", "kad", "providers", cid])?;
        Ok(!found.stdout.is_empty())
    })?;
    apart.taker.json(["get", cid, "-o", "new"])?;
    apart.is_there("new")?;
    ensure!(
        apart.connection()?["agent"].is_string(),
        "identify has been spoken again"
    );
    Ok(())
}
