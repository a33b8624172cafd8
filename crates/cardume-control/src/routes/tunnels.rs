//! Tunnels.
use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{Code, NewTunnel, Problem, Tunnel, TunnelProtocol, TunnelRole, TunnelState};
use cardume_tunnel::{CloseError, Config, OpenError, Place, Protocol, Role, State as Ready, Status};
use libp2p_identity::PeerId;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::{
    caller::Caller,
    extract::{Json as Body, Path},
    problem::{Refused, Result},
    rights::Right,
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, open))
        .routes(routes!(close))
}

/// The tunnels of the node and how they are, by name.
#[utoipa::path(
    get, path = "/v1/tunnels", operation_id = "list_tunnels", tag = "tunnels",
    responses((status = 200, body = Vec<Tunnel>))
)]
async fn list(State(state): State<Shared>) -> Json<Vec<Tunnel>> {
    Json(all(&state.handles.tunnels))
}

/// Every tunnel as it is told.
pub(super) fn all(tunnels: &cardume_tunnel::Handle) -> Vec<Tunnel> {
    tunnels.list().into_iter().map(told).collect()
}

/// Opens a tunnel, until it is closed or the daemon stops. Unix sockets are for admins: the node may open more of them than
/// the caller.
#[utoipa::path(
    post, path = "/v1/tunnels", operation_id = "open_tunnel", tag = "tunnels", request_body = NewTunnel,
    responses(
        (status = 201, body = Tunnel), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 429, body = Problem)
    )
)]
async fn open(
    State(state): State<Shared>,
    caller: Caller,
    Body(new): Body<NewTunnel>,
) -> Result<(StatusCode, Json<Tunnel>)> {
    let config = taken(&new)?;
    let places = [&config.target, &config.listen];
    if places.iter().any(|place| matches!(place, Some(Place::Unix(_)))) {
        caller.check(Right::Admin)?;
    }
    let names = state.handles.roll.names();
    names
        .rules(config.allow.iter().flatten())
        .map_err(|error| Refused::usage(format!("allow: {error}")))?;
    if let Some(word) = &config.peer
        && names.peer(word).is_none()
        && word.parse::<PeerId>().is_err()
    {
        return Err(Refused::usage(format!(
            "peer: {word:?} is no [peer.NAME] and no peer id"
        )));
    }
    let status = state.handles.tunnels.open(&new.name, config).await?;
    Ok((StatusCode::CREATED, Json(told(status))))
}

/// Closes a tunnel that was asked for, with its connections.
#[utoipa::path(
    delete, path = "/v1/tunnels/{name}", operation_id = "close_tunnel", tag = "tunnels", params(("name" = String, Path)),
    responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem))
)]
async fn close(State(state): State<Shared>, Path(name): Path<String>) -> Result<StatusCode> {
    state.handles.tunnels.close(&name)?;
    Ok(StatusCode::NO_CONTENT)
}

fn taken(new: &NewTunnel) -> Result<Config> {
    let place = |key: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(str::parse::<Place>).transpose();
        parsed.map_err(|reason| Refused::usage(format!("{key}: {reason}")))
    };
    let (role, protocol) = (
        match new.role {
            TunnelRole::Expose => Role::Expose,
            TunnelRole::Forward => Role::Forward,
        },
        match new.protocol {
            TunnelProtocol::Tcp => Protocol::Tcp,
            TunnelProtocol::Udp => Protocol::Udp,
        },
    );
    Ok(Config {
        target: place("target", &new.target)?,
        allow: new.allow.clone(),
        listen: place("listen", &new.listen)?,
        peer: new.peer.clone(),
        service: new.service.clone(),
        ..Config::new(role, protocol)
    })
}

fn told(status: Status) -> Tunnel {
    let Status { name, config, .. } = status;
    let (state, listens, reason) = match status.state {
        Ready::Starting => (TunnelState::Starting, None, None),
        Ready::Ready(at) => (TunnelState::Ready, at, None),
        Ready::Failed(reason) => (TunnelState::Failed, None, Some(reason)),
    };
    let text = |place: Place| place.to_string();
    let service = (config.role == Role::Forward).then(|| config.service.unwrap_or_else(|| name.clone()));
    Tunnel {
        role: match config.role {
            Role::Expose => TunnelRole::Expose,
            Role::Forward => TunnelRole::Forward,
        },
        protocol: match config.protocol {
            Protocol::Tcp => TunnelProtocol::Tcp,
            Protocol::Udp => TunnelProtocol::Udp,
        },
        target: config.target.map(text),
        allow: config.allow.unwrap_or_default(),
        listen: listens.or(config.listen).map(text),
        peer: config.peer,
        service,
        configured: !status.is_asked,
        state,
        connections: status.connections as u64,
        opened: status.opened,
        failed: status.failed,
        received: status.received,
        sent: status.sent,
        lost: status.lost,
        problem: reason.or(status.problem),
        name,
    }
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Mistake(_) => Code::Usage,
            OpenError::Taken(_) => Code::Conflict,
            OpenError::TooMany => Code::Limit,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<CloseError> for Refused {
    fn from(error: CloseError) -> Self {
        let code = match &error {
            CloseError::Unknown(_) => Code::NotFound,
            _ => Code::Conflict,
        };
        Self::new(code, error.to_string())
    }
}
