//! Consumers that stand still, and what becomes of the others.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::Path,
};

use cardume_testkit::{daemon::Daemon, patience};
use serde_json::Value;

use crate::{delivered, home, hostile::thinks, topic};

/// Messages, of so many bytes: twice the 16 MiB that are kept. They travel as content, so that few have to be signed,
/// which takes long without optimisation.
const MESSAGES: usize = 64;
const SIZE: usize = 512 << 10;
/// Those on their way at the same time; half of what is fetched at once.
const CHUNK: usize = 4;
const PATH: &str = "/v1/topics/t/messages";
/// Memory that a daemon may take for consumers that stand still.
const MEMORY: u64 = 64 << 20;

/// A reader of the API that has got its head, and reads on when it is asked to.
struct Sleeper(BufReader<UnixStream>);

impl Sleeper {
    /// HTTP/1.0, so that events come without frames.
    fn new(socket: &Path) -> Self {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(patience::PATIENCE)).unwrap();
        write!(stream, "GET {PATH} HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut sleeper = Self(BufReader::new(stream));
        assert!(sleeper.line().contains(" 200 "));
        while !sleeper.line().trim().is_empty() {}
        sleeper
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
        line
    }

    fn next(&mut self) -> Value {
        loop {
            if let Some(data) = self.line().strip_prefix("data:") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

/// Publishes on one connection, as a program does.
fn publish(socket: &mut UnixStream, number: usize) {
    let message = format!("{number:05}{}", "x".repeat(SIZE - 5));
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        message.len()
    );
    socket.write_all((head + &message).as_bytes()).unwrap();
    // The answer is short, and comes in one part.
    let mut answer = [0; 4096];
    let read = socket.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn lost(daemon: &Daemon, kind: &str) -> u64 {
    let topic = topic(daemon, "t").unwrap();
    let deliveries = topic["deliveries"].as_array().unwrap();
    let found = deliveries.iter().find(|delivery| delivery["kind"] == kind);
    found.unwrap()["lost"].as_u64().unwrap()
}

/// Three daemons in a row; the one in the middle has a command that stops itself and a server that does not answer, and
/// both this and the last have a spool directory.
fn row(server: &TcpListener) -> [Daemon; 3] {
    let fast = || {
        home()
            .set("gossipsub.max_rate=100000")
            .set("gossipsub.max_peer_rate=100000")
    };
    let busy = fast();
    let spool = busy.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let busy = busy
        .set("topic.t.deliver.exec.command=[\"/bin/sh\", \"-c\", \"kill -STOP $$\"]")
        .set("topic.t.deliver.exec.timeout=\"5s\"")
        .set(format!(
            "topic.t.deliver.webhook.url=\"http://{}/\"",
            server.local_addr().unwrap()
        ))
        .set("topic.t.deliver.webhook.timeout=\"5s\"")
        .set("topic.t.deliver.webhook.attempts=1")
        .set(format!("topic.t.deliver.spool.directory={spool:?}"))
        .start()
        .unwrap();
    let address = busy.address(true).unwrap();
    let beside = || fast().set(format!("connect.bootstrap=[{address:?}]"));
    let far = beside();
    let spool = far.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let far = far.set(format!("topic.t.deliver.spool.directory={spool:?}"));
    [beside().start().unwrap(), busy, far.start().unwrap()]
}

#[test]
fn consumers_that_stand_still_lose_messages_are_told_how_many_and_cost_nobody_else_any() {
    // Connections are made, and nobody takes them.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let [author, busy, far] = row(&server);
    let next = busy.peer_id().unwrap();
    for beside in [&author, &far] {
        let is_known = || Ok(thinks(beside, "t", &next, |_| true));
        patience::until("the topic to be known", is_known).unwrap();
    }
    let is_linked = || Ok(thinks(&far, "t", &next, |row| row["mesh"] == true));
    patience::until("a mesh", is_linked).unwrap();
    let mut sleeper = Sleeper::new(&busy.socket());
    let before = busy.anonymous_memory().unwrap();

    for first in (0..MESSAGES).step_by(CHUNK) {
        let chunk = first..first + CHUNK;
        // One that is idle between chunks for long is closed.
        let mut socket = UnixStream::connect(author.socket()).unwrap();
        chunk.for_each(|number| publish(&mut socket, number));
        // Beyond the busy node all is heard, and beside those that stand still.
        for node in [&far, &busy] {
            let all = (first + CHUNK) as u64;
            patience::until("the spool", || Ok(delivered(node, "t", "spool") == all)).unwrap();
        }
    }
    for kind in ["exec", "webhook"] {
        patience::until(kind, || Ok(lost(&busy, kind) > 0)).unwrap();
    }
    assert_eq!(lost(&busy, "spool") + lost(&far, "spool"), 0);
    let grown = busy.anonymous_memory().unwrap().saturating_sub(before);
    assert!(grown < MEMORY, "{grown}");

    // It wakes, and is told what it has missed, in its place.
    let (mut read, mut missed) = (0, 0);
    while read + missed < MESSAGES as u64 {
        match sleeper.next()["lost"].as_u64() {
            Some(count) => missed += count,
            None => read += 1,
        }
    }
    println!("{read} messages read, {missed} missed, {grown} bytes more");
    assert!(missed > 0 && read + missed == MESSAGES as u64, "{read}, {missed}");
}
