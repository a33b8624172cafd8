//! Side-by-side measurements of real nodes.
//!
//! Starts real daemons, moves real files between them, and prints medians with minimum and maximum, and the
//! ratio to a plain copy of the same bytes in the same run. One JSON line a run goes to standard output; the
//! table goes to standard error.

mod measure;

use std::path::PathBuf;

use anyhow::Context;
use cardume_testkit::{daemon::Home, files};
use clap::{Parser, ValueEnum};
use measure::{Figures, Run};

/// Measures real nodes, side by side.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    #[arg(value_enum, default_values_t = [Workload::File, Workload::Tree])]
    workloads: Vec<Workload>,
    /// Counted runs of each, after one to warm up.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// MiB of the one file.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Files of 10 KiB in the tree.
    #[arg(long, default_value_t = 10_000)]
    files: u64,
    /// The program to measure.
    #[arg(long, default_value = "target/release/cardume")]
    program: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Workload {
    /// One file from one node to another.
    File,
    /// A tree of small files from one node to another.
    Tree,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let program = arguments.program.canonicalize().with_context(|| {
        format!(
            "{} is not there; build it: cargo build --release",
            arguments.program.display()
        )
    })?;
    for workload in &arguments.workloads {
        let mut figures = Figures::new(*workload);
        for round in 0..=arguments.runs {
            let run = one(*workload, &arguments, &program)?;
            if round > 0 {
                figures.add(run);
            }
        }
        figures.print();
    }
    Ok(())
}

/// Shares on one node, gets on another, and copies the same bytes with `cp` beside it.
fn one(workload: Workload, arguments: &Arguments, program: &std::path::Path) -> anyhow::Result<Run> {
    let giver = Home::new(program)?.start()?;
    let taker = Home::new(program)?.start()?;
    let content = giver.path().join("content");
    match workload {
        Workload::File => files::random_file(&content, arguments.mib << 20, 7)?,
        Workload::Tree => files::random_tree(&content, arguments.files, 10 << 10)?,
    }
    let (shared, share_seconds) = measure::timed(|| giver.json(["share".as_ref(), content.as_os_str()]))?;
    let link = shared["link"].as_str().context("link")?;
    let peer = giver.address(true)?;
    let before = measure::cpu(&[giver.pid(), taker.pid()])?;
    let (got, seconds) = measure::timed(|| taker.json(["get", link, "--peer", &peer, "-o", "got"]))?;
    let cpu = measure::cpu(&[giver.pid(), taker.pid()])? - before;
    let copy = taker.path().join("copied");
    let ((), copy_seconds) = measure::timed(|| measure::copy(&content, &copy))?;
    Ok(Run {
        bytes: got["size"].as_u64().context("size")?,
        share_seconds,
        seconds,
        copy_seconds,
        cpu,
        memory: giver.anonymous_memory()?.max(taker.anonymous_memory()?),
    })
}
