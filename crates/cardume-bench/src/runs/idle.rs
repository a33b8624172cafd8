//! Nothing to do.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::Setting;
use crate::{contestants::start, figures::Measured, place::Place, watch::Watch};

/// Two nodes that are connected, one of them sharing, for a minute.
pub(super) fn run(setting: &Setting<'_>) -> anyhow::Result<Measured> {
    let source = start(setting.program, &Place::default())?;
    source.json(["share".as_ref(), setting.content.path.as_os_str()])?;
    let other = start(setting.program, &Place::default())?;
    let connected = other.json(["peer", "connect", &source.address(true)?])?;
    connected["peer_id"].as_str().context("a connection")?;
    let watch = Watch::begin(&[source.pid()], &[other.pid()])?;
    let began = Instant::now();
    let minute = Duration::from_secs(setting.idle);
    while let Some(left) = minute.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
    let (source, fetcher) = watch.end()?;
    Ok(Measured {
        seconds: began.elapsed().as_secs_f64(),
        source: Some(source),
        fetcher: Some(fetcher),
        ..Measured::default()
    })
}
