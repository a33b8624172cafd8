//! Checks and chores of this workspace.

mod alerts;
mod axe;
mod dist;
mod net;
mod system;
mod tidy;

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};

/// Checks and chores of this workspace; run as `cargo xtask`.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check that the code keeps to the architecture: who imports whom, purity, sizes, versions.
    Tidy,
    /// Run the tests of whole networks: hosts, routers, relays and partitions, also those that take minutes. Needs root.
    Net,
    /// Have Prometheus' own tools check the alerts and each of them fire and stop, and most of them on real nodes.
    Alerts,
    /// Have axe-core look for what keeps people out of the page, in a real browser. Fetches it with npm.
    Axe,
    /// Put together what is released: tarball, Debian package, RPM.
    Dist(dist::Options),
    /// Install the Debian package on hosts with systemd, and see it start, survive, stop, upgrade and go. Needs root.
    System(system::Options),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Tidy => tidy::run(),
        Chore::Net => net::run(),
        Chore::Alerts => alerts::run_all(),
        Chore::Axe => axe::run_all(),
        Chore::Dist(options) => dist::run_with(&options),
        Chore::System(options) => system::run_with(&options),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "what was found and made is this program's output"
)]
fn say(line: &str) {
    println!("{line}");
}

/// Runs a command that has to succeed.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Bytes of all files below a directory.
fn tree_size(directory: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        size += match entry.file_type()?.is_dir() {
            true => tree_size(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(size)
}
