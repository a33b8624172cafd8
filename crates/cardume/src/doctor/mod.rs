//! `cardume doctor`: what is wrong with a node, why, and what to do about it.
//!
//! Looks only: it changes nothing, and contacts nobody but this node's daemon and its bootstrap peers. Each check
//! is a function that answers with findings; none of them fails for good. A daemon that is asked over the network has
//! files and limits that cannot be seen from here: it examines itself.
mod bundle;
mod content;
mod daemon;
mod firewall;
mod member;
mod network;
mod peers;
mod places;
mod system;
mod tunnels;

use std::path::PathBuf;

use cardume_api::{Client, Diagnosis, Finding, FindingState as State, Peer, Status};
use cardume_node::Config;
use clap::Args;

use self::bundle::Known;
pub(crate) use self::daemon::of_daemon;
use crate::{
    failure::{Ended, status},
    reach::Reach,
    text::count,
};

/// Find out what is wrong with the node
///
/// Looks at configuration, files, clock, ports, peers and limits, with a running daemon or without, and names for
/// each thing that is wrong what to do. A daemon that --api names by http:// or https:// examines itself, on its host.
/// Ends with status 1 when something is wrong; notes do not count.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cardume doctor\n  cardume --json doctor\n  cardume doctor --bundle report.json"
)]
pub(crate) struct Options {
    /// Also write what was found, configuration, status and peers to a new file, without secrets
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
}

/// The node under examination, as far as it could be learned of.
struct Patient {
    config: Config,
    data_dir: PathBuf,
    key_file: PathBuf,
    daemon: Option<Daemon>,
}

/// A daemon that answers.
struct Daemon {
    client: Client,
    status: Status,
    peers: Vec<Peer>,
    /// Not known where it is asked over the network.
    process: Option<u32>,
}

pub(crate) async fn run(reach: Reach<'_>, options: Options) -> anyhow::Result<()> {
    let (diagnosis, known) = if reach.is_remote() {
        examine_elsewhere(reach, options.bundle.is_some()).await?
    } else {
        let (diagnosis, patient) = examine(reach, None).await;
        (diagnosis, Known::of(patient)?)
    };
    if let Some(path) = &options.bundle {
        bundle::write(path, &diagnosis, known).await?;
        reach.out.say(format!("written to {}", path.display()));
    }
    reach.out.either(&diagnosis, || describe(&diagnosis.findings))?;
    match diagnosis.count(State::Wrong) {
        0 => Ok(()),
        wrong => {
            let message = format!("{} wrong", count(wrong as u64, "thing"));
            Err(Ended::new(status::FAILED, message).into())
        }
    }
}

/// Has a daemon examine itself; what else is known of it is asked for with `wants_more` only.
async fn examine_elsewhere(reach: Reach<'_>, wants_more: bool) -> anyhow::Result<(Diagnosis, Known)> {
    let client = reach.daemon().await?;
    let address = client.address().clone();
    let diagnosis = client.examine().await?;
    reach.out.say(format!(
        "examined by the daemon at {address} itself, on its own host"
    ));
    let known = match wants_more {
        true => Known::elsewhere(client).await?,
        false => Known::default(),
    };
    Ok((diagnosis, known))
}

/// Looks at everything. `process` is the daemon's, where it is known; else it is looked for at its socket.
async fn examine(reach: Reach<'_>, process: Option<u32>) -> (Diagnosis, Patient) {
    let mut findings = Vec::new();
    let mut patient = admit(reach, &mut findings).await;
    if let Some(daemon) = &mut patient.daemon {
        daemon.process = process.or(daemon.process);
    }
    findings.extend(places::look(&patient));
    findings.extend(system::look(&patient));
    findings.extend(network::look(&patient));
    findings.extend(network::reachability(&patient).await);
    findings.extend(member::look(&patient));
    findings.extend(firewall::look(&patient));
    findings.extend(peers::look(reach, &patient).await);
    findings.extend(content::look(&patient).await);
    findings.extend(tunnels::look(&patient).await);
    let mut diagnosis = Diagnosis {
        healthy: true,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemon: patient.daemon.is_some(),
        data_dir: patient.data_dir.to_string_lossy().into_owned(),
        findings,
    };
    diagnosis.healthy = diagnosis.count(State::Wrong) == 0;
    (diagnosis, patient)
}

/// Learns what is to be looked at, and says what stands in the way of that.
async fn admit(reach: Reach<'_>, findings: &mut Vec<Finding>) -> Patient {
    let mut config = match reach.chain() {
        Ok(chain) => {
            let files: Vec<_> = chain
                .files
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            let from = if files.is_empty() {
                "all at its default".into()
            } else {
                files.join(" ")
            };
            findings.push(Finding::ok("config", from));
            chain.config
        }
        Err(mistakes) => {
            let remedy = "mend what is named; `cardume config check` tells when it is right";
            findings.push(Finding::wrong("config", mistakes.to_string(), remedy));
            Config::default()
        }
    };
    let daemon = match meet(reach).await {
        Ok(Some(daemon)) => {
            let (version, peer) = (&daemon.status.version, &daemon.status.peer_id);
            findings.push(Finding::ok("daemon", format!("{peer} runs, version {version}")));
            Some(daemon)
        }
        Ok(None) => {
            findings.push(Finding::note(
                "daemon",
                "none runs; what only a running one can tell is left out",
            ));
            None
        }
        Err(error) => {
            let remedy = "run this as the daemon's user or root, or name its socket with --api";
            findings.push(Finding::wrong("daemon", format!("{error:#}"), remedy));
            None
        }
    };
    // What it runs with counts, not what it would be started with now.
    let running = match &daemon {
        Some(daemon) => daemon.client.config().await.ok(),
        None => None,
    };
    if let Some(running) = running.and_then(|value| serde_json::from_value(value).ok()) {
        config = running;
    }
    let data_dir = match &daemon {
        Some(daemon) => daemon.status.data_dir.clone().into(),
        None => crate::daemon::data_dir(&config, reach.environment),
    };
    let key_file = crate::daemon::key_file(&config, reach.environment).unwrap_or_else(|ended| {
        findings.push(Finding::wrong(
            "key",
            ended.to_string(),
            "set identity.key_file to a key that is there",
        ));
        None
    });
    if let Ok(Some(path)) = crate::daemon::certificate_file(&config, reach.environment) {
        config.network.certificate_file = Some(path.to_string_lossy().into_owned());
    }
    Patient {
        key_file: key_file.unwrap_or_else(|| data_dir.join("identity.key")),
        config,
        data_dir,
        daemon,
    }
}

async fn meet(reach: Reach<'_>) -> anyhow::Result<Option<Daemon>> {
    let Some(client) = reach.daemon_if_any().await? else {
        return Ok(None);
    };
    Daemon::meet(client).await.map(Some)
}

impl Daemon {
    async fn meet(client: Client) -> anyhow::Result<Self> {
        Ok(Self {
            status: client.status().await?,
            peers: client.peers().await?,
            process: system::other_end(client.address()),
            client,
        })
    }
}

fn describe(findings: &[Finding]) -> String {
    let mut text = String::new();
    for found in findings {
        let state = match found.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Wrong => "WRONG",
            _ => "",
        };
        let mut lines = found.what.lines();
        let first = lines.next().unwrap_or_default();
        text += &format!("{state:<6} {:<12} {first}\n", found.check);
        for line in lines {
            text += &format!("{:20}{line}\n", "");
        }
        if let Some(remedy) = &found.remedy {
            text += &format!("{:20}-> {remedy}\n", "");
        }
    }
    text
}
