//! Numbered messages on a topic, from one command that goes on and on to others that do.
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::Context;
use cardume_testkit::{daemon::Daemon, patience};
use serde_json::Value;

const TOPIC: &str = "log";

/// A command that publishes; killed when dropped.
pub(crate) struct Talk {
    command: Child,
    lines: ChildStdin,
    said: u32,
}

impl Talk {
    /// Begins as soon as somebody that the author is connected to listens.
    pub(crate) fn by(author: &Daemon) -> anyhow::Result<Self> {
        let mut command = author.command();
        command.args(["topic", "pub", "--lines", "--wait", "1m", TOPIC]);
        let mut command = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let lines = command.stdin.take().context("its input")?;
        Ok(Self {
            command,
            lines,
            said: 0,
        })
    }

    /// Publishes the next ten; the number of the last.
    pub(crate) fn say(&mut self) -> anyhow::Result<u32> {
        for _ in 0..10 {
            self.said += 1;
            writeln!(self.lines, "{}", self.said)?;
        }
        Ok(self.said)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        end(&mut self.command);
    }
}

/// A command that listens; killed when dropped.
pub(crate) struct Ear {
    command: Child,
    heard: Arc<Mutex<Vec<u32>>>,
}

impl Ear {
    pub(crate) fn of(node: &Daemon) -> anyhow::Result<Self> {
        let mut command = node.command();
        command.args(["--json", "topic", "sub", TOPIC]);
        let mut command = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(command.stdout.take().context("what it prints")?).lines();
        let heard = Arc::<Mutex<Vec<u32>>>::default();
        let into = heard.clone();
        thread::spawn(move || {
            let numbers = lines.map_while(Result::ok).filter_map(|line| number(&line));
            numbers.for_each(|number| lock(&into).push(number));
        });
        Ok(Self { command, heard })
    }

    /// What has been heard, in the order that it came in.
    pub(crate) fn heard(&self) -> Vec<u32> {
        lock(&self.heard).clone()
    }

    /// Waits until all of `numbers` have come.
    pub(crate) fn hears(&self, numbers: std::ops::RangeInclusive<u32>) -> anyhow::Result<()> {
        patience::until(&format!("the messages {numbers:?}"), || {
            let heard = lock(&self.heard);
            Ok(numbers.clone().all(|number| heard.contains(&number)))
        })
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        end(&mut self.command);
    }
}

/// Waits until `node` knows that `listener` is subscribed, or that it is not any more.
pub(crate) fn knows(node: &Daemon, listener: &str, subscribed: bool) -> anyhow::Result<()> {
    patience::until(&format!("{listener} subscribed: {subscribed}"), || {
        let peers = node.run(["topic", "peers", TOPIC])?;
        Ok(String::from_utf8_lossy(&peers.stdout).contains(listener) == subscribed)
    })
}

fn number(line: &str) -> Option<u32> {
    let message: Value = serde_json::from_str(line).ok()?;
    message["text"].as_str()?.parse().ok()
}

fn lock(heard: &Mutex<Vec<u32>>) -> std::sync::MutexGuard<'_, Vec<u32>> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(command: &mut Child) {
    let _ = command.kill();
    let _ = command.wait();
}
