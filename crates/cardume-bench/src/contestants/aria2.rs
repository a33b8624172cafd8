//! BitTorrent, as aria2 speaks it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use super::{Contestant, Fetcher, Killed, Offer, Source, Wanted};
use crate::{
    content::Content,
    place::{Place, wait_for},
    watch::Watch,
    workload::Workload,
};

pub(super) struct Aria2;

impl Contestant for Aria2 {
    fn name(&self) -> &'static str {
        "aria2"
    }

    fn needs(&self) -> Vec<PathBuf> {
        vec!["aria2c".into(), "mktorrent".into()]
    }

    fn can(&self, workload: Workload) -> bool {
        // Its tracker is here, where hosts of their own do not reach it; and it sends no ranges.
        matches!(
            workload,
            Workload::W1 | Workload::W2 | Workload::W4 | Workload::W6
        )
    }

    fn source(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Source>> {
        Ok(Box::new(Seed::start(place, content)?))
    }

    fn fetcher(&self, place: &Place, _: &Content) -> anyhow::Result<Box<dyn Fetcher>> {
        Ok(Box::new(Getter { place: place.clone() }))
    }
}

/// Its default settings, but for talking to nobody outside.
fn aria2c(place: &Place) -> anyhow::Result<(Command, SocketAddr)> {
    let at = place.free()?;
    let mut command = place.command("aria2c");
    command.args([
        "--no-conf",
        "--quiet",
        "--enable-dht=false",
        "--bt-enable-lpd=false",
    ]);
    command.arg(format!("--listen-port={}", at.port()));
    Ok((command, at))
}

struct Seed {
    process: Killed,
    at: SocketAddr,
    directory: TempDir,
    _tracker: Tracker,
}

impl Seed {
    fn start(place: &Place, content: &Content) -> anyhow::Result<Self> {
        let (directory, tracker) = (tempfile::tempdir()?, Tracker::start()?);
        let torrent = directory.path().join("torrent");
        let announce = format!("http://{}/announce", tracker.at);
        let made = Command::new("mktorrent")
            .args(["-l", "20", "-a", &announce, "-o"])
            .arg(&torrent)
            .arg(&content.path)
            .output()?;
        ensure!(
            made.status.success(),
            "mktorrent: {}",
            String::from_utf8_lossy(&made.stdout)
        );
        let (mut command, at) = aria2c(place)?;
        command.args(["--seed-ratio=0.0", "--bt-seed-unverified=true", "--dir"]);
        command.arg(content.path.parent().context("content lies in a directory")?);
        let process = Killed::start(command.arg(&torrent))?;
        wait_for("aria2 to announce itself", || Ok(!tracker.is_empty()))?;
        Ok(Self {
            process,
            at,
            directory,
            _tracker: tracker,
        })
    }
}

impl Source for Seed {
    fn processes(&self) -> Vec<u32> {
        vec![self.process.0.id()]
    }

    fn offer(&self) -> Offer {
        Offer {
            what: self.directory.path().join("torrent").display().to_string(),
            at: self.at,
            is_udp: false,
        }
    }
}

struct Getter {
    place: Place,
}

impl Fetcher for Getter {
    fn fetch(&mut self, watch: &Watch, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let into = wanted.to.with_extension("aria2");
        let (mut command, _) = aria2c(&self.place)?;
        command.args(["--seed-time=0", "--dir"]).arg(&into);
        // Each source has a torrent and a tracker of its own; all name the same content.
        let trackers = wanted.offers.iter().map(|offer| tracker_of(&offer.what));
        let trackers = trackers.collect::<anyhow::Result<Vec<_>>>()?;
        command.arg(format!("--bt-tracker={}", trackers.join(",")));
        watch.run(command.arg(&wanted.offers.first().context("an offer")?.what))?;
        Ok(fs::rename(into.join("content"), wanted.to)?)
    }
}

/// The tracker that a torrent names: `8:announce`, the length, a colon, and so many bytes (BEP 3).
fn tracker_of(torrent: &str) -> anyhow::Result<String> {
    let text = String::from_utf8_lossy(&fs::read(torrent)?).into_owned();
    let (_, rest) = text
        .split_once("8:announce")
        .context("a torrent names its tracker")?;
    let (length, rest) = rest.split_once(':').context("a length")?;
    Ok(rest.get(..length.parse()?).context("a tracker")?.to_owned())
}

/// Tells peers of each other over HTTP (BEP 3, BEP 23), for one torrent; runs until this program ends.
struct Tracker {
    at: SocketAddr,
    peers: Arc<Mutex<Vec<u16>>>,
}

impl Tracker {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let at = listener.local_addr()?;
        let peers = Arc::<Mutex<Vec<u16>>>::default();
        let known = peers.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who asks badly gets no answer.
                let _ = tell(stream, &known);
            }
        });
        Ok(Self { at, peers })
    }

    fn is_empty(&self) -> bool {
        self.peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

fn tell(mut stream: TcpStream, peers: &Mutex<Vec<u16>>) -> anyhow::Result<()> {
    let mut request = String::new();
    BufReader::new(&stream).read_line(&mut request)?;
    let port = request
        .split(['?', '&', ' '])
        .find_map(|part| part.strip_prefix("port="));
    let port: u16 = port.context("a port")?.parse()?;
    let mut peers = peers.lock().unwrap_or_else(PoisonError::into_inner);
    let others = peers.iter().filter(|other| **other != port);
    let compact: Vec<u8> = others
        .flat_map(|port| [Ipv4Addr::LOCALHOST.octets().as_slice(), &port.to_be_bytes()].concat())
        .collect();
    if !peers.contains(&port) {
        peers.push(port);
    }
    drop(peers);
    let mut body = format!("d8:intervali1800e5:peers{}:", compact.len()).into_bytes();
    body.extend(compact);
    body.push(b'e');
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    Ok(stream.write_all(&body)?)
}
