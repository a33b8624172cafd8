//! Two nodes of which one gives, and much is wrong with the other; and one that nobody can reach.
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use cardume_testkit::{
    daemon::{Daemon, Home},
    files::random_file,
    patience::{self, until},
};
use serde_json::Value;

use super::{Place, Prometheus, text};

/// An id that nobody has anything for.
const UNKNOWN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

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

/// Has alerts about what nodes do with each other fire, and stop.
pub(crate) fn run(prometheus: &Prometheus, [den, attic, cellar]: [Place; 3]) {
    let mut pair = Pair::start(den, attic);
    for node in [den, attic] {
        prometheus.see("up", node.scraped, |up| up == 1.0);
    }
    // The film comes slowly: there are requests on their way all the time.
    for requests in ["window", "in_flight"] {
        let requests = format!("cardume_exchange_{requests}_requests");
        prometheus.see(&requests, attic.scraped, |count| count > 0.0);
    }
    alone(prometheus, cellar);

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
    use_up(prometheus, attic, &pair.attic);
    ask_in_vain(prometheus, den, attic, &pair);

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
    restart(prometheus, den, pair.den);
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
    let uptime = |holds: fn(f64) -> bool| prometheus.see("cardume_uptime_seconds", place.scraped, holds);
    for _ in 0..4 {
        uptime(|seconds| seconds >= 2.0);
        node = node.kill().unwrap().start().unwrap();
        uptime(|seconds| seconds < 2.0);
    }
    prometheus.fire(place.scraped, &["CardumeRestarting"]);
    prometheus.stop(place.scraped, &["CardumeRestarting"]);
}
