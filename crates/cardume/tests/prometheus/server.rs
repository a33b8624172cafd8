//! A Prometheus in a process of its own.
use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use cardume_testkit::patience::{PATIENCE, until};
use serde_json::Value;
use tempfile::TempDir;

/// The alerts as they are handed to operators.
const RULES: &str = include_str!("../../../../config/prometheus/alerts.yml");

/// The alerts that there are.
pub(crate) fn alerts() -> BTreeSet<String> {
    let alerts = RULES
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    alerts.map(str::to_owned).collect()
}

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// It scrapes every second; killed when dropped.
pub(crate) struct Prometheus {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it for the nodes at these addresses; none where it is not installed.
    pub(crate) fn start(nodes: &[SocketAddr]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let place = |name: &str| directory.path().join(name);
        fs::write(place("rules.yml"), shortened(RULES)).unwrap();
        let targets: Vec<_> = nodes.iter().map(ToString::to_string).collect();
        // JSON is YAML.
        let config = serde_json::json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": [place("rules.yml")],
            "scrape_configs": [{ "job_name": "cardume", "static_configs": [{ "targets": targets }] }],
        });
        fs::write(place("prometheus.yml"), config.to_string()).unwrap();
        let address = free_port();
        let process = Command::new("prometheus")
            .arg(argument("config.file", &place("prometheus.yml")))
            .arg(argument("storage.tsdb.path", &place("data")))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .spawn()
            .ok()?;
        let mut server = Self {
            process,
            address,
            _directory: directory,
        };
        until("Prometheus is ready", || {
            assert!(server.process.try_wait()?.is_none(), "Prometheus has ended");
            Ok(server.get("/-/ready").is_some())
        })
        .unwrap();
        Some(server)
    }

    /// The body of an answer; none when it is no good one.
    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // In this version answers come whole, and end with the connection.
        stream
            .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.split(' ').nth(1)?.starts_with('2').then(|| body.to_owned())
    }

    fn data(&self, path: &str) -> Value {
        let body = self.get(path).expect("an answer of Prometheus");
        serde_json::from_str::<Value>(&body).unwrap()["data"].take()
    }

    /// The newest value of an expression that has one for each node.
    pub(crate) fn value(&self, expression: &str, node: SocketAddr) -> Option<f64> {
        let query: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let found = self.data(&format!("/api/v1/query?query={query}"));
        let results = found["result"].as_array().unwrap();
        let of_node = results
            .iter()
            .find(|one| one["metric"]["instance"] == node.to_string())?;
        Some(of_node["value"][1].as_str().unwrap().parse().unwrap())
    }

    /// Waits until the value of an expression is as wanted.
    pub(crate) fn see(&self, expression: &str, node: SocketAddr, wanted: impl Fn(f64) -> bool) {
        let mut last = None;
        let waited = until(expression, || {
            last = self.value(expression, node);
            Ok(last.is_some_and(&wanted))
        });
        assert!(waited.is_ok(), "{expression} of {node} is {last:?}");
    }

    /// Names of everything that has been scraped.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let names = self.data("/api/v1/label/__name__/values");
        let names = names.as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// Alerts that have fired so far, for whomever.
    pub(crate) fn fired(&self) -> BTreeSet<String> {
        let series = self.data("/api/v1/series?match[]=ALERTS");
        let fired = series.as_array().unwrap().iter();
        fired
            .filter(|one| one["alertstate"] == "firing")
            .map(|one| one["alertname"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Alerts that fire, with who was scraped.
    fn firing(&self) -> BTreeSet<(String, String)> {
        let alerts = self.data("/api/v1/alerts");
        let alerts = alerts["alerts"].as_array().unwrap().iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        firing
            .map(|alert| {
                (
                    text(&alert["labels"]["alertname"]),
                    text(&alert["labels"]["instance"]),
                )
            })
            .collect()
    }

    /// Waits until all of these fire for a node.
    pub(crate) fn fire(&self, node: SocketAddr, alerts: &[&str]) {
        self.wait("fire", node, alerts, true);
    }

    /// Waits until none of these fires for a node.
    pub(crate) fn stop(&self, node: SocketAddr, alerts: &[&str]) {
        self.wait("fire no more", node, alerts, false);
    }

    /// Goes on with what causes an alert until it fires.
    pub(crate) fn fire_while(&self, node: SocketAddr, alert: &str, mut cause: impl FnMut()) {
        let wanted = (alert.to_owned(), node.to_string());
        let waited = until(alert, || {
            cause();
            Ok(self.firing().contains(&wanted))
        });
        assert!(waited.is_ok(), "{alert} never fires; {:?} do", self.firing());
    }

    fn wait(&self, what: &str, node: SocketAddr, alerts: &[&str], wanted: bool) {
        let node = node.to_string();
        let mut left = Vec::new();
        let waited = until(what, || {
            let firing = self.firing();
            let is = |alert: &&&str| firing.contains(&((**alert).to_owned(), node.clone()));
            left = alerts.iter().filter(|alert| is(alert) != wanted).collect();
            Ok(left.is_empty())
        });
        assert!(
            waited.is_ok(),
            "{left:?} were to {what}; {:?} fire",
            self.firing()
        );
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn argument(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// The rules with seconds in place of minutes.
fn shortened(rules: &str) -> String {
    let mut text = String::new();
    for line in rules.lines() {
        let line = match line.trim_start().strip_prefix("for: ") {
            Some(_) => "        for: 1s".to_owned(),
            None => line.replace("[30m]", "[30s]").replace("[15m]", "[10s]"),
        };
        text.push_str(&line.replace("[10m]", "[10s]").replace("> 900", "> 2"));
        text.push('\n');
    }
    text
}
