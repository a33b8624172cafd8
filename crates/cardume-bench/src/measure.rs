//! Clocks, counters, and the table.

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context, bail};

use crate::Workload;

/// One counted run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) bytes: u64,
    pub(crate) share_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) copy_seconds: f64,
    /// Processor seconds of both daemons.
    pub(crate) cpu: f64,
    /// Anonymous memory of the larger daemon after the run, bytes.
    pub(crate) memory: u64,
}

/// All runs of one workload.
pub(crate) struct Figures {
    workload: Workload,
    runs: Vec<Run>,
}

impl Figures {
    pub(crate) fn new(workload: Workload) -> Self {
        Self {
            workload,
            runs: Vec::new(),
        }
    }

    #[expect(clippy::print_stdout, reason = "figures are this program's output")]
    pub(crate) fn add(&mut self, run: Run) {
        println!(
            "{}",
            serde_json::json!({
                "workload": format!("{:?}", self.workload).to_lowercase(), "bytes": run.bytes,
                "share_seconds": run.share_seconds, "seconds": run.seconds,
                "copy_seconds": run.copy_seconds, "cpu_seconds": run.cpu, "anonymous_bytes": run.memory,
            })
        );
        self.runs.push(run);
    }

    #[expect(clippy::print_stderr, reason = "the table is for the eye, beside the JSON")]
    pub(crate) fn print(&self) {
        let row = |name: &str, unit: &str, value: &dyn Fn(&Run) -> f64| {
            let mut values: Vec<f64> = self.runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            if let (Some(least), Some(most)) = (values.first(), values.last()) {
                let median = values[values.len() / 2];
                eprintln!(
                    "{:?}  {name:<24} {median:>10.3} {unit:<8} ({least:.3} to {most:.3})",
                    self.workload
                );
            }
        };
        let gib = |run: &Run| run.bytes as f64 / (1u64 << 30) as f64;
        row("get", "s", &|run| run.seconds);
        row("get", "MiB/s", &|run| gib(run) * 1024.0 / run.seconds);
        row("share", "s", &|run| run.share_seconds);
        row("cpu, both daemons", "s/GiB", &|run| run.cpu / gib(run));
        row("memory, larger daemon", "MiB", &|run| {
            run.memory as f64 / f64::from(1 << 20)
        });
        row("get / cp", "ratio", &|run| run.seconds / run.copy_seconds);
    }
}

/// Runs `work` and says how many seconds it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, f64)> {
    let began = Instant::now();
    let value = work()?;
    Ok((value, began.elapsed().as_secs_f64()))
}

/// Processor seconds that these processes have used so far.
pub(crate) fn cpu(processes: &[u32]) -> anyhow::Result<f64> {
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let mut sum = 0.0;
    for pid in processes {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the program's name in parentheses and may hold anything; count after it.
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .context("stat")?
            .1
            .split_whitespace()
            .collect();
        for field in [11, 12] {
            sum += fields.get(field).context("stat is short")?.parse::<f64>()? / ticks;
        }
    }
    Ok(sum)
}

/// Copies with the system's own program, without sharing blocks.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp")
        .args(["-r", "--reflink=never"])
        .arg(from)
        .arg(to)
        .status()?;
    if !status.success() {
        bail!("cp: {status}");
    }
    Ok(())
}
