//! Sharing: hashing what lies on disk, beside a program that does nothing else.

use std::{process::Command, time::Instant};

use super::Setting;
use crate::{contestants, figures::Measured, place::Place, watch::Watch};

/// `cardume share`, until it has said the link.
pub(super) fn cardume(setting: &Setting<'_>) -> anyhow::Result<Measured> {
    let daemon = contestants::start(setting.program, &Place::default())?;
    rustix::fs::sync();
    let watch = Watch::begin(&[], &[daemon.pid()])?;
    let mut command = daemon.command();
    timed(setting, watch, command.arg("share").arg(&setting.content.path))
}

/// `b3sum` of the same files, each mapped and hashed on all cores.
pub(super) fn b3sum(setting: &Setting<'_>) -> anyhow::Result<Measured> {
    rustix::fs::sync();
    let watch = Watch::begin(&[], &[])?;
    let files = setting.content.files()?;
    let mut command = Command::new("b3sum");
    command.current_dir(setting.content.path.parent().unwrap_or(&setting.content.path));
    // A file alone has an empty path below itself; joined to its own, that would be a directory's name.
    let path = |file: &std::path::PathBuf| match file.as_os_str().is_empty() {
        true => setting.content.path.clone(),
        false => std::path::Path::new("content").join(file),
    };
    timed(setting, watch, command.args(files.iter().map(path)))
}

fn timed(setting: &Setting<'_>, watch: Watch, command: &mut Command) -> anyhow::Result<Measured> {
    let began = Instant::now();
    watch.run(command)?;
    let seconds = began.elapsed().as_secs_f64();
    let (_, used) = watch.end()?;
    Ok(Measured {
        bytes: setting.content.shape().bytes(),
        seconds,
        fetcher: Some(used),
        ..Measured::default()
    })
}
