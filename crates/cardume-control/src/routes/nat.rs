//! How the node can be reached.
use axum::{Json, extract::State};
use cardume_api::{Nat, Reachable, Relay, RelayState, TestedAddress, Upnp};
use cardume_nat::{Place, PlaceState, Reachability, Status, Tested};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(get))
}

/// How the node can be reached, and at which relays it keeps a place.
#[utoipa::path(get, path = "/v1/nat", operation_id = "get_nat", tag = "node", responses((status = 200, body = Nat)))]
async fn get(State(state): State<Shared>) -> Result<Json<Nat>> {
    Ok(Json(told(state.handles.nat.status().await?)))
}

fn told(status: Status) -> Nat {
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
