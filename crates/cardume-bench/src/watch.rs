//! What processes use: time on the processor, and memory, looked at while they run.

use std::{
    fs, io,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde::Serialize;

/// Time between two looks at the memory of everybody.
const LOOK: Duration = Duration::from_millis(10);
/// Processes that are looked at that often; of more, looking would itself be felt.
const CROWD: u32 = 8;

/// What one side has used.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Used {
    /// Seconds on the processor, user and system, of all processes of the side together.
    pub cpu: f64,
    /// The most anonymous memory that one of its processes had, bytes.
    pub anonymous: u64,
    /// The most resident memory that one of its processes had, bytes.
    pub resident: u64,
}

impl Used {
    /// What a process has used since it was started, and has now.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn so_far(process: u32) -> anyhow::Result<Self> {
        let memory = Memory::of(process);
        Ok(Self {
            cpu: cpu(process)?,
            anonymous: memory.anonymous,
            resident: memory.resident,
        })
    }

    fn look(&mut self, memory: Memory) {
        self.anonymous = self.anonymous.max(memory.anonymous);
        self.resident = self.resident.max(memory.resident);
    }
}

/// Processes being watched, those that stay and those that come and go.
pub struct Watch {
    seen: Arc<Mutex<Seen>>,
    source_before: f64,
    fetcher_before: f64,
    over: Arc<AtomicBool>,
    looker: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    sources: Vec<u32>,
    fetchers: Vec<u32>,
    commands: Vec<u32>,
    source: Used,
    fetcher: Used,
}

impl Watch {
    /// Begins to watch the processes of both sides, and their children.
    ///
    /// # Errors
    ///
    /// If one of them is not there.
    pub fn begin(sources: &[u32], fetchers: &[u32]) -> anyhow::Result<Self> {
        let (sources, fetchers) = (with_children(sources), with_children(fetchers));
        let (source_before, fetcher_before) = (cpu_of_all(&sources)?, cpu_of_all(&fetchers)?);
        let seen = Arc::new(Mutex::new(Seen {
            sources,
            fetchers,
            ..Seen::default()
        }));
        let over = Arc::new(AtomicBool::new(false));
        let looker = std::thread::spawn({
            let (seen, over) = (seen.clone(), over.clone());
            move || {
                while !over.load(Ordering::Relaxed) {
                    let looked_at = lock(&seen).look();
                    std::thread::park_timeout(LOOK * looked_at.div_ceil(CROWD).max(1));
                }
            }
        });
        Ok(Self {
            seen,
            source_before,
            fetcher_before,
            over,
            looker: Some(looker),
        })
    }

    /// Runs a command of the fetching side to its end; what it used is added to that side.
    ///
    /// # Errors
    ///
    /// If it cannot be run, or fails; with what it said.
    pub fn run(&self, command: &mut Command) -> anyhow::Result<()> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{:?}", command.get_program()))?;
        let process = child.id();
        lock(&self.seen).commands.push(process);
        let mut said = Vec::new();
        if let Some(errors) = &mut child.stderr {
            io::Read::read_to_end(errors, &mut said)?;
        }
        // What an ended process has used is told until it is waited for.
        let pid = i32::try_from(process)
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id")?;
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
        let used = cpu(process)?;
        let mut seen = lock(&self.seen);
        seen.commands.retain(|other| *other != process);
        seen.fetcher.cpu += used;
        drop(seen);
        let status = child.wait()?;
        if !status.success() {
            bail!("{command:?}: {status}: {}", String::from_utf8_lossy(&said).trim());
        }
        Ok(())
    }

    /// Ends it, and says what source and fetcher used meanwhile.
    ///
    /// # Errors
    ///
    /// If a process that should still run has ended.
    pub fn end(mut self) -> anyhow::Result<(Used, Used)> {
        self.stop();
        let mut seen = lock(&self.seen);
        seen.look();
        seen.source.cpu += cpu_of_all(&seen.sources)? - self.source_before;
        seen.fetcher.cpu += cpu_of_all(&seen.fetchers)? - self.fetcher_before;
        Ok((seen.source, seen.fetcher))
    }

    fn stop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(looker) = self.looker.take() {
            looker.thread().unpark();
            looker.join().expect("looking does not panic");
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Seen {
    /// Looks at all, and says how many they are.
    fn look(&mut self) -> u32 {
        let mut looked_at = 0;
        for process in &self.sources {
            self.source.look(Memory::of(*process));
            looked_at += 1;
        }
        for process in self.fetchers.iter().chain(&self.commands) {
            self.fetcher.look(Memory::of(*process));
            looked_at += 1;
        }
        looked_at
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Default)]
struct Memory {
    anonymous: u64,
    resident: u64,
}

impl Memory {
    /// Nothing, if the process has just ended.
    fn of(process: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
            number.unwrap_or_default() * 1024
        };
        Self {
            anonymous: field("RssAnon:"),
            resident: field("VmRSS:"),
        }
    }
}

/// These processes and the children of their first threads: workers are forked there.
fn with_children(processes: &[u32]) -> Vec<u32> {
    let mut all = processes.to_vec();
    for process in processes {
        let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
        all.extend(
            children
                .unwrap_or_default()
                .split_whitespace()
                .filter_map(|child| child.parse::<u32>().ok()),
        );
    }
    all
}

fn cpu_of_all(processes: &[u32]) -> anyhow::Result<f64> {
    processes.iter().map(|process| cpu(*process)).sum()
}

/// Seconds that a process has used so far, in steps of the kernel's clock tick, 10 ms as a rule.
fn cpu(process: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The second field is the program's name in parentheses and may hold anything; count after it.
    let (_, fields) = stat.rsplit_once(')').context("stat has no name")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || -> anyhow::Result<u64> { Ok(fields.next().context("stat is short")?.parse()?) };
    let sum = ticks()? + ticks()?;
    Ok(sum as f64 / rustix::param::clock_ticks_per_second() as f64)
}
