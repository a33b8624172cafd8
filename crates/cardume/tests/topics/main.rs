//! Topics of real daemons: between the command lines of two of them, and delivered to programs.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

mod hostile;
mod room;
mod slow;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc,
    thread,
};

use cardume_testkit::{
    daemon::{Daemon, Home},
    files::random_file,
    patience::{self, PATIENCE},
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

fn home() -> Home {
    Home::new(PROGRAM).unwrap()
}

/// A daemon, and another that is connected to it.
fn two(first: Home, second: Home) -> [Daemon; 2] {
    let first = first.start().unwrap();
    let bootstrap = format!("connect.bootstrap=[\"{}\"]", first.address(true).unwrap());
    let second = second.set(bootstrap).start().unwrap();
    [first, second]
}

/// A command line that goes on printing; killed when dropped.
struct Running(Child, BufReader<ChildStdout>);

impl Running {
    fn new(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self(child, stdout)
    }

    fn json(&mut self) -> Value {
        let mut line = String::new();
        self.1.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn topic(daemon: &Daemon, name: &str) -> Option<Value> {
    let output = daemon.run(["--json", "topic", "ls"]).unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut topics = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    topics.find(|topic| topic["topic"] == name)
}

/// What has been delivered in one way, as `topic ls` tells it.
fn delivered(daemon: &Daemon, name: &str, kind: &str) -> u64 {
    let topic = topic(daemon, name).unwrap_or_default();
    let mut deliveries = topic["deliveries"].as_array().into_iter().flatten();
    let found = deliveries.find(|delivery| delivery["kind"] == kind);
    found.map_or(0, |delivery| delivery["delivered"].as_u64().unwrap())
}

#[test]
fn what_is_published_at_one_daemon_is_printed_at_another_small_or_large() {
    let [first, second] = two(home(), home());
    let mut heard = Running::new(second.command().args(["--json", "topic", "sub", "news"]));
    let said = first
        .json(["topic", "pub", "news", "all is well", "--wait", "1m"])
        .unwrap();
    let message = heard.json();
    assert_eq!(message["text"], "all is well");
    assert_eq!(message["data"], "YWxsIGlzIHdlbGw=");
    assert_eq!(message["id"], said["id"]);
    assert_eq!(message["from"], first.peer_id().unwrap());

    random_file(&first.path().join("large"), 300_000, 7).unwrap();
    first.json(["topic", "pub", "news", "--file", "large"]).unwrap();
    let message = heard.json();
    let cid = message["cid"].as_str().unwrap();
    assert!(cid.starts_with("bafkr4i") && message["text"].is_null());
    let raw = second
        .run(["topic", "sub", "news", "--history", "1", "--count", "1", "--raw"])
        .unwrap();
    assert!(raw.stdout == fs::read(first.path().join("large")).unwrap());

    let seen = topic(&first, "news").unwrap();
    assert_eq!((&seen["subscribed"], &seen["peers"]), (&false.into(), &1.into()));
    let peer = second.json(["topic", "peers", "news"]);
    assert!(peer.is_err(), "the first is not subscribed: {peer:?}");
    let nobody = first.run(["topic", "pub", "nothing", "hm"]).unwrap();
    assert_eq!(nobody.status.code(), Some(4));
}

#[test]
fn a_large_message_is_given_to_none_but_those_it_is_for() {
    let friend = home().set("topic.staff.subscribers=[]").start().unwrap();
    let giver = home()
        .set(format!("peer.friend.id=\"{}\"", friend.peer_id().unwrap()))
        .set("topic.staff.subscribers=[\"friend\"]")
        .start()
        .unwrap();
    let mut heard = Running::new(friend.command().args(["--json", "topic", "sub", "staff"]));
    friend
        .json(["peer", "connect", &giver.address(true).unwrap()])
        .unwrap();
    random_file(&giver.path().join("large"), 300_000, 7).unwrap();
    giver
        .json(["topic", "pub", "staff", "--file", "large", "--wait", "1m"])
        .unwrap();
    let message = heard.json();
    let cid = message["cid"].as_str().unwrap();
    let stranger = home().start().unwrap();
    for holder in [&giver, &friend] {
        stranger
            .json(["peer", "connect", &holder.address(true).unwrap()])
            .unwrap();
    }
    patience::until("both to be asked in vain", || {
        let got = stranger.run(["get", "--timeout", "2s", cid])?;
        assert_eq!(got.status.code(), Some(4), "{got:?}");
        let denied = |holder: &Daemon| holder.json(["status"]).unwrap()["denied"]["fetch"].as_u64();
        Ok(denied(&giver) > Some(0) && denied(&friend) > Some(0))
    })
    .unwrap();
}

/// A server that answers each request with the next of some statuses, and hands on what it was asked.
fn web(statuses: &'static [u16]) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (asked, requests) = mpsc::channel();
    thread::spawn(move || {
        for status in statuses {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"all is well") {
                let read = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..read]);
            }
            write!(stream, "HTTP/1.1 {status} \r\ncontent-length: 0\r\n\r\n").unwrap();
            asked.send(String::from_utf8(request).unwrap()).unwrap();
        }
    });
    (url, requests)
}

