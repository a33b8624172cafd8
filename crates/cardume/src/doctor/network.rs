//! The addresses that the node listens on.
use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use cardume_api::{Mapping, Nat, Reachable, RelayState, Rendezvous, RendezvousPoint, RendezvousState};
use multiaddr::{Multiaddr, Protocol};

use super::{Daemon, Finding, Patient, State};
use crate::text::{clean, count};

/// The key that names most of them.
const ADDRESSES: &str = "listen.addresses";

/// A port that the node listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) ip: IpAddr,
    pub(super) number: u16,
    pub(super) udp: bool,
}

impl Port {
    pub(super) fn of(address: &Multiaddr) -> Option<Self> {
        let mut parts = address.iter();
        let ip = match parts.next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip),
            _ => return None,
        };
        let (number, udp) = match parts.next()? {
            Protocol::Tcp(port) => (port, false),
            Protocol::Udp(port) => (port, true),
            _ => return None,
        };
        Some(Self { ip, number, udp })
    }

    pub(super) fn name(&self) -> String {
        let protocol = if self.udp { "udp" } else { "tcp" };
        format!("{protocol} port {}", self.number)
    }
}

/// The fixed ports that configuration names.
pub(super) fn configured(patient: &Patient) -> impl Iterator<Item = Port> {
    let ports = patient.config.listen.addresses.iter().filter_map(Port::of);
    ports.filter(|port| port.number != 0)
}

pub(super) fn look(patient: &Patient) -> Vec<Finding> {
    let mut findings = match &patient.daemon {
        Some(daemon) => listened(patient, daemon),
        None => free(patient),
    };
    findings.extend(metrics(patient));
    if findings.iter().all(|found| found.state != State::Wrong) {
        findings.push(Finding::ok(
            "ports",
            "each port that the node listens on is its own",
        ));
    }
    findings
}

/// Whether a running daemon has every port that it should have.
fn listened(patient: &Patient, daemon: &Daemon) -> Vec<Finding> {
    let has: Vec<_> = daemon.status.listen.iter().filter_map(Port::of).collect();
    let same = |a: &Port, b: &Port| (a.number, a.udp, a.ip.is_ipv4()) == (b.number, b.udp, b.ip.is_ipv4());
    // A host without IPv6 has no addresses of it to listen on.
    let lacks = |port: &Port| !has.iter().any(|own| same(own, port)) && (port.ip.is_ipv4() || has_ipv6());
    let lacking = configured(patient).filter(lacks);
    lacking
        .map(|port| in_use(&port, "the daemon does not listen on it", ADDRESSES))
        .collect()
}

/// Whether a daemon that is started now would have every port.
fn free(patient: &Patient) -> Vec<Finding> {
    let ports = configured(patient);
    // A host without IPv6 has no addresses of it to listen on.
    ports
        .filter_map(|port| taken(&port, ADDRESSES).filter(|_| port.ip.is_ipv4() || has_ipv6()))
        .collect()
}

/// Why nothing can listen on a port that `key` names, if nothing can.
fn taken(port: &Port, key: &str) -> Option<Finding> {
    let address = SocketAddr::new(port.ip, port.number);
    let bound = if port.udp {
        UdpSocket::bind(address).map(drop)
    } else {
        TcpListener::bind(address).map(drop)
    };
    let error = bound.err()?;
    Some(match error.kind() {
        io::ErrorKind::AddrInUse => in_use(port, "another program has it", key),
        io::ErrorKind::PermissionDenied => {
            let remedy =
                "use a port of 1024 or more, or give the service AmbientCapabilities=CAP_NET_BIND_SERVICE";
            Finding::wrong("ports", format!("{}: {error}", port.name()), remedy)
        }
        _ => {
            let what = format!("{} at {}: {error}", port.name(), port.ip);
            Finding::wrong("ports", what, format!("have {key} name an address of this host"))
        }
    })
}

/// Whether numbers can be served where they are to be, and who reads them there.
fn metrics(patient: &Patient) -> Option<Finding> {
    let address = patient.config.metrics.listen?;
    let port = Port {
        ip: address.ip(),
        number: address.port(),
        udp: false,
    };
    // A daemon that runs has it: it does not start without.
    let wrong = match patient.daemon {
        None => taken(&port, "metrics.listen"),
        Some(_) => None,
    };
    let open = || {
        let what = format!("everybody who gets to {address} may read them: there is no password");
        (!address.ip().is_loopback()).then(|| Finding::note("metrics", what))
    };
    wrong.or_else(open)
}

fn in_use(port: &Port, what: &str, key: &str) -> Finding {
    let flag = if port.udp { 'u' } else { 't' };
    let remedy = format!(
        "`ss -{flag}lpn sport = :{}` names the program; stop it, or change {key}",
        port.number
    );
    Finding::wrong("ports", format!("{} is in use: {what}", port.name()), remedy)
}

fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|addresses| !addresses.is_empty())
}

/// What is known of who can reach this node, and why not.
pub(super) async fn reachability(patient: &Patient) -> Vec<Finding> {
    let Some(daemon) = &patient.daemon else {
        return Vec::new();
    };
    let Ok(nat) = daemon.client.nat().await else {
        return vec![Finding::note("reachable", "the daemon does not tell")];
    };
    let mut findings = vec![reachable(daemon, &nat), router(&nat)];
    findings.extend(relays(&nat));
    if let Ok(rendezvous) = daemon.client.rendezvous().await {
        findings.extend(points(&rendezvous));
    }
    findings
}

fn reachable(daemon: &Daemon, nat: &Nat) -> Finding {
    let inbound = daemon.peers.iter().filter(|peer| !peer.outbound).count() as u64;
    let external: Vec<_> = daemon.status.external.iter().map(ToString::to_string).collect();
    match nat.reachable {
        Reachable::Public => Finding::ok("reachable", format!("at {}", external.join(" "))),
        Reachable::Private => {
            let tested = nat.tested.iter().rev().find(|tested| tested.problem.is_some());
            let tried = tested.map_or_else(String::new, |tested| {
                let problem = tested.problem.as_deref().map(clean).unwrap_or_default();
                format!("\n{} was tried by {}: {problem}", tested.address, tested.by)
            });
            let what = "not from other networks: peers tried, and no address of this node answers";
            Finding::note("reachable", format!("{what}{tried}"))
        }
        Reachable::Unknown if inbound > 0 => {
            let who = format!("{} connected to it", count(inbound, "peer"));
            Finding::ok(
                "reachable",
                format!("{who}; whether any can from other networks is not known"),
            )
        }
        Reachable::Unknown => Finding::note(
            "reachable",
            "nobody has connected to it so far; whether others can is not known",
        ),
    }
}

fn router(nat: &Nat) -> Finding {
    match nat.mapping {
        Mapping::Unknown => Finding::note(
            "router",
            "fewer than two peers on other networks say where they see this node",
        ),
        Mapping::None => Finding::ok("router", "none translates addresses"),
        Mapping::Independent => Finding::ok(
            "router",
            "it translates addresses, and holes can be punched in it",
        ),
        Mapping::Dependent => Finding::note(
            "router",
            "it picks another port for each peer (symmetric): direct connections come about only with peers that can \
             be dialled",
        ),
    }
}

/// How it stands with places at relays; nothing without any.
fn relays(nat: &Nat) -> Option<Finding> {
    let all = nat.relays.len() as u64;
    let held = nat
        .relays
        .iter()
        .filter(|relay| relay.state == RelayState::Held)
        .count();
    if all == 0 {
        return None;
    }
    let what = format!("a place at {held} of {}", count(all, "relay"));
    if held > 0 {
        return Some(Finding::ok("relays", what));
    }
    let problems = nat.relays.iter().map(|relay| {
        let problem = relay
            .problem
            .as_deref()
            .map_or_else(|| "it is being asked".into(), clean);
        format!("\n{}: {problem}", relay.address)
    });
    let remedy = "see that they run with nat.relay_server = true, and that nat.relays has their addresses and peer ids";
    Some(Finding::wrong(
        "relays",
        what + &problems.collect::<String>(),
        remedy,
    ))
}

/// How it stands with rendezvous points; nothing without any.
fn points(rendezvous: &Rendezvous) -> Option<Finding> {
    let all = rendezvous.points.len() as u64;
    let registered = |point: &&RendezvousPoint| point.state == RendezvousState::Registered;
    let known = rendezvous.points.iter().filter(registered).count();
    if all == 0 {
        return None;
    }
    let what = format!("registered at {known} of {}", count(all, "point"));
    if known > 0 {
        return Some(Finding::ok("rendezvous", what));
    }
    let problems = rendezvous.points.iter().map(|point| {
        let problem = point
            .problem
            .as_deref()
            .map_or_else(|| "it is being asked".into(), clean);
        format!("\n{}: {problem}", point.address)
    });
    let remedy = "see that they run with rendezvous.server = true, and that rendezvous.points has their addresses and \
                  peer ids";
    Some(Finding::wrong(
        "rendezvous",
        what + &problems.collect::<String>(),
        remedy,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_addresses() {
        let port = |text: &str| Port::of(&text.parse().expect("an address"));
        let quic = port("/ip4/0.0.0.0/udp/4011/quic-v1").expect("a port");
        assert!(quic.udp && quic.number == 4011);
        assert_eq!(port("/ip6/::/tcp/1").map(|port| port.udp), Some(false));
        assert_eq!(port("/memory/1"), None);
    }
}
