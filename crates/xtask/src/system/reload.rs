//! Reloads and stops in the middle of work: what changes, what goes on, and what goes on later.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{
    host::{Host, until},
    say, tell,
};

/// Transfers at once.
const FILES: usize = 4;
/// Bytes of each: more than comes while everything here is tried at [`SLOW`].
const SIZE: usize = 64 << 20;
/// Bytes a second with which a transfer lasts, as configured and as told.
const SLOW: (&str, u64) = ("4MB/s", 4_000_000);
/// … once changed, the same.
const FASTER: (&str, u64) = ("6MB/s", 6_000_000);
/// What a stop may take.
const STOP: Duration = Duration::from_secs(10);

/// Has `taker` fetch from `giver`, and reloads, breaks and stops them meanwhile.
pub(super) fn while_they_work(giver: &Host, taker: &Host) -> anyhow::Result<()> {
    configure(giver, "rates", &rates(SLOW.0))?;
    giver.run(&["systemctl", "restart", "cardume.service"])?;
    giver.run(&["cardume", "status", "--wait", "20s"])?;
    let files = share(giver)?;
    let mut wanted = String::new();
    for (index, (link, _)) in files.iter().enumerate() {
        wanted += &format!("[fetch.part{index}]\nfrom = \"{link}\"\nto = \"/srv/films/part{index}\"\n");
    }
    configure(taker, "parts", &wanted)?;
    taker.run(&["systemctl", "restart", "cardume.service"])?;
    running(taker)?;

    let before = State::of(giver, taker)?;
    configure(giver, "rates", &rates(FASTER.0))?;
    let took = reload(giver)?;
    tell("reloaded between four transfers after", took);
    let upload = giver.json(&["net", "rates"])?["limits"]["upload"].as_u64();
    ensure!(
        upload == Some(FASTER.1),
        "the new rate is not in force: {upload:?}"
    );
    before.stays(giver, taker)?;

    broken(giver)?;
    before.stays(giver, taker)?;
    reload(taker)?;
    before.stays(giver, taker)?;
    let going = running(taker)?;

    for (who, host) in [("giver", giver), ("taker", taker)] {
        tell(&format!("the {who} of four transfers stopped after"), stop(host)?);
        host.run(&["systemctl", "start", "cardume.service"])?;
        let done = running(taker)?;
        ensure!(
            done >= going,
            "{done} bytes are there after the {who} was stopped, and {going} were before"
        );
    }
    finish(giver, taker, &files)
}

fn rates(upload: &str) -> String {
    format!("[rates]\nupload = \"{upload}\"\n")
}

fn configure(host: &Host, name: &str, text: &str) -> anyhow::Result<()> {
    let directory = host.root.join("etc/cardume/conf.d");
    Ok(fs::write(directory.join(name).with_extension("toml"), text)?)
}

/// Shares files of random bytes; their links and bytes.
fn share(host: &Host) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for index in 0..FILES {
        let mut bytes = vec![0; SIZE];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
        let path = format!("/srv/part{index}");
        fs::write(host.root.join(&path[1..]), &bytes)?;
        let told = host.run(&["cardume", "share", &path])?;
        let link = told.lines().last().context("share has printed nothing")?;
        files.push((link.to_owned(), bytes));
    }
    Ok(files)
}

fn reload(host: &Host) -> anyhow::Result<Duration> {
    let began = Instant::now();
    host.run(&["systemctl", "reload", "cardume.service"])?;
    Ok(began.elapsed())
}

/// A file with a mistake fails the reload, which says where.
fn broken(host: &Host) -> anyhow::Result<()> {
    configure(host, "mistake", "[rates]\nuplaod = \"1MB/s\"\n")?;
    reload(host).expect_err("a mistake is no configuration");
    ensure!(
        host.journal()?.contains("mistake.toml:2:1"),
        "the log does not say where the mistake is"
    );
    let problem = host.json(&["status"])?["config"]["problem"].to_string();
    ensure!(problem.contains("mistake.toml:2:1"), "status says {problem}");
    fs::remove_file(host.root.join("etc/cardume/conf.d/mistake.toml"))?;
    reload(host)?;
    Ok(())
}

