//! Limits: whether they hold, and what a limited transfer does to everything else.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use cardume_testkit::{
    daemon::{Daemon, Home},
    hosts::Lan,
};

use super::Setting;
use crate::{
    ask::Question,
    contestants::start,
    figures::{Measured, Waits},
    place::{Place, wait_for},
    watch::Watch,
};

/// What is asked for, bytes a second.
const LIMIT: u64 = 20_000_000;
/// What holds before it: content comes, and is slow.
const BEFORE: &str = "2MB/s";
/// How long it is looked at.
const TIME: Duration = Duration::from_secs(10);
/// Time between two questions to all that should not be delayed.
const LOOK: Duration = Duration::from_millis(50);
/// First numbers of public addresses.
const PUBLIC: &str = "11.77.0";

/// Whose limit it is, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// None, and no transfer: what everything else is held against.
    Idle,
    /// What the source gives to all.
    Upload,
    /// What a fetcher takes from all.
    Download,
    /// What the source gives to each of two fetchers.
    PerPeer,
    /// What the source gives to peers on private networks.
    Lan,
    /// What the source gives to peers with public addresses.
    Wan,
}

impl Limit {
    /// All of them, with their names.
    pub(super) const ALL: [(&str, Self); 6] = [
        ("idle", Self::Idle),
        ("upload", Self::Upload),
        ("download", Self::Download),
        ("per-peer", Self::PerPeer),
        ("lan", Self::Lan),
        ("wan", Self::Wan),
    ];

    fn fetchers(self) -> usize {
        match self {
            Self::PerPeer => 2,
            _ => 1,
        }
    }

    /// What says so on the command line, after `net rates`.
    fn arguments(self, rate: &str) -> Vec<&str> {
        match self {
            Self::Idle => Vec::new(),
            Self::Upload => vec!["--upload", rate],
            Self::Download => vec!["--download", rate],
            Self::PerPeer => vec!["--per-peer", rate],
            Self::Lan => vec!["--of", "lan", "--upload", rate],
            Self::Wan => vec!["--of", "wan", "--upload", rate],
        }
    }
}

/// Sets a limit while content comes, and looks at the ten seconds from then on.
pub(super) fn run(setting: &Setting<'_>, limit: Limit, to: &Path) -> anyhow::Result<Measured> {
    let public = (limit == Limit::Wan)
        .then(|| Lan::with_prefix(PUBLIC))
        .transpose()?;
    let mut nodes = Nodes::start(setting, limit, public)?;
    nodes.limit(limit, BEFORE)?;
    if limit != Limit::Idle {
        nodes.begin(to)?;
        wait_for("content", || Ok(nodes.came()?.iter().all(|came| *came > 0)))?;
    }
    let own: Vec<u32> = nodes.takers.iter().map(Daemon::pid).collect();
    let watch = Watch::begin(&[nodes.giver.pid()], &own)?;
    let before = nodes.came()?;
    nodes.limit(limit, "20MB/s")?;
    let began = Instant::now();
    let mut waits = (Vec::new(), Vec::new());
    while let Some(left) = TIME.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        nodes.look(&mut waits)?;
        std::thread::park_timeout(left.min(LOOK));
    }
    let after = nodes.came()?;
    let seconds = began.elapsed().as_secs_f64();
    let (source, fetcher) = watch.end()?;
    let came: Vec<u64> = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect();
    // Of several the one that is furthest from what was asked for.
    let shares = came.iter().map(|came| *came as f64 / seconds / LIMIT as f64);
    let share = shares.max_by(|one, other| (one - 1.0).abs().total_cmp(&(other - 1.0).abs()));
    Ok(Measured {
        bytes: came.iter().sum(),
        seconds,
        source: Some(source),
        fetcher: Some(fetcher),
        limit: share.filter(|_| limit != Limit::Idle),
        ping: Waits::of(waits.0),
        api: Waits::of(waits.1),
        ..Measured::default()
    })
}

struct Nodes {
    giver: Daemon,
    takers: Vec<Daemon>,
    getting: Vec<Child>,
    cid: String,
    address: String,
    peer: String,
    _lan: Option<Lan>,
}

impl Nodes {
    fn start(setting: &Setting<'_>, limit: Limit, mut lan: Option<Lan>) -> anyhow::Result<Self> {
        let mut node = || match &mut lan {
            None => start(setting.program, &Place::default()),
            Some(lan) => {
                let host = lan.host()?;
                let addresses = format!(r#"listen.addresses=["/ip4/{}/tcp/0"]"#, host.ip);
                Home::on(setting.program, &host)?
                    .set(addresses)
                    .set("mdns.enabled=false")
                    .start()
            }
        };
        let giver = node()?;
        let takers = (0..limit.fetchers())
            .map(|_| node())
            .collect::<anyhow::Result<Vec<_>>>()?;
        let shared = giver.json(["share".as_ref(), setting.content.path.as_os_str()])?;
        let address = giver.address(true)?;
        for taker in &takers {
            taker.json(["peer", "connect", &address])?;
        }
        Ok(Self {
            cid: shared["cid"].as_str().context("cid")?.to_owned(),
            peer: giver.peer_id()?,
            address,
            giver,
            takers,
            getting: Vec::new(),
            _lan: lan,
        })
    }

    fn limit(&self, limit: Limit, rate: &str) -> anyhow::Result<()> {
        let node = match limit {
            Limit::Idle => return Ok(()),
            Limit::Download => &self.takers[0],
            _ => &self.giver,
        };
        node.json([&["net", "rates"][..], &limit.arguments(rate)].concat())?;
        Ok(())
    }

    fn begin(&mut self, to: &Path) -> anyhow::Result<()> {
        for (index, taker) in self.takers.iter().enumerate() {
            let mut command: Command = taker.command();
            command.args(["get", &self.cid, "--peer", &self.address, "-o"]);
            command.arg(to.join(index.to_string()));
            let quiet = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            self.getting.push(quiet.spawn()?);
        }
        Ok(())
    }

    /// Bytes of content that have come to each fetcher from the source; fetchers give to each other too.
    fn came(&self) -> anyhow::Result<Vec<u64>> {
        let came = self.takers.iter().map(|taker| {
            let peers = Question::get("/v1/peers").ask(&taker.socket())?;
            let giver = peers
                .as_array()
                .context("peers")?
                .iter()
                .find(|peer| peer["peer_id"] == *self.peer);
            giver.context("the source")?["received"].as_u64().context("bytes")
        });
        came.collect()
    }

    /// Asks the source's daemon how it is, and has a fetcher ping it; adds the seconds that each took.
    fn look(&self, (pings, answers): &mut (Vec<f64>, Vec<f64>)) -> anyhow::Result<()> {
        let began = Instant::now();
        Question::get("/v1/status").ask(&self.giver.socket())?;
        answers.push(began.elapsed().as_secs_f64());
        let path = format!("/v1/peers/{}/ping", self.peer);
        let ping = Question {
            what: ("POST", &path),
            ..Question::get(&path)
        };
        let answer = ping.ask(&self.takers[0].socket())?;
        pings.push(answer["rtt_ms"].as_f64().context("rtt_ms")? / 1000.0);
        Ok(())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for getting in &mut self.getting {
            let _ = getting.kill();
            let _ = getting.wait();
        }
    }
}
