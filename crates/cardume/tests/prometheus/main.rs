//! What a real Prometheus makes of real nodes: what it scrapes, and the alerts that fire from real causes and stop.
//!
//! It takes a minute and needs Debian's package `prometheus`; `cargo xtask alerts` runs it.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

mod server;

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use cardume_testkit::{
    daemon::{Daemon, Home},
    files::random_file,
    patience::{self, until},
};
use serde_json::Value;

use self::server::{Prometheus, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
/// What nodes tell, as it is described.
const METRICS: &str = include_str!("../../../../docs/metrics.md");
/// Of those, what only members of a closed network tell.
const OF_CLOSED_NETWORKS: [&str; 3] = [
    "cardume_certificate_expires_timestamp_seconds",
    "cardume_refused_connections_total",
    "cardume_revocations",
];
/// An id that nobody has anything for.
const UNKNOWN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Where a node is scraped, and where it listens, however often it starts.
#[derive(Clone, Copy)]
struct Place {
    scraped: SocketAddr,
    port: u16,
}

impl Place {
    fn new() -> Self {
        Self {
            scraped: free_port(),
            port: free_port().port(),
        }
    }

    /// A home for its node, with this configuration in a file.
    fn home(self, text: &str) -> Home {
        let home = Home::new(PROGRAM).unwrap();
        fs::write(home.path().join("cardume.toml"), text).unwrap();
        let config = home.path().join("cardume.toml");
        home.config(config)
            .set(format!("metrics.listen=\"{}\"", self.scraped))
            .set(format!("listen.addresses=[\"/ip4/127.0.0.1/tcp/{}\"]", self.port))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A node that gives, slowly, and one that much is wrong with.
struct Pair {
    den: Daemon,
    attic: Daemon,
    /// Of a file that the first has for nobody.
    note: String,
}

impl Pair {
    fn start(den_place: Place, attic_place: Place) -> Self {
        let den = den_place.home("");
        fs::write(den.path().join("note"), "for nobody").unwrap();
        let config = format!(
            "[rates]\nupload = \"200kB/s\"\n[share.note]\npath = {:?}\nallow = []\n",
            den.path().join("note")
        );
        fs::write(den.path().join("cardume.toml"), config).unwrap();
        let den = den.start().unwrap();
        random_file(&den.path().join("film"), 20_000_000, 7).unwrap();
        let film = den.json(["share", "film"]).unwrap()["cid"].clone();
        let channel = den.json(["channel", "create", "app"]).unwrap()["channel"].clone();
        den.json(["channel", "publish", "app", "film"]).unwrap();
        let mut note = Value::Null;
        until("the note is shared", || {
            note = den.json(["status"])?["shares"][0]["cid"].clone();
            Ok(note.is_string())
        })
        .unwrap();

        let attic = attic_place.home("");
        let id = den.peer_id().unwrap();
        let at = |name: &str| format!("{:?}", attic.path().join(name));
        let config = ILL
            .replace("ID", &id)
            .replace("DEN", &format!("/ip4/127.0.0.1/tcp/{}/p2p/{id}", den_place.port))
            .replace("FILM", text(&film))
            .replace("CHANNEL", text(&channel))
            .replace("SLOW", &at("slow"))
            .replace("TAKEN", &at("taken"))
            .replace("APP", &at("app"))
            .replace("LATE", &at("late"))
            .replace("MISSING", &at("missing"));
        fs::write(attic.path().join("cardume.toml"), config).unwrap();
        for name in ["taken", "app"] {
            fs::write(attic.path().join(name), "something else").unwrap();
        }
        let note = text(&note).to_owned();
        let attic = attic.start().unwrap();
        Self { den, attic, note }
    }
}

/// The configuration of a node that much is wrong with.
const ILL: &str = r#"
[peer.den]
id = "ID"
addresses = ["DEN"]
keep = true
[store]
quota = "64MiB"
[nat]
relays = ["DEN"]
[rendezvous]
points = ["DEN"]
interval = "1m"
[rates]
download = "10MB/s"
[exchange]
find_timeout = "1s"
[fetch.slow]
from = "FILM"
to = SLOW
[fetch.taken]
from = "FILM"
to = TAKEN
[follow.app]
channel = "CHANNEL"
to = APP
poll = "1s"
[follow.late]
channel = "CHANNEL"
to = LATE
poll = "1s"
[share.missing]
path = MISSING
[topic.news.deliver.exec]
command = ["/bin/false"]
"#;

#[test]
#[ignore = "takes minutes, and needs prometheus; `cargo xtask alerts` runs it"]
fn alerts_fire_from_their_causes_and_stop_without_them() {
    let (den, attic, cellar) = (Place::new(), Place::new(), Place::new());
    let Some(prometheus) = Prometheus::start(&[den.scraped, attic.scraped, cellar.scraped]) else {
        eprintln!("SKIPPED: prometheus is not installed (Debian has it in the package prometheus)");
        return;
    };
    let mut pair = Pair::start(den, attic);
    for node in [den, attic] {
        let up = || Ok(prometheus.value("up", node.scraped).as_deref() == Some("1"));
        until("both are scraped", up).unwrap();
    }
    alone(&prometheus, cellar);

    prometheus.fire(
        attic.scraped,
        &[
            "CardumeRelayLost",
            "CardumeRendezvousLost",
            "CardumeWantedFetchFailed",
            "CardumeFollowFailed",
            "CardumeFollowLagging",
            "CardumeShareFailed",
        ],
    );
    use_up(&prometheus, attic, &pair.attic);
    ask_in_vain(&prometheus, den, attic, &pair);

    pair.den = {
        let home = pair.den.kill().unwrap();
        prometheus.fire(den.scraped, &["CardumeDown"]);
        prometheus.fire(attic.scraped, &["CardumeNoPeers"]);
        let home = home.set("nat.relay_server=true").set("rendezvous.server=true");
        // What was late comes at once.
        let home = home.set("rates.upload=\"unlimited\"");
        home.start().unwrap()
    };
    prometheus.stop(den.scraped, &["CardumeDown"]);
    prometheus.stop(attic.scraped, &["CardumeNoPeers"]);
    described(&prometheus);

    mend(&pair.attic);
    prometheus.stop(
        attic.scraped,
        &[
            "CardumeRelayLost",
            "CardumeRendezvousLost",
            "CardumeWantedFetchFailed",
            "CardumeFollowFailed",
            "CardumeFollowLagging",
            "CardumeShareFailed",
            "CardumeFetchesFailing",
            "CardumeMessagesLost",
        ],
    );
    prometheus.stop(den.scraped, &["CardumeManyDenied"]);
    restart(&prometheus, den, pair.den);
}

/// A node that listens nowhere, and then somewhere.
fn alone(prometheus: &Prometheus, cellar: Place) {
    let home = cellar.home("");
    let mut deaf = spawned(&home, cellar);
    prometheus.fire(cellar.scraped, &["CardumeNotReady", "CardumeNoPeers"]);
    deaf.kill().unwrap();
    patience::ended(&mut deaf).unwrap();
    let _cellar = home.start().unwrap();
    prometheus.stop(cellar.scraped, &["CardumeNotReady", "CardumeDown"]);
}

/// Starts a daemon that is never ready.
fn spawned(home: &Home, place: Place) -> Child {
    let mut command = home.command();
    command.args(["--config", "/dev/null", "daemon", "--data-dir", "data"]);
    for setting in ["mdns.enabled=false", "listen.addresses=[]"] {
        command.args(["--set", setting]);
    }
    command.args(["--set", &format!("metrics.listen=\"{}\"", place.scraped)]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Has a node run short of its quota, of open files and of luck with messages.
fn use_up(prometheus: &Prometheus, place: Place, node: &Daemon) {
    random_file(&node.path().join("large"), 60 << 20, 5).unwrap();
    let large = node.json(["share", "--copy", "large"]).unwrap()["cid"].clone();
    limit_files(node, |open| open + 2);
    prometheus.fire(place.scraped, &["CardumeStoreNearQuota", "CardumeFilesNearLimit"]);
    limit_files(node, |_| 4096);
    node.run(["file", "rm", text(&large)]).unwrap();
    node.run(["file", "gc"]).unwrap();
    prometheus.stop(place.scraped, &["CardumeStoreNearQuota", "CardumeFilesNearLimit"]);
    // A series that begins does not increase: there has to be a loss after one that was scraped.
    prometheus.fire_while(place.scraped, "CardumeMessagesLost", || {
        node.json(["topic", "pub", "news", "a message"]).unwrap();
    });
}

/// Sets how many files a node may have open, from how many it has.
fn limit_files(node: &Daemon, limit: impl Fn(usize) -> usize) {
    let open = fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap().count();
    let mut command = Command::new("prlimit");
    command.arg(format!("--pid={}", node.pid()));
    let output = patience::output(command.arg(format!("--nofile={}:", limit(open)))).unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Asks again and again for what nobody has, and for what is not for everybody.
fn ask_in_vain(prometheus: &Prometheus, den: Place, attic: Place, pair: &Pair) {
    let ask = |cid: &str| {
        let gets = (0..4).map(|number| {
            let mut command = pair.attic.command();
            command.args(["get", cid, "-o", &format!("vain{number}")]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command.spawn().unwrap()
        });
        for mut get in gets.collect::<Vec<_>>() {
            patience::ended(&mut get).unwrap();
        }
    };
    prometheus.fire_while(attic.scraped, "CardumeFetchesFailing", || ask(UNKNOWN));
    prometheus.fire_while(den.scraped, "CardumeManyDenied", || ask(&pair.note));
}

/// Takes away what was in the way, and makes what was missing.
fn mend(attic: &Daemon) {
    let at = |name: &str| -> PathBuf { attic.path().join(name) };
    fs::remove_file(at("taken")).unwrap();
    fs::remove_file(at("app")).unwrap();
    fs::write(at("missing"), "there now").unwrap();
}

/// Kills a node four times, each time once a start has been seen.
fn restart(prometheus: &Prometheus, place: Place, mut node: Daemon) {
    let uptime = |holds: fn(f64) -> bool| {
        until("an uptime is scraped", || {
            let up = prometheus.value("cardume_uptime_seconds", place.scraped);
            Ok(up.is_some_and(|seconds| holds(seconds.parse().unwrap())))
        })
        .unwrap();
    };
    for _ in 0..4 {
        uptime(|seconds| seconds >= 2.0);
        node = node.kill().unwrap().start().unwrap();
        uptime(|seconds| seconds < 2.0);
    }
    prometheus.fire(place.scraped, &["CardumeRestarting"]);
    prometheus.stop(place.scraped, &["CardumeRestarting"]);
}

/// Sees that everything that is described has been scraped of some node.
fn described(prometheus: &Prometheus) {
    let scraped = prometheus.names();
    let rows = METRICS.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split('`').next());
    let (mut missing, mut count) = (Vec::new(), 0);
    for name in names {
        count += 1;
        if !scraped.contains(name) && !OF_CLOSED_NETWORKS.contains(&name) {
            missing.push(name);
        }
    }
    assert!(
        missing.is_empty() && count > 50,
        "of {count} not scraped: {missing:?}"
    );
}
