//! What is served where.
mod care;
mod channels;
mod content;
mod doctor;
mod events;
mod fetches;
mod files;
mod flows;
mod health;
mod kad;
mod log;
mod logins;
mod membership;
mod metrics;
mod nat;
mod node;
mod operations;
mod page;
mod peers;
mod range;
mod rates;
mod rendezvous;
mod shares;
mod tokens;
mod topics;
mod traced;
mod traffic;
mod tree;
mod tunnels;
mod uploads;

use std::{
    any::Any,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use cardume_api::{Code, Problem};
use tokio_util::sync::CancellationToken;
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub(crate) use self::peers::reached;
use crate::{
    config::{Handles, NodeInfo},
    events::Events,
    flows::Flows,
    gate::{self, Remote},
    link::Links,
    operations::Operations,
    problem::Refused,
    sessions::Sessions,
    tcp::Opener,
    tokens::Tokens,
};

/// Bytes of a JSON body.
const MAX_BODY: usize = 1024 * 1024;
/// Bytes of a message on a topic; what may be published is less or as much.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// Time between two pieces of a body. Longer for uploads, which may come from a slow pipe.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for an answer that waits for nothing but this node.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cardume",
        description = "The control API of a node, served on its unix socket, and over TCP to who shows a token."
    ),
    components(schemas(Problem, cardume_api::Event))
)]
struct Description;

/// The description of the API, as it is served at `/v1/openapi.json`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let parts = [
        node::routes().into_openapi(),
        doctor::routes().into_openapi(),
        log::routes().into_openapi(),
        health::routes().into_openapi(),
        metrics::routes().into_openapi(),
        operations::routes().into_openapi(),
        events::routes().into_openapi(),
        shares::routes().into_openapi(),
        files::routes().into_openapi(),
        uploads::routes().into_openapi(),
        tree::routes().into_openapi(),
        content::routes().into_openapi(),
        fetches::routes().into_openapi(),
        care::routes().into_openapi(),
        peers::routes().into_openapi(),
        kad::routes().into_openapi(),
        rates::routes().into_openapi(),
        nat::routes().into_openapi(),
        rendezvous::routes().into_openapi(),
        traffic::routes().into_openapi(),
        topics::routes().into_openapi(),
        topics::publishing().into_openapi(),
        channels::routes().into_openapi(),
        channels::slow_routes().into_openapi(),
        tokens::routes().into_openapi(),
        tunnels::routes().into_openapi(),
    ];
    parts
        .into_iter()
        .fold(Description::openapi(), utoipa::openapi::OpenApi::merge_from)
}

/// What the routes answer from.
pub(crate) struct Parts {
    /// What does not change.
    pub(crate) node: Arc<NodeInfo>,
    /// The limbs of the node.
    pub(crate) handles: Handles,
    pub(crate) operations: Arc<Operations>,
    pub(crate) events: Arc<Events>,
    pub(crate) links: Links,
    /// Cancelled when streams have to end.
    pub(crate) ending: CancellationToken,
    pub(crate) started: Instant,
    /// Who may call over TCP.
    pub(crate) tokens: Arc<Tokens>,
    /// Browsers that are logged in.
    pub(crate) sessions: Arc<Sessions>,
    /// Opens a port for them.
    pub(crate) opener: Opener,
    /// How fast content goes between the node and each peer.
    pub(crate) flows: Flows,
}

type Shared = Arc<Parts>;

/// All routes: as the socket has them, and as the ports have them, with what browsers need besides.
pub(crate) fn routers(parts: Arc<Parts>, remote: Arc<Remote>) -> (Router, Router) {
    let page = page::routes(parts.clone(), remote.clone());
    let logins = logins::routes(parts.clone(), remote.clone());
    let api = api(parts);
    let at_socket = api
        .clone()
        .layer(from_fn(gate::at_socket))
        .layer(CatchPanicLayer::custom(panicked));
    let at_ports = api
        .layer(from_fn_with_state(remote.clone(), gate::with_token))
        .merge(page.layer(from_fn(in_time)))
        .merge(logins.layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT)))
        .layer(from_fn_with_state(remote, gate::of_this_host))
        .layer(CatchPanicLayer::custom(panicked));
    (at_socket, at_ports)
}

/// The routes of the API, each with what it takes.
fn api(parts: Arc<Parts>) -> Router {
    let events = parts.events.clone();
    let quick = OpenApiRouter::new()
        .merge(node::routes())
        .merge(health::routes())
        .merge(rates::routes())
        .merge(nat::routes())
        .merge(rendezvous::routes())
        .merge(traffic::routes())
        .merge(metrics::routes())
        .merge(operations::routes())
        .merge(shares::routes())
        .merge(fetches::routes())
        .merge(care::routes())
        .merge(channels::routes())
        .merge(tokens::routes())
        .merge(tunnels::routes())
        .layer(from_fn(in_time));
    // These wait for peers, or for as many bytes as there are.
    let slow = OpenApiRouter::new()
        .merge(doctor::routes())
        .merge(log::routes())
        .merge(events::routes())
        .merge(files::routes())
        .merge(tree::routes())
        .merge(content::routes())
        .merge(peers::routes())
        .merge(kad::routes())
        .merge(topics::routes())
        .merge(channels::slow_routes());
    let json = quick
        .merge(slow)
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
        .layer(DefaultBodyLimit::max(MAX_BODY));
    let uploads = uploads::routes().layer(RequestBodyTimeoutLayer::new(UPLOAD_TIMEOUT));
    let publishing = topics::publishing()
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE));
    let (router, _) = json
        .merge(uploads)
        .merge(publishing)
        .with_state(parts)
        .split_for_parts();
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(events, gate::with_right))
        .layer(from_fn(traced::request))
}

/// The routes for who watches over the node and may do nothing else.
pub(crate) fn numbers(parts: Arc<Parts>) -> Router {
    let (router, _) = OpenApiRouter::new()
        .merge(health::routes())
        .merge(metrics::routes())
        .layer(from_fn(in_time))
        .with_state(parts)
        .split_for_parts();
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
}

async fn unknown(request: Request) -> Refused {
    Refused::not_found(format!("nothing is at {}", request.uri().path()))
}

async fn wrong_method(request: Request) -> Refused {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    Refused::rejected(StatusCode::METHOD_NOT_ALLOWED, detail)
}

async fn in_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|_| Refused::new(Code::Timeout, "the node did not answer in time").into_response())
}

fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("an answer to a caller panicked");
    Refused::new(Code::Failed, "a fault in the node; its log says more").into_response()
}

/// Runs what touches the disk on a blocking thread.
async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Refused::new(
            Code::Failed,
            "a fault in the node; its log says more",
        ))
    })
}
