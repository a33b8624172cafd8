//! Side-by-side measurements of real nodes.
//!
//! Starts real daemons, and, where they are installed, the programs that others use for the same work; has them
//! do it in turn, round by round, so that whatever slows the machine hits all of them; and prints medians with
//! minimum and maximum, what each side used of processor and memory, and ratios between those of one round.
//!
//! It tunes no contestant, cardume neither: each runs as it comes. What is not installed is left out, with a loud
//! line.

pub mod ask;
pub mod content;
pub mod contestants;
pub mod figures;
mod memory;
pub mod place;
pub mod runs;
pub mod watch;
pub mod workload;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use content::Content;
use contestants::Contestant;
use figures::Sample;
use runs::{Entry, Setting};
use workload::{Scale, Workload};

/// What to measure, and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The workloads, one after the other.
    pub workloads: Vec<Workload>,
    /// How much of them.
    pub scale: Scale,
    /// Counted rounds.
    pub runs: usize,
    /// Rounds before those, not counted.
    pub warm_up: usize,
    /// Only these contestants; all if empty.
    pub only: Vec<String>,
    /// The node to measure.
    pub program: PathBuf,
    /// Where files are made and fetched to; the same disk as the temporary directory is fairest.
    pub scratch: PathBuf,
    /// Seconds of the idle minute, and of messages.
    pub idle: u64,
}

impl Plan {
    /// Does it all; each sample goes to `out` as a line of JSON, each workload's table to `tell`.
    ///
    /// # Errors
    ///
    /// If a contestant that takes part fails, or `out` does.
    pub fn run(&self, out: &mut dyn Write, tell: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        let contestants = contestants::all(&self.program);
        memory::warning().into_iter().for_each(progress);
        for workload in &self.workloads {
            let samples = self.measure(*workload, &contestants, out)?;
            let table = figures::table(&samples, workload.yardstick());
            tell(&format!("\n{}: {}\n{table}", workload.name(), workload.about()));
        }
        Ok(())
    }

    /// All rounds of one workload.
    fn measure(
        &self,
        workload: Workload,
        contestants: &[Box<dyn Contestant>],
        out: &mut dyn Write,
    ) -> anyhow::Result<Vec<Sample>> {
        let scratch = tempfile::tempdir_in(&self.scratch).context("a directory to work in")?;
        progress(&format!("{}: making content", workload.name()));
        let content = Content::make(scratch.path(), workload.shape(self.scale))?;
        let setting = Setting {
            workload,
            scale: self.scale,
            content: &content,
            program: &self.program,
            idle: self.idle,
        };
        let entries = self.present(workload, runs::entries(&setting, contestants));
        let mut samples = Vec::new();
        for round in 0..self.warm_up + self.runs * workload.repeat() {
            let counted = round.checked_sub(self.warm_up).map(|round| round + 1);
            for entry in &entries {
                let to = scratch.path().join(format!("{}-{round}", entry.name));
                fs::create_dir(&to)?;
                memory::touch(content.shape().bytes() * setting.copies());
                let measured =
                    (entry.run)(&to).with_context(|| format!("{} of {}", workload.name(), entry.name))?;
                let mark = counted.map_or_else(|| "warm-up".to_owned(), |round| round.to_string());
                progress(&format!(
                    "{} {} {mark}: {:.3} s",
                    workload.name(),
                    entry.name,
                    measured.seconds
                ));
                let Some(round) = counted else { continue };
                let sample = Sample {
                    workload: workload.name(),
                    contestant: entry.name.clone(),
                    round,
                    measured,
                };
                writeln!(out, "{}", serde_json::to_string(&sample)?)?;
                samples.push(sample);
            }
        }
        Ok(samples)
    }

    /// Those that are wanted and installed.
    fn present<'a>(&self, workload: Workload, entries: Vec<(Vec<PathBuf>, Entry<'a>)>) -> Vec<Entry<'a>> {
        let wanted = entries
            .into_iter()
            .filter(|(_, entry)| self.only.is_empty() || self.only.contains(&entry.name));
        let present = wanted.filter(|(needs, entry)| {
            let absent = needs.iter().find(|program| contestants::find(program).is_none());
            if let Some(program) = absent {
                skipped(workload, &entry.name, program);
            }
            absent.is_none()
        });
        present.map(|(_, entry)| entry).collect()
    }
}

#[expect(clippy::print_stderr, reason = "who measures wants to see that it moves")]
fn progress(line: &str) {
    eprintln!("{line}");
}

fn skipped(workload: Workload, name: &str, program: &Path) {
    progress(&format!(
        "SKIPPED: {} of {name}: no {}",
        workload.name(),
        program.display()
    ));
}
