//! Side-by-side measurements of real nodes: the command line.

use std::{
    fs::File,
    io::{self, Write},
    path::PathBuf,
};

use anyhow::{Context, ensure};
use cardume_bench::{
    Plan, contestants, runs,
    workload::{Scale, Workload},
};
use cardume_units::Size;
use clap::Parser;

/// Measures real nodes beside what others use for the same work
///
/// Contestants take turns, round by round. Progress goes to standard error, tables go to standard output. For
/// figures worth keeping: a release build, and a machine that does nothing else.
#[derive(Parser)]
#[command(
    name = "cardume-bench",
    max_term_width = 100,
    after_help = "Examples:\n  \
        cardume-bench w1 w4                      the two that matter most\n  \
        cardume-bench w3 --size 64MiB --runs 1   a quick look\n  \
        cardume-bench w6 --only cardume,curl     with two contestants only"
)]
struct Arguments {
    /// What to measure [default: all but w8, rates, liars, strangers, gossip and channel]
    #[arg(value_enum, value_name = "WORKLOAD")]
    workloads: Vec<Workload>,
    /// Bytes of the one file [default: as the workload says]
    #[arg(long)]
    size: Option<Size>,
    /// Files in the tree of small ones [default: 10000]
    #[arg(long)]
    files: Option<u64>,
    /// Fetchers of w3 and w3b, followers of channel [default: 4, 16 and 16]
    #[arg(long)]
    fetchers: Option<usize>,
    /// Counted rounds; five times as many of what takes milliseconds
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Rounds before those, not counted
    #[arg(long, default_value_t = 1)]
    warm_up: usize,
    /// Only these contestants
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(runs::names()))]
    only: Vec<String>,
    /// The node to measure [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Write each run as a line of JSON to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where files are made and fetched to [default: the temporary directory]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Seconds of w8 and of gossip
    #[arg(long, default_value_t = 60)]
    idle: u64,
    /// Be the strangers of `strangers`, at this address
    #[arg(long, value_name = "MULTIADDR", hide = true)]
    knock: Option<libp2p_core::Multiaddr>,
}

#[expect(clippy::print_stdout, reason = "tables are this program's output")]
fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(address) = arguments.knock {
        return runs::come(address);
    }
    let program = match arguments.program {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("cardume"),
    };
    ensure!(
        contestants::find(&program).is_some(),
        "{} is not there; build it: cargo build --release",
        program.display()
    );
    let plan = Plan {
        workloads: match arguments.workloads.is_empty() {
            true => Workload::usual(),
            false => arguments.workloads,
        },
        scale: Scale {
            size: arguments.size.map(Size::get),
            files: arguments.files,
            fetchers: arguments.fetchers,
        },
        runs: arguments.runs,
        warm_up: arguments.warm_up,
        only: arguments.only,
        program: program.canonicalize()?,
        scratch: arguments
            .scratch
            .unwrap_or_else(std::env::temp_dir)
            .canonicalize()?,
        idle: arguments.idle,
    };
    let mut out: Box<dyn Write> = match &arguments.json {
        Some(path) => Box::new(File::create(path).with_context(|| path.display().to_string())?),
        None => Box::new(io::sink()),
    };
    plan.run(&mut out, &mut |table| println!("{table}"))
}
