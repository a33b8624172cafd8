//! Whom the node meets: bootstrap peers, the local network, others' versions.
use std::{collections::BTreeMap, time::Duration};

use cardume_api::{Client, NewPeer};
use multiaddr::Multiaddr;

use super::{Finding, Patient};
use crate::{
    inside::{Inside, State},
    reach::Reach,
    text::count,
};

/// How long one bootstrap peer may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Bootstrap peers that are tried.
const TRIED: usize = 8;

pub(super) async fn look(reach: Reach<'_>, patient: &Patient) -> Vec<Finding> {
    let mut findings = bootstrap(reach, patient).await;
    findings.push(local(patient));
    findings.extend(versions(patient));
    findings
}

async fn bootstrap(reach: Reach<'_>, patient: &Patient) -> Vec<Finding> {
    let known = &patient.config.connect.bootstrap;
    if known.is_empty() {
        return vec![Finding::note("bootstrap", "no bootstrap peer is configured")];
    }
    if let Some(daemon) = &patient.daemon {
        return all(&daemon.client, known).await;
    }
    // The node that asks has another key: it takes nothing away from the one under examination.
    match Inside::start(reach, State::Temporary).await {
        Ok(inside) => {
            let findings = all(inside.client(), known).await;
            let _ = inside.stop(true).await;
            findings
        }
        Err(error) => vec![Finding::note("bootstrap", format!("cannot be asked: {error:#}"))],
    }
}

async fn all(client: &Client, known: &[Multiaddr]) -> Vec<Finding> {
    let asked = known.iter().take(TRIED).map(|address| ask(client, address));
    let answers: Vec<(String, Option<String>)> = futures::future::join_all(asked).await;
    let reached = answers.iter().filter(|(_, error)| error.is_none()).count();
    let silent: Vec<_> = answers
        .iter()
        .filter_map(|(address, error)| Some(format!("{address}: {}", error.as_ref()?)))
        .collect();
    let what = format!(
        "{reached} of {} answer",
        count(answers.len() as u64, "bootstrap peer")
    );
    if reached > 0 {
        let mut findings = vec![Finding::ok("bootstrap", what)];
        findings.extend(silent.into_iter().map(|one| Finding::note("bootstrap", one)));
        return findings;
    }
    let remedy = "see that they run, that connect.bootstrap has their addresses and peer ids, and that this host's \
                  network lets it out";
    let what = format!("no bootstrap peer answers\n{}", silent.join("\n"));
    vec![Finding::wrong("bootstrap", what, remedy)]
}

/// One peer's address, and why it was not reached.
async fn ask(client: &Client, address: &Multiaddr) -> (String, Option<String>) {
    let peer = NewPeer {
        address: address.clone(),
    };
    let error = match tokio::time::timeout(ANSWER, client.connect(&peer)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer in {} s", ANSWER.as_secs())),
    };
    (address.to_string(), error)
}

/// Who is met on the local network.
fn local(patient: &Patient) -> Finding {
    if !patient.config.mdns.enabled {
        return Finding::note("mdns", "it is switched off");
    }
    let Some(daemon) = &patient.daemon else {
        return Finding::note("mdns", "who is on the local network, a running daemon can tell");
    };
    let near = |address: &Multiaddr| {
        super::network::Port::of(address).is_some_and(|port| match port.ip {
            std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
            std::net::IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
        })
    };
    match daemon.peers.iter().filter(|peer| near(&peer.address)).count() {
        0 => Finding::note("mdns", "no peer of the local network is connected"),
        met => Finding::ok(
            "mdns",
            format!("{} of the local network connected", count(met as u64, "peer")),
        ),
    }
}

/// Which versions the node's peers run.
fn versions(patient: &Patient) -> Option<Finding> {
    let daemon = patient.daemon.as_ref()?;
    let own = format!("cardume/{}", daemon.status.version);
    let mut agents: BTreeMap<&str, usize> = BTreeMap::new();
    for peer in &daemon.peers {
        *agents
            .entry(peer.agent.as_deref().unwrap_or("unknown"))
            .or_default() += 1;
    }
    let told: Vec<_> = agents.iter().map(|(agent, n)| format!("{n} x {agent}")).collect();
    let skewed = agents
        .keys()
        .any(|agent| agent.starts_with("cardume/") && !agent.starts_with(&own));
    Some(match (told.is_empty(), skewed) {
        (true, _) => Finding::note("peers", "none is connected"),
        (false, true) => Finding::note(
            "peers",
            format!("of other versions than {own}: {}", told.join(", ")),
        ),
        (false, false) => Finding::ok("peers", told.join(", ")),
    })
}
