//! A version of a channel: how soon all who follow it have it, and how much of it its publisher sends.

use std::{fs, path::PathBuf, time::Instant};

use anyhow::Context;
use cardume_testkit::daemon::Daemon;

use super::Setting;
use crate::{
    contestants,
    figures::Measured,
    place::{Places, wait_for, wait_for_long},
    watch::Watch,
};

/// One that fetches the same from the same publisher, and no channel.
pub(super) const ALONE: &str = "one-fetch";
/// Nodes that follow, unless told otherwise.
const FOLLOWERS: usize = 16;

struct Follower {
    daemon: Daemon,
    place: PathBuf,
}

/// Publishes a version, and waits until it has taken its place at every follower.
pub(super) fn run(setting: &Setting<'_>) -> anyhow::Result<Measured> {
    let places = Places::counted()?;
    let publisher = contestants::start(setting.program, &places.source)?;
    let made = publisher.json(["channel", "create", "bench"])?;
    let id = made["channel"].as_str().context("channel")?;
    let count = setting.scale.fetchers.unwrap_or(FOLLOWERS);
    let followers = (0..count).map(|_| follow(setting, &places, &publisher, id));
    let followers: Vec<Follower> = followers.collect::<anyhow::Result<_>>()?;
    let topic = format!("cardume-channel/{id}");
    wait_for("all to listen", || {
        let peers = publisher.run(["--json", "topic", "peers", &topic])?;
        Ok(String::from_utf8_lossy(&peers.stdout).lines().count() >= count)
    })?;
    // What others have left to be written would be written during this run.
    rustix::fs::sync();
    let sent = || places.source.sent(publisher.pid());
    let before = sent()?;
    let pids: Vec<u32> = followers.iter().map(|follower| follower.daemon.pid()).collect();
    let watch = Watch::begin(&[publisher.pid()], &pids)?;
    let began = Instant::now();
    let path = setting.content.path.as_os_str();
    publisher.json(["channel".as_ref(), "publish".as_ref(), "bench".as_ref(), path])?;
    let mut times = vec![None; count];
    wait_for_long("all to have switched", || {
        for (follower, time) in followers.iter().zip(&mut times) {
            if time.is_none() && fs::read_link(&follower.place).is_ok() {
                *time = Some(began.elapsed().as_secs_f64());
            }
        }
        Ok(times.iter().all(Option::is_some))
    })?;
    let (source, fetcher) = watch.end()?;
    let sent = before.zip(sent()?).map(|(before, after)| after - before);
    for follower in &followers {
        setting.content.check(&fs::canonicalize(&follower.place)?)?;
    }
    let bytes = setting.content.shape().bytes();
    let times = times.into_iter().flatten();
    Ok(Measured {
        bytes: bytes * count as u64,
        seconds: times.clone().fold(0.0, f64::max),
        first: Some(times.fold(f64::INFINITY, f64::min)),
        source: Some(source),
        fetcher: Some(fetcher),
        sent: sent.map(|sent| sent as f64 / bytes as f64),
        ..Measured::default()
    })
}

/// Starts a node that follows the channel, and knows its publisher.
fn follow(setting: &Setting<'_>, places: &Places, publisher: &Daemon, id: &str) -> anyhow::Result<Follower> {
    let home = contestants::home(setting.program, &places.fetcher)?;
    let place = home.path().join("bench");
    let daemon = home
        .set(format!("connect.bootstrap=[{:?}]", publisher.address(true)?))
        .set(format!("follow.bench.channel={id:?}"))
        .set(format!("follow.bench.to={:?}", place.display().to_string()))
        .start()?;
    Ok(Follower { daemon, place })
}
