//! `cardume net`: the node's addresses, and how it can be reached.
use cardume_api::{Mapping, Nat, Reachable, Relay, RelayState, Rendezvous, RendezvousState, Upnp};
use clap::Subcommand;

use super::{kad, rates, traffic};
use crate::{
    reach::Reach,
    text::{clean, count, table},
};

/// The node's addresses and networks
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Where the node listens, and where others reach it
    Addrs,
    /// Whether others can dial the node, and what stands in the way
    Nat,
    /// The relays at which the node keeps a place
    Relays,
    /// The rendezvous points at which the node registers
    Rendezvous,
    /// How fast content may go: tells it, or changes it while the node runs
    Rates(rates::Options),
    /// What goes over the node's connections, by protocol and by where peers are
    Traffic(traffic::Options),
    /// The distributed hash table
    #[command(subcommand)]
    Kad(kad::Command),
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Addrs => {
            let status = reach.daemon().await?.status().await?;
            let value = serde_json::json!({
                "peer_id": status.peer_id, "listen": status.listen, "external": status.external,
            });
            reach.out.either(&value, || {
                let suffix = format!("/p2p/{}", status.peer_id);
                let lines = status.listen.iter().chain(&status.external).map(|address| {
                    let address = address.to_string();
                    if address.ends_with(&suffix) {
                        address
                    } else {
                        address + &suffix
                    }
                });
                lines.collect::<Vec<_>>().join("\n")
            })?;
            Ok(())
        }
        Command::Nat => {
            let nat = reach.daemon().await?.nat().await?;
            Ok(reach.out.either(&nat, || shown(&nat))?)
        }
        Command::Relays => {
            let relays = reach.daemon().await?.nat().await?.relays;
            let terminal = reach.out.is_terminal();
            Ok(reach.out.either(&relays, || rows(&relays, terminal))?)
        }
        Command::Rendezvous => {
            let rendezvous = reach.daemon().await?.rendezvous().await?;
            let terminal = reach.out.is_terminal();
            Ok(reach.out.either(&rendezvous, || points(&rendezvous, terminal))?)
        }
        Command::Rates(options) => rates::run(reach, options).await,
        Command::Traffic(options) => traffic::run(reach, options).await,
        Command::Kad(command) => kad::run(reach, command).await,
    }
}

fn shown(nat: &Nat) -> String {
    let reachable = match nat.reachable {
        Reachable::Public => "reachable: yes, at an address of its own",
        Reachable::Private => "reachable: no; peers tried, and none of its addresses answered",
        Reachable::Unknown => "reachable: nobody has tried; a peer with nat.autonat_server would",
    };
    let held = nat.relays.iter().filter(|relay| relay.state == RelayState::Held);
    let upnp = match nat.upnp {
        Upnp::Off => "off",
        Upnp::Asked => "the router is being asked",
        Upnp::Open => "ports are open",
        Upnp::NotFound => "no router answers",
        Upnp::NotPublic => "the router has no public address itself",
    };
    let router = match nat.mapping {
        Mapping::Unknown => "router: fewer than two peers on other networks say where they see this node",
        Mapping::None => "router: none; this node is seen at an address of its own",
        Mapping::Independent => "router: one port whoever is spoken to; holes can be punched",
        Mapping::Dependent => {
            "router: another port for each peer (symmetric); only who can be dialled is met directly"
        }
    };
    let mut lines = vec![
        reachable.to_owned(),
        router.to_owned(),
        format!("relays: a place at {} of {}", held.count(), nat.relays.len()),
        format!(
            "hole punching: {} direct, {} stayed relayed",
            nat.punched, nat.unpunched
        ),
        format!("upnp: {upnp}"),
    ];
    if let Some(reason) = &nat.unpunched_reason {
        lines.insert(4, format!("  the last one: {}", clean(reason)));
    }
    if let Some(places) = nat.reservations {
        let circuits = count(nat.circuits, "connection");
        lines.push(format!("relaying: {}, {circuits}", count(places, "place")));
    }
    lines.extend(nat.upnp_addresses.iter().map(|address| format!("  {address}")));
    for tested in &nat.tested {
        let outcome = tested
            .problem
            .as_deref()
            .map_or_else(|| "answers".to_owned(), clean);
        lines.push(format!("tested: {} by {}: {outcome}", tested.address, tested.by));
    }
    lines.join("\n")
}

fn rows(relays: &[Relay], terminal: bool) -> String {
    let row = |relay: &Relay| {
        let state = match relay.state {
            RelayState::Asking => "asking",
            RelayState::Held => "held",
            RelayState::Waiting => "waiting",
        };
        [
            relay.peer_id.clone(),
            state.to_owned(),
            relay.address.to_string(),
            relay.problem.as_deref().map_or_else(|| "-".to_owned(), clean),
        ]
    };
    let rows = relays.iter().map(row).collect();
    table(["relay", "place", "address", "problem"], rows, terminal)
}

fn points(rendezvous: &Rendezvous, terminal: bool) -> String {
    let rows = rendezvous.points.iter().map(|point| {
        let state = match point.state {
            RendezvousState::Asking => "asking",
            RendezvousState::Registered => "registered",
            RendezvousState::Waiting => "waiting",
        };
        [
            point.peer_id.clone(),
            state.to_owned(),
            point.found.to_string(),
            point.address.to_string(),
            point.problem.as_deref().map_or_else(|| "-".to_owned(), clean),
        ]
    });
    let head = ["point", "state", "found", "address", "problem"];
    let mut text = table(head, rows.collect(), terminal);
    if let Some(registrations) = rendezvous.registrations {
        text += &format!("a point itself: {}", count(registrations, "registration"));
    }
    text
}