#[test]
fn messages_are_handed_to_a_command_a_webhook_and_a_spool_directory() {
    let (url, requests) = web(&[503, 200]);
    let second = home();
    let [ran, spool, secret] = ["ran", "spool", "secret"].map(|name| second.path().join(name));
    fs::create_dir(&spool).unwrap();
    fs::write(&secret, "sesame\n").unwrap();
    let script = r#"cat > "$0.new"; echo " $TOPIC_NAME $TOPIC_FROM" >> "$0.new"; mv "$0.new" "$0""#;
    let deliver = "topic.news.deliver";
    let second = second
        .set(format!(
            "{deliver}.exec.command=[\"/bin/sh\", \"-c\", '{script}', {ran:?}]"
        ))
        .set(format!("{deliver}.webhook.url=\"{url}\""))
        .set(format!("{deliver}.webhook.secret_file={secret:?}"))
        .set(format!("{deliver}.spool.directory={spool:?}"));
    let [first, second] = two(home(), second);
    first
        .json(["topic", "pub", "news", "all is well", "--wait", "1m"])
        .unwrap();

    patience::until("the command", || Ok(ran.exists())).unwrap();
    let author = first.peer_id().unwrap();
    assert_eq!(
        fs::read_to_string(&ran).unwrap(),
        format!("all is well news {author}\n")
    );
    for attempt in 0..2 {
        let request = requests.recv_timeout(PATIENCE).unwrap();
        assert!(
            request.starts_with("POST /hook HTTP/1.1\r\n"),
            "{attempt}: {request}"
        );
        assert!(request.contains("cardume-topic: news\r\n"));
        assert!(request.contains(&format!("cardume-from: {author}\r\n")));
        assert!(request.contains("cardume-signature: sha256="));
    }
    for kind in ["exec", "webhook", "spool"] {
        patience::until(kind, || Ok(delivered(&second, "news", kind) == 1)).unwrap();
    }
    let file = fs::read_dir(&spool).unwrap().next().unwrap().unwrap();
    assert_eq!(fs::read(file.path()).unwrap(), b"all is well");
}

#[test]
fn what_counts_as_spooled_is_whole_on_the_disk_when_the_daemon_is_killed() {
    let second = home();
    let spool = second.path().join("spool");
    fs::create_dir(&spool).unwrap();
    let second = second
        .set("gossipsub.max_rate=10000")
        .set(format!("topic.log.deliver.spool.directory={spool:?}"));
    let [first, second] = two(home().set("gossipsub.max_rate=10000"), second);
    let mut publish = first.command();
    publish.args(["topic", "pub", "log", "--lines", "--wait", "1m"]);
    let mut publish = publish
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = publish.stdin.take().unwrap();
    let line = |number: usize| format!("{number:05} {}", "x".repeat(900));
    thread::spawn(move || {
        // Ends with the command, whose end is killed.
        (0..)
            .map(line)
            .map_while(|line| writeln!(lines, "{line}").ok())
            .for_each(drop);
    });
    let mut counted = 0;
    patience::until("thirty messages", || {
        counted = delivered(&second, "log", "spool");
        Ok(counted >= 30)
    })
    .unwrap();
    let second = second.kill().unwrap();
    publish.kill().unwrap();
    publish.wait().unwrap();

    let second = second.start().unwrap();
    assert_eq!(delivered(&second, "log", "spool"), 0, "it counts anew");
    let files: Vec<_> = fs::read_dir(&spool).unwrap().map(Result::unwrap).collect();
    let whole: BTreeSet<usize> = files
        .iter()
        .filter(|file| !file.file_name().to_string_lossy().starts_with('.'))
        .map(|file| {
            let text = fs::read_to_string(file.path()).unwrap();
            let number = text[..5].parse().unwrap();
            assert_eq!(text, line(number));
            number
        })
        .collect();
    assert!(whole.len() as u64 >= counted, "{} of {counted}", whole.len());
    assert!((0..counted as usize).all(|number| whole.contains(&number)));
}

#[test]
fn a_mistake_in_a_topic_is_told_with_its_place() {
    let home = home();
    let config = home.path().join("c.toml");
    fs::write(
        &config,
        "[topic.news]\n[topic.news.deliver.exec]\ncommand = [\"sh\"]\n",
    )
    .unwrap();
    let output = home
        .run(["--config", config.to_str().unwrap(), "config", "check"])
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(
        error.contains("c.toml:3:1") && error.contains("absolute"),
        "{error}"
    );
}
