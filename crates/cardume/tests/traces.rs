//! Traces of a real daemon, sent to a collector that is there, and to one that is not.
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::{Daemon, Home},
    files::random_file,
    patience,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
/// A stop that takes longer has waited for the collector.
const QUICK: Duration = Duration::from_secs(5);

/// A request of the exporter: where to, of which kind, and what is in it.
struct Request {
    path: String,
    kind: String,
    body: Vec<u8>,
}

impl Request {
    fn holds(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|part| part == text.as_bytes())
    }
}

/// Takes whatever is posted to it.
#[derive(Clone)]
struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<Request>>>,
}

impl Collector {
    fn begin() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let collector = Self {
            address: listener.local_addr()?,
            taken: Arc::default(),
        };
        let taken = collector.taken.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if let Ok(request) = take(stream) {
                    taken.lock().expect("nobody panics with it").push(request);
                }
            }
        });
        Ok(collector)
    }

    fn any(&self, wanted: impl Fn(&Request) -> bool) -> bool {
        self.taken
            .lock()
            .expect("nobody panics with it")
            .iter()
            .any(wanted)
    }
}

fn take(stream: TcpStream) -> anyhow::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.strip_prefix("POST ").and_then(|rest| rest.split(' ').next());
    let path = path.context("it posts")?.to_owned();
    let (mut kind, mut length) = (String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-type" => kind = value.to_owned(),
            "content-length" => length = value.parse()?,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    reader
        .into_inner()
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    Ok(Request { path, kind, body })
}

/// A daemon that sends traces to `address`.
fn tracing(address: SocketAddr) -> anyhow::Result<Daemon> {
    Home::new(PROGRAM)?
        .set(format!("trace.endpoint=\"http://{address}/v1/traces\""))
        .start()
}

/// Has `getter` fetch a file from `giver`; tells its CID.
fn fetch(giver: &Daemon, getter: &Daemon) -> anyhow::Result<String> {
    random_file(&giver.path().join("a.bin"), 300_000, 7)?;
    let shared = giver.json(["share", "a.bin"])?;
    let link = shared["link"].as_str().context("link")?;
    let got = getter.run(["get", link, "-o", "b.bin"])?;
    ensure!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    Ok(shared["cid"].as_str().context("cid")?.to_owned())
}

#[test]
fn a_fetch_is_told_to_the_collector() -> anyhow::Result<()> {
    let collector = Collector::begin()?;
    let giver = Home::new(PROGRAM)?.start()?;
    let getter = tracing(collector.address)?;
    let peer = getter.peer_id()?;
    let cid = fetch(&giver, &getter)?;
    let (dialled, fetched) = (giver.peer_id()?, ["fetch", "outcome", "done", &cid]);
    // They may come in one request or in several.
    for told in [&fetched[..], &["dial", &dialled], &["POST /v1/fetches"]] {
        patience::until(&format!("the collector has {told:?}"), || {
            Ok(collector.any(|request| told.iter().all(|text| request.holds(text))))
        })?;
    }
    ensure!(!collector.any(|request| {
        let is_right = request.path == "/v1/traces"
            && request.kind == "application/x-protobuf"
            && ["service.instance.id", &peer, "service.version"]
                .iter()
                .all(|text| request.holds(text));
        !is_right
    }));
    ensure!(
        !collector.any(|request| request.holds("libp2p")),
        "spans of libraries"
    );
    let log = getter.log();
    ensure!(!log.contains("\"span\""), "lines of the log have spans: {log}");
    Ok(())
}

#[test]
fn what_waits_is_sent_when_the_daemon_stops() -> anyhow::Result<()> {
    let collector = Collector::begin()?;
    let daemon = tracing(collector.address)?;
    random_file(&daemon.path().join("a.bin"), 1_000, 7)?;
    daemon.json(["share", "a.bin"])?;
    let (_home, status) = daemon.stop()?;
    ensure!(status.success(), "{status}");
    ensure!(collector.any(|request| request.holds("import") && request.holds("a.bin")));
    Ok(())
}

#[test]
fn as_much_is_sent_as_is_configured() -> anyhow::Result<()> {
    let told = |sample: &str| -> anyhow::Result<bool> {
        let collector = Collector::begin()?;
        let endpoint = format!("trace.endpoint=\"http://{}/v1/traces\"", collector.address);
        let home = Home::new(PROGRAM)?
            .set(endpoint)
            .set(format!("trace.sample={sample}"));
        let daemon = home.start()?;
        daemon.json(["status"])?;
        // What waits is sent when it stops.
        ensure!(daemon.stop()?.1.success());
        Ok(collector.any(|_| true))
    };
    ensure!(told("1.0")? && !told("0.0")?);
    Ok(())
}

#[test]
fn a_collector_that_is_away_or_silent_harms_nothing() -> anyhow::Result<()> {
    // Nobody listens where somebody did.
    let away = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    // Takes connections, and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", 0))?;
    let giver = tracing(away)?;
    let getter = tracing(silent.local_addr()?)?;
    fetch(&giver, &getter)?;
    let warnings = || giver.log().matches("takes no traces").count();
    patience::until("it has been told of", || Ok(warnings() > 0))?;
    for daemon in [giver, getter] {
        // This fails when it stops.
        daemon.json(["status"])?;
        let began = Instant::now();
        let (home, status) = daemon.stop()?;
        ensure!(status.success(), "{status}");
        ensure!(began.elapsed() < QUICK, "{:?}", began.elapsed());
        let log = fs::read_to_string(home.path().join("log"))?;
        ensure!(log.matches("takes no traces").count() <= 1, "{log}");
    }
    Ok(())
}
