//! Messages on a topic: how soon they are everywhere, how many are lost, and what they cost.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardume_testkit::daemon::{Daemon, Home};

use super::Setting;
use crate::{
    ask::Question,
    figures::{Measured, Waits},
    place::wait_for,
    watch::Watch,
};

/// Nodes, each a process, each publishing and reading.
const NODES: usize = 8;
/// Nodes that each of them connects to.
const NEIGHBOURS: usize = 3;
/// Messages a second of all together.
const RATE: u64 = 1000;
/// Bytes of a message; it begins with its number in sixteen digits.
const SIZE: usize = 1024;
const DIGITS: usize = 16;
/// Time for the last messages to come.
const REST: Duration = Duration::from_secs(5);
/// What the path of the topic's messages is called.
const PATH: &str = "/v1/topics/bench/messages";

/// When each message was sent, in nanoseconds since the beginning; 0 if it was not.
struct Sent {
    began: Instant,
    at: Vec<AtomicU64>,
}

impl Sent {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Publishes for a time from all nodes, and reads at all of them.
pub(super) fn run(setting: &Setting<'_>) -> anyhow::Result<Measured> {
    let nodes = start(setting.program)?;
    let messages = setting.idle.max(1) * RATE;
    let sent = Arc::new(Sent {
        began: Instant::now(),
        at: (0..messages).map(|_| AtomicU64::new(0)).collect(),
    });
    let sockets: Vec<PathBuf> = nodes.iter().map(|node| node.socket()).collect();
    let mut readers = Vec::new();
    for (index, socket) in sockets.iter().enumerate() {
        let (stream, sent) = (open(socket)?, sent.clone());
        readers.push(thread::spawn(move || read(stream, index, &sent)));
    }
    wait_for("a mesh", || is_mesh(&sockets))?;
    let pids: Vec<u32> = nodes.iter().map(Daemon::pid).collect();
    let watch = Watch::begin(&pids, &[])?;
    let began = Instant::now();
    let writers = sockets.iter().enumerate().map(|(index, socket)| {
        let (socket, sent) = (socket.clone(), sent.clone());
        thread::spawn(move || write(&socket, index, &sent))
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        writer.join().ok().context("a writer")??;
    }
    let seconds = began.elapsed().as_secs_f64();
    let (source, _) = watch.end()?;
    thread::park_timeout(REST);
    // The streams end with their nodes.
    drop(nodes);
    let mut latencies = Vec::new();
    for reader in readers {
        latencies.extend(reader.join().ok().context("a reader")?);
    }
    let published = sent.at.iter().filter(|at| at.load(Ordering::Relaxed) > 0).count();
    let expected = published * (NODES - 1);
    ensure!(expected > 0, "nothing was published");
    Ok(Measured {
        seconds,
        source: Some(source),
        unheard: Some(1.0 - latencies.len() as f64 / expected as f64),
        delivery: Waits::of(latencies),
        ..Measured::default()
    })
}

fn start(program: &Path) -> anyhow::Result<Vec<Daemon>> {
    let mut nodes: Vec<Daemon> = Vec::new();
    for _ in 0..NODES {
        let home = Home::new(program)?
            .set(format!("gossipsub.max_rate={RATE}"))
            .set(format!("gossipsub.max_peer_rate={}", RATE * 4));
        let node = home.start()?;
        for other in nodes.iter().rev().take(NEIGHBOURS) {
            node.json(["peer", "connect", &other.address(true)?])?;
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// Whether every node exchanges messages with all it can.
fn is_mesh(sockets: &[PathBuf]) -> anyhow::Result<bool> {
    for socket in sockets {
        let peers = Question::get("/v1/topics/bench/peers").ask(socket)?;
        let linked = |peer: &&serde_json::Value| peer["mesh"] == true;
        if peers.as_array().into_iter().flatten().filter(linked).count() < NEIGHBOURS {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Begins to read the topic. HTTP/1.0, so that its events come without frames.
fn open(socket: &Path) -> anyhow::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "GET {PATH} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    ensure!(line.contains(" 200 "), "{line}");
    while line.trim() != "" {
        line.clear();
        stream.read_line(&mut line)?;
    }
    Ok(stream)
}

/// How long each message of the others took to come, in seconds.
fn read(stream: BufReader<UnixStream>, index: usize, sent: &Sent) -> Vec<f64> {
    let mut latencies = Vec::new();
    for line in stream.lines().map_while(Result::ok) {
        let now = sent.now();
        let number = line
            .split_once("\"text\":\"")
            .and_then(|(_, text)| text.get(..DIGITS)?.parse::<usize>().ok());
        let Some(number) = number.filter(|number| number % NODES != index) else {
            continue;
        };
        let at = sent.at.get(number).map_or(0, |at| at.load(Ordering::Relaxed));
        latencies.push(Duration::from_nanos(now.saturating_sub(at)).as_secs_f64());
    }
    latencies
}

/// Publishes every eighth message when it is due, on one connection.
fn write(socket: &Path, index: usize, sent: &Sent) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    let mut answer = [0; 4096];
    let began = Instant::now();
    for (number, at) in sent.at.iter().enumerate().skip(index).step_by(NODES) {
        let due = Duration::from_secs(number as u64) / u32::try_from(RATE)?;
        while let Some(left) = due.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            thread::park_timeout(left);
        }
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SIZE}\r\n\r\n");
        let message = format!("{head}{number:0DIGITS$}{}", "x".repeat(SIZE - DIGITS));
        at.store(sent.now(), Ordering::Relaxed);
        stream.write_all(message.as_bytes())?;
        // The answer is short, and comes in one part.
        let read = stream.read(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer[..read]);
        ensure!(answer.starts_with("HTTP/1.1 200"), "message {number}: {answer}");
    }
    Ok(())
}
