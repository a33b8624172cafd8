//! A fifth of all sources lie or stall.

use std::{fs, path::Path, time::Instant};

use anyhow::Context;
use cardume_testkit::{
    daemon::{Daemon, Home},
    liar::{Liar, Manner},
};
use tokio::runtime::Runtime;

use super::Setting;
use crate::{content, contestants::start, figures::Measured, place::Place, watch::Watch};

/// Sources, those that lie included.
const SOURCES: usize = 10;
/// Those of them that lie.
const LYING: usize = 2;
/// What each honest one sends: its line is slow enough for the number of sources to matter.
const LINE: &str = "8MB/s";

/// Nobody lies, or a fifth do, each in the same manner.
pub(super) const MANNERS: [(&str, Option<Manner>); 6] = [
    ("honest", None),
    ("wrong-byte", Some(Manner::WrongByte)),
    ("wrong-size", Some(Manner::WrongSize)),
    ("wrong-range", Some(Manner::WrongRange)),
    ("cuts-short", Some(Manner::CutsShort)),
    ("stalls", Some(Manner::Stalls)),
];

/// Has one node fetch from all of them, and compares what came with what was shared.
pub(super) fn run(setting: &Setting<'_>, manner: Option<Manner>, to: &Path) -> anyhow::Result<Measured> {
    let runtime = Runtime::new()?;
    let lying = manner
        .map(|manner| liars(&runtime, manner, setting))
        .transpose()?;
    let mut addresses: Vec<String> = lying
        .iter()
        .flatten()
        .map(|liar| liar.address.to_string())
        .collect();
    let (mut honest, mut cid): (Vec<Daemon>, _) = (Vec::new(), String::new());
    for _ in addresses.len()..SOURCES {
        let home = Home::new(setting.program)?.set(format!("rates.upload={LINE:?}"));
        let daemon = home.start()?;
        let shared = daemon.json(["share".as_ref(), setting.content.path.as_os_str()])?;
        shared["cid"].as_str().context("cid")?.clone_into(&mut cid);
        addresses.push(daemon.address(true)?);
        honest.push(daemon);
    }
    let taker = start(setting.program, &Place::default())?;
    let got = to.join("got");
    let mut get = taker.command();
    get.args(["get", &cid, "-o"]).arg(&got);
    get.args(addresses.iter().flat_map(|address| ["--peer", address]));
    rustix::fs::sync();
    let sources: Vec<u32> = honest.iter().map(Daemon::pid).collect();
    let watch = Watch::begin(&sources, &[taker.pid()])?;
    let began = Instant::now();
    watch.run(&mut get)?;
    let seconds = began.elapsed().as_secs_f64();
    let (source, fetcher) = watch.end()?;
    anyhow::ensure!(
        fs::read(&got)? == fs::read(&setting.content.path)?,
        "something else arrived"
    );
    content::clear(&got)?;
    Ok(Measured {
        bytes: setting.content.shape().bytes(),
        seconds,
        source: Some(source),
        fetcher: Some(fetcher),
        ..Measured::default()
    })
}

fn liars(runtime: &Runtime, manner: Manner, setting: &Setting<'_>) -> anyhow::Result<Vec<Liar>> {
    let bytes = fs::read(&setting.content.path)?;
    let start = |_| runtime.block_on(Liar::start(manner, vec![bytes.clone()]));
    (0..LYING).map(start).collect()
}
