//! Numbers: as they are served, as they are described, and as alerts and graphs use them.
use std::collections::{BTreeMap, BTreeSet};

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::daemon::{Answer, Daemon, within};

const TABLE: &str = include_str!("../../../../docs/metrics.md");
const ALERTS: &str = include_str!("../../../../config/prometheus/alerts.yml");
const SERIES: &str = include_str!("../../../../config/prometheus/alerts.test.yml");
const DASHBOARD: &str = include_str!("../../../../config/grafana/cardume.json");
const OPERATIONS: &str = include_str!("../../../../docs/operations.md");

async fn get(daemon: &Daemon, target: &str, host: &str) -> Answer {
    let mut stream = within(TcpStream::connect(daemon.metrics)).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    Answer::read(stream).await
}

/// Names and kinds in the table: rows are `| name | kind | …`.
fn described() -> BTreeMap<&'static str, &'static str> {
    let rows = TABLE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        Some((cells.next()?.trim_matches('`'), cells.next()?))
    });
    rows.collect()
}

#[tokio::test]
async fn every_metric_is_described_and_every_described_one_is_served() {
    let daemon = Daemon::start().await;
    let answer = daemon.request("GET", "/metrics", "").await;
    let text = String::from_utf8(answer.body).unwrap();
    let mut served = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        assert_eq!(served.insert(name, kind), None, "{name} is there twice");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
    }
    let described = described();
    assert_eq!(served, described, "docs/metrics.md says otherwise");
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = sample.rsplit_once(' ').unwrap();
        let name = name.split('{').next().unwrap();
        assert!(served.contains_key(name), "{sample}");
        assert!(value.parse::<f64>().is_ok(), "{sample}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_port_for_metrics_has_nothing_else_and_knows_its_name() {
    let daemon = Daemon::start().await;
    let host = daemon.metrics.to_string();
    let answer = get(&daemon, "/metrics", &host).await;
    assert_eq!(answer.status, 200);
    assert!(String::from_utf8_lossy(&answer.body).contains("cardume_ready 0\n"));
    assert_eq!(get(&daemon, "/readyz", &host).await.status, 503);
    for target in ["/v1/status", "/v1/config", "/v1/openapi.json", "/"] {
        assert_eq!(get(&daemon, target, &host).await.status, 404, "{target}");
    }
    assert_eq!(get(&daemon, "/metrics", "evil.example").await.status, 403);
    daemon.stop().await;
}

/// Everything in an expression that looks like one of our names.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with("cardume_") || word.starts_with("process_"))
        .collect()
}

fn assert_described(expression: &str) {
    let described = described();
    for name in names(expression) {
        assert!(described.contains_key(name), "there is no {name}: {expression}");
    }
}

#[test]
fn alerts_use_metrics_that_there_are_and_say_what_to_do() {
    let headings: BTreeSet<String> = OPERATIONS
        .lines()
        .filter_map(|line| {
            line.trim_start_matches('#')
                .strip_prefix(' ')
                .filter(|_| line.starts_with('#'))
        })
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let alerts: Vec<&str> = ALERTS.split("- alert: ").skip(1).collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let name = alert.lines().next().unwrap();
        let expression = alert
            .lines()
            .find_map(|line| line.trim().strip_prefix("expr: "))
            .unwrap();
        assert_described(expression);
        let fires = SERIES
            .lines()
            .filter(|line| line.trim().strip_prefix("alertname: ") == Some(name));
        assert_eq!(fires.count(), 2, "{name} is not made to fire and to stop");
        assert!(
            !names(expression).is_empty() || expression.contains("job=\"cardume\""),
            "{name}"
        );
        for key in [
            "for: ",
            "severity: ",
            "summary: ",
            "description: ",
            "runbook_url: ",
        ] {
            assert!(alert.contains(key), "{name} has no {key}");
        }
        assert!(
            alert.contains("`cardume ") || alert.contains("`systemctl ") || alert.contains("`journalctl "),
            "{name} names no command"
        );
        let section = alert
            .split("docs/operations.md#")
            .nth(1)
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap();
        assert!(
            headings.contains(section),
            "{name}: {section} is no section of docs/operations.md"
        );
    }
}

#[test]
fn graphs_use_metrics_that_there_are() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut expressions = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            assert_described(expression);
            assert!(!names(expression).is_empty(), "{expression}");
            expressions += 1;
        }
    }
    assert!(expressions > 15);
}
