//! How the node can be reached.
use std::collections::BTreeMap;

use axum::{Json, extract::State};
use cardume_api::{Mapping, Nat, ObservedAddress, Reachable, Relay, RelayState, TestedAddress, Upnp};
use cardume_connect::{Addresses, Observed};
use cardume_nat::{Place, PlaceState, Reachability, Status, Tested};
use multiaddr::{Multiaddr, Protocol};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(get))
}

/// How the node can be reached, and at which relays it keeps a place.
#[utoipa::path(get, path = "/v1/nat", operation_id = "get_nat", tag = "node", responses((status = 200, body = Nat)))]
async fn get(State(state): State<Shared>) -> Result<Json<Nat>> {
    let addresses = state.handles.connect.addresses().await?;
    Ok(Json(told(state.handles.nat.status().await?, addresses)))
}

/// How the router gives out ports, by where peers at different addresses see the socket that all were dialled from.
fn mapping(addresses: &Addresses) -> Mapping {
    let seen: BTreeMap<_, _> = addresses
        .observed
        .iter()
        .filter(|seen| matches!(seen.address.iter().next(), Some(Protocol::Ip4(_))))
        .map(|seen| (seen.by, &seen.address))
        .collect();
    let own: Vec<_> = addresses
        .listen
        .iter()
        .filter_map(|own| own.iter().next())
        .collect();
    let is_own = |address: &&&Multiaddr| address.iter().next().is_some_and(|ip| own.contains(&ip));
    if seen.values().any(|address| is_own(&address)) {
        return Mapping::None;
    }
    let mut addresses = seen.values();
    match (seen.len(), addresses.next()) {
        (2.., Some(first)) if addresses.all(|other| other == first) => Mapping::Independent,
        (2.., _) => Mapping::Dependent,
        _ => Mapping::Unknown,
    }
}

fn told(status: Status, addresses: Addresses) -> Nat {
    let (upnp, upnp_addresses) = match status.upnp {
        cardume_nat::Upnp::Off => (Upnp::Off, Vec::new()),
        cardume_nat::Upnp::Asked => (Upnp::Asked, Vec::new()),
        cardume_nat::Upnp::Open(open) => (Upnp::Open, open),
        cardume_nat::Upnp::NotFound => (Upnp::NotFound, Vec::new()),
        cardume_nat::Upnp::NotPublic => (Upnp::NotPublic, Vec::new()),
    };
    Nat {
        reachable: match status.reachability {
            Reachability::Unknown => Reachable::Unknown,
            Reachability::Public => Reachable::Public,
            Reachability::Private => Reachable::Private,
        },
        mapping: mapping(&addresses),
        observed: addresses.observed.into_iter().map(observed).collect(),
        tested: status.tested.into_iter().map(tested).collect(),
        relays: status.places.into_iter().map(relay).collect(),
        upnp,
        upnp_addresses,
        punched: status.punched,
        unpunched: status.unpunched,
        unpunched_reason: status.unpunched_reason,
        reservations: status.reservations.map(|places| places as u64),
        circuits: status.circuits as u64,
    }
}

fn observed(seen: Observed) -> ObservedAddress {
    ObservedAddress {
        address: seen.address,
        by: seen.by.to_string(),
    }
}

fn tested(tested: Tested) -> TestedAddress {
    TestedAddress {
        address: tested.address,
        by: tested.by.to_string(),
        problem: tested.problem,
    }
}

fn relay(place: Place) -> Relay {
    Relay {
        peer_id: place.relay.to_string(),
        address: place.address,
        state: match place.state {
            PlaceState::Asking => RelayState::Asking,
            PlaceState::Held => RelayState::Held,
            PlaceState::Waiting => RelayState::Waiting,
        },
        problem: place.problem,
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::PeerId;

    use super::*;

    fn seen(listen: &str, observed: &[&str]) -> Mapping {
        let observed = observed.iter().map(|text| Observed {
            address: text.parse().unwrap(),
            by: PeerId::random(),
        });
        mapping(&Addresses {
            listen: vec![listen.parse().unwrap()],
            observed: observed.collect(),
            ..Addresses::default()
        })
    }

    #[test]
    fn how_a_router_gives_out_ports_shows_in_what_peers_see() {
        let own = "/ip4/192.168.1.2/udp/4011/quic-v1";
        let [one, other] = [
            "/ip4/198.51.100.1/udp/4011/quic-v1",
            "/ip4/198.51.100.1/udp/5000/quic-v1",
        ];
        assert_eq!(seen(own, &[]), Mapping::Unknown);
        assert_eq!(seen(own, &[other]), Mapping::Unknown);
        assert_eq!(seen(own, &[other, other]), Mapping::Independent);
        assert_eq!(seen(own, &[one, other]), Mapping::Dependent);
        assert_eq!(seen(one, &[one]), Mapping::None);
        let v6 = "/ip6/2001:db8::1/udp/4011/quic-v1";
        assert_eq!(seen(own, &[one, v6]), Mapping::Unknown);
    }
}
