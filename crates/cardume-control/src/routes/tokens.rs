//! Tokens, and logins of browsers.
use std::time::Instant;

use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{Code, IssuedToken, Login, NewSecret, NewToken, Problem, Token};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Shared, on_disk};
use crate::{
    caller::Caller,
    extract::{Json as Body, Path},
    problem::{Refused, Result},
    sessions::CODE_LIFE,
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, issue))
        .routes(routes!(rotate))
        .routes(routes!(revoke))
        .routes(routes!(login))
}

/// The tokens that are taken over TCP, without their secrets. For administrators.
#[utoipa::path(
    get, path = "/v1/tokens", operation_id = "list_tokens", tag = "tokens",
    responses((status = 200, body = Vec<Token>), (status = 403, body = Problem))
)]
async fn list(State(state): State<Shared>) -> Json<Vec<Token>> {
    Json(state.tokens.list())
}

/// Makes a token; its secret is told this once. For administrators.
#[utoipa::path(
    post, path = "/v1/tokens", operation_id = "create_token", tag = "tokens", request_body = NewToken,
    responses(
        (status = 201, body = IssuedToken), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem), (status = 429, body = Problem)
    )
)]
async fn issue(
    State(state): State<Shared>,
    Body(new): Body<NewToken>,
) -> Result<(StatusCode, Json<IssuedToken>)> {
    let tokens = state.tokens.clone();
    let issued = on_disk(move || tokens.issue(new)).await?;
    Ok((StatusCode::CREATED, Json(issued)))
}

/// Gives a token another secret, and ends what was logged in with it. For administrators.
#[utoipa::path(
    post, path = "/v1/tokens/{name}/rotate", operation_id = "rotate_token", tag = "tokens",
    params(("name" = String, Path)), request_body = NewSecret,
    responses((status = 200, body = IssuedToken), (status = 403, body = Problem), (status = 404, body = Problem))
)]
async fn rotate(
    State(state): State<Shared>,
    Path(name): Path<String>,
    Body(how): Body<NewSecret>,
) -> Result<Json<IssuedToken>> {
    let (tokens, rotated) = (state.tokens.clone(), name.clone());
    let issued = on_disk(move || tokens.rotate(&rotated, how.grace_s)).await?;
    state.sessions.end_of_token(&name, Instant::now());
    Ok(Json(issued))
}

/// Takes a token back, and ends what was logged in with it. For administrators.
#[utoipa::path(
    delete, path = "/v1/tokens/{name}", operation_id = "revoke_token", tag = "tokens", params(("name" = String, Path)),
    responses(
        (status = 204, description = "It is taken no more."), (status = 403, body = Problem),
        (status = 404, body = Problem)
    )
)]
async fn revoke(State(state): State<Shared>, Path(name): Path<String>) -> Result<StatusCode> {
    let (tokens, revoked) = (state.tokens.clone(), name.clone());
    on_disk(move || tokens.revoke(&revoked)).await?;
    state.sessions.end_of_token(&name, Instant::now());
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a browser of this machine log in, once and within a minute, with the rights of the caller. Only by the socket.
#[utoipa::path(
    post, path = "/v1/logins", operation_id = "login", tag = "tokens",
    responses((status = 201, body = Login), (status = 403, body = Problem))
)]
async fn login(caller: Caller, State(state): State<Shared>) -> Result<(StatusCode, Json<Login>)> {
    let failed =
        |error: std::io::Error| Refused::new(Code::Failed, format!("no port for a browser: {error}"));
    // The code first: the port stays open as long as there is one.
    let code = state
        .sessions
        .invite(caller.bearer()?, Instant::now())
        .map_err(failed)?;
    let address = state.opener.open().await.map_err(failed)?;
    let login = Login {
        url: format!("http://{address}/open?code={code}"),
        expires_s: CODE_LIFE.as_secs(),
    };
    Ok((StatusCode::CREATED, Json(login)))
}
