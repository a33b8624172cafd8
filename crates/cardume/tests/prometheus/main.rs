//! What a real Prometheus makes of real nodes: what it scrapes, and the alerts that fire from real causes and stop.
//!
//! It takes some minutes and needs Debian's package `prometheus`; `cargo xtask alerts` runs it. Disks that fail and
//! routers need root, iproute2, nftables and e2fsprogs, and a clock that is wrong the package `faketime`: what is not
//! there is said, and the alerts that need it are not asked for.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

mod disk;
mod host;
mod member;
mod pair;
mod router;
mod server;

use std::{collections::BTreeSet, fs, net::SocketAddr};

use cardume_testkit::daemon::Home;
use serde_json::Value;

use self::server::{Prometheus, free_port};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
/// What nodes tell, as it is described.
const METRICS: &str = include_str!("../../../../docs/metrics.md");

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
        let config = home.path().join("cardume.toml");
        fs::write(&config, text).unwrap();
        home.config(config)
            .set(format!("metrics.listen=\"{}\"", self.scraped))
            .set(format!("listen.addresses=[\"/ip4/127.0.0.1/tcp/{}\"]", self.port))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What it takes to cause something.
type Takes = &'static str;

/// What makes alerts fire and stop on a node of its own.
struct Cause {
    alerts: &'static [&'static str],
    /// Brings it about and takes it away, or tells what it takes that is not there.
    run: fn(&Prometheus, Place) -> Result<(), Takes>,
}

const CAUSES: [Cause; 6] = [
    Cause {
        alerts: &["CardumeDiskLow", "CardumeStoreReadOnly"],
        run: disk::runs_full_and_fails,
    },
    Cause {
        alerts: &["CardumeMemoryNearCeiling"],
        run: host::memory_is_near_its_ceiling,
    },
    Cause {
        alerts: &["CardumeClockWrong"],
        run: host::clock_is_wrong,
    },
    Cause {
        alerts: &["CardumeTunnelFailed"],
        run: host::port_of_a_tunnel_is_taken,
    },
    Cause {
        alerts: &["CardumeCertificateExpires"],
        run: member::certificate_expires,
    },
    Cause {
        alerts: &["CardumeUnreachable"],
        run: router::lets_nobody_in,
    },
];

#[test]
#[ignore = "takes minutes, and needs prometheus; `cargo xtask alerts` runs it"]
fn every_alert_fires_from_its_cause_and_stops_without_it() {
    let pair = [Place::new(), Place::new(), Place::new()];
    let places = CAUSES.map(|_| Place::new());
    let nodes: Vec<_> = pair.iter().chain(&places).map(|place| place.scraped).collect();
    let Some(prometheus) = Prometheus::start(&nodes) else {
        eprintln!("SKIPPED: prometheus is not installed (Debian has it in the package prometheus)");
        return;
    };
    pair::run(&prometheus, pair);
    let mut left_out = BTreeSet::new();
    for (cause, place) in CAUSES.iter().zip(places) {
        if let Err(takes) = (cause.run)(&prometheus, place) {
            eprintln!("SKIPPED: to cause {} takes {takes}", cause.alerts.join(" and "));
            left_out.extend(cause.alerts.iter().map(|alert| (*alert).to_owned()));
        }
    }
    described(&prometheus);

    let (rules, fired) = (server::alerts(), prometheus.fired());
    let missing: Vec<_> = rules
        .difference(&fired)
        .filter(|alert| !left_out.contains(*alert))
        .collect();
    assert!(missing.is_empty(), "nothing makes {missing:?} fire");
    eprintln!(
        "{} of {} alerts fired from their causes and stopped",
        fired.len(),
        rules.len()
    );
}

/// Sees that everything that is described has been scraped of some node.
fn described(prometheus: &Prometheus) {
    let scraped = prometheus.names();
    let rows = METRICS.lines().filter_map(|line| line.strip_prefix("| `"));
    let names: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let missing: Vec<_> = names.iter().filter(|name| !scraped.contains(**name)).collect();
    assert!(
        missing.is_empty() && names.len() > 50,
        "of {} not scraped: {missing:?}",
        names.len()
    );
}