/// Waits until all of the transfers have something and none has all; bytes that are there.
fn running(host: &Host) -> anyhow::Result<u64> {
    host.run(&["cardume", "status", "--wait", "20s"])?;
    until("the transfers run", || {
        let status = host.json(&["status"])?;
        let done: Vec<_> = parts(&status).map(|part| part["done"].as_u64()).collect();
        ensure!(
            parts(&status).all(|part| part["state"] != "present"),
            "a transfer has ended too early: {status}"
        );
        let all: Option<Vec<u64>> = done.into_iter().collect();
        let all = all.filter(|all| all.len() == FILES && all.iter().all(|done| *done > 0));
        Ok(all.map(|all| all.iter().sum()))
    })
}

fn parts(status: &Value) -> impl Iterator<Item = &Value> {
    let fetches = status["fetches"].as_array().into_iter().flatten();
    fetches.filter(|one| one["name"].as_str().is_some_and(|name| name.starts_with("part")))
}

/// What a reload must not change.
struct State {
    processes: [Option<u32>; 2],
    /// The giver's connection with the taker: its address, and for how many seconds it has been there.
    connection: (String, u64),
}

impl State {
    fn of(giver: &Host, taker: &Host) -> anyhow::Result<Self> {
        let peer = taker.json(&["status"])?["peer_id"].clone();
        let peer = peer.as_str().context("a peer id")?;
        // A connection that was made a moment ago could not be told from one that was made anew.
        let connection = until("they have been connected for seconds", || {
            let shown = giver.json(&["peer", "show", peer])?;
            // The best of them, where both have dialled at once.
            let connection = &shown["connection"];
            let age = connection["connected_s"].as_u64().context("an age")?;
            Ok((age >= 2).then(|| (connection["address"].to_string(), age)))
        })?;
        Ok(Self {
            processes: [giver.daemon()?, taker.daemon()?],
            connection,
        })
    }

    /// Has the same processes, active and ready, and the same connection.
    fn stays(&self, giver: &Host, taker: &Host) -> anyhow::Result<()> {
        for host in [giver, taker] {
            let state = host.property("ActiveState")?;
            ensure!(state == "active", "the service is {state}");
            ensure!(host.json(&["status"])?["ready"] == true, "it is not ready");
        }
        let now = Self::of(giver, taker)?;
        ensure!(
            now.processes == self.processes,
            "other processes run than {:?}",
            self.processes
        );
        ensure!(
            now.connection.0 == self.connection.0 && now.connection.1 >= self.connection.1,
            "the connection is {:?} and was {:?}",
            now.connection,
            self.connection
        );
        Ok(())
    }
}

/// Stops the service, which must not need to be killed.
pub(super) fn stop(host: &Host) -> anyhow::Result<Duration> {
    let began = Instant::now();
    host.run(&["systemctl", "stop", "cardume.service"])?;
    let time = began.elapsed();
    let result = host.property("Result")?;
    ensure!(result == "success" && time < STOP, "{result} after {time:?}");
    Ok(time)
}

/// Takes the limit away from the transfers that run, and sees that they end well, and that nothing came twice.
fn finish(giver: &Host, taker: &Host, files: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    configure(giver, "rates", &rates("unlimited"))?;
    reload(giver)?;
    let began = Instant::now();
    let status = until("all transfers have ended", || {
        let status = taker.json(&["status"])?;
        let present = parts(&status).filter(|part| part["state"] == "present").count();
        Ok((present == FILES).then_some(status))
    })?;
    tell("without a limit they ended after", began.elapsed());
    for (index, (_, bytes)) in files.iter().enumerate() {
        let path = Path::new("srv/films").join(format!("part{index}"));
        ensure!(
            fs::read(taker.root.join(path))? == *bytes,
            "part{index} is not what was shared"
        );
    }
    let peer = giver.json(&["status"])?["peer_id"].clone();
    let shown = taker.json(&["peer", "show", peer.as_str().context("a peer id")?])?;
    let received = shown["connection"]["received"]
        .as_u64()
        .context("bytes received")?;
    say(&format!(
        "system: {} of {} MiB came after the taker's last start",
        received >> 20,
        (FILES * SIZE) >> 20
    ));
    ensure!(
        received < (FILES * SIZE) as u64,
        "what was there came again: {status}"
    );
    Ok(())
}
