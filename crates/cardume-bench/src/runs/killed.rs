//! A fetcher that loses its power half way.

use std::{path::Path, process::Stdio, time::Instant};

use anyhow::Context;
use cardume_testkit::daemon::Daemon;

use super::Setting;
use crate::{
    contestants::start,
    figures::Measured,
    place::{Place, wait_for},
};

/// Kills the fetching daemon with half of the file there, starts it again, and lets it go on by itself.
///
/// The time is that of everything, the new start included; what is sent above the size was fetched twice.
pub(super) fn run(setting: &Setting<'_>, to: &Path) -> anyhow::Result<Measured> {
    let bytes = setting.content.shape().bytes();
    let got = to.join("got");
    let giver = start(setting.program, &Place::default())?;
    let shared = giver.json(["share".as_ref(), setting.content.path.as_os_str()])?;
    let taker = start(setting.program, &Place::default())?;
    let mut get = taker.command();
    get.args(["get", shared["cid"].as_str().context("cid")?]);
    get.args(["--peer", &giver.address(true)?]).arg("-o").arg(&got);
    let began = Instant::now();
    let mut get = get
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    wait_for("half of the file", || {
        anyhow::ensure!(
            !got.exists(),
            "it was done before it could be killed; give it a larger --size"
        );
        Ok(sent(&giver)? >= bytes / 2)
    })?;
    let home = taker.kill()?;
    // It may go on waiting for its daemon, and is not what is measured.
    get.kill()?;
    get.wait()?;
    let _taker = home.start()?;
    wait_for("the rest of the file", || Ok(got.exists()))?;
    let seconds = began.elapsed().as_secs_f64();
    setting.content.check(&got)?;
    crate::content::clear(&got)?;
    Ok(Measured {
        bytes,
        seconds,
        sent: Some(sent(&giver)? as f64 / bytes as f64),
        ..Measured::default()
    })
}

/// Bytes of content that have been sent to those connected now.
fn sent(giver: &Daemon) -> anyhow::Result<u64> {
    let output = giver.run(["--json", "peer", "ls"])?;
    let peers = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
    Ok(peers.flatten().filter_map(|peer| peer["sent"].as_u64()).sum())
}
