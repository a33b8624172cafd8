//! What is served where.
mod care;
mod content;
mod events;
mod fetches;
mod files;
mod health;
mod kad;
mod metrics;
mod node;
mod operations;
mod peers;
mod range;
mod rates;
mod shares;
mod tree;
mod uploads;

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use cardume_api::{Code, Problem};
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    caller,
    config::{Handles, NodeInfo},
    events::Events,
    link::Links,
    operations::Operations,
    problem::Refused,
};

/// Bytes of a JSON body.
const MAX_BODY: usize = 1024 * 1024;
/// Time between two pieces of a body. Longer for uploads, which may come from a slow pipe.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Time for an answer that waits for nothing but this node.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "cardume",
        description = "The control API of a node, served on its unix socket."
    ),
    components(schemas(Problem, cardume_api::Event))
)]
struct Description;

/// The description of the API, as it is served at `/v1/openapi.json`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let parts = [
        node::routes().into_openapi(),
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
    ];
    parts
        .into_iter()
        .fold(Description::openapi(), utoipa::openapi::OpenApi::merge_from)
}

/// All routes, with what they need.
pub(crate) fn router(
    node: NodeInfo,
    handles: Handles,
    operations: Arc<Operations>,
    events: Arc<Events>,
) -> Router {
    let node = Arc::new(node);
    let links = Links::new(node.peer_id, handles.connect.clone());
    let Handles {
        connect,
        kad,
        transfer,
        rates,
        exchange,
        shares: configured,
        store,
        stop,
        wanted,
    } = handles;
    let health = health::State {
        connect: connect.clone(),
        store: store.clone(),
    };
    let status = node::State {
        node: node.clone(),
        health: health.clone(),
        operations: operations.clone(),
        shares: configured.clone(),
        rates: rates.clone(),
        stop,
        wanted,
        started: std::time::Instant::now(),
    };
    let metrics = metrics::State {
        node: status.clone(),
        transfer: transfer.clone(),
    };
    let shares = shares::State {
        node: node.clone(),
        operations: operations.clone(),
        store: store.clone(),
        exchange: exchange.clone(),
        links: links.clone(),
    };
    let files = files::State {
        shares: configured,
        store: store.clone(),
        exchange: exchange.clone(),
        links,
    };
    let tree = tree::State {
        store: store.clone(),
        exchange: exchange.clone(),
    };
    let peers = peers::State {
        node,
        connect,
        transfer,
    };
    let fetches = fetches::State {
        operations: operations.clone(),
        exchange: exchange.clone(),
    };
    let care = care::State {
        operations: operations.clone(),
        store: store.clone(),
        exchange: exchange.clone(),
    };
    let running = operations::State { operations, exchange };
    let quick = OpenApiRouter::new()
        .merge(node::routes().with_state(status))
        .merge(health::routes().with_state(health))
        .merge(rates::routes().with_state(rates::State { rates }))
        .merge(metrics::routes().with_state(metrics))
        .merge(operations::routes().with_state(running))
        .merge(shares::routes().with_state(shares))
        .merge(fetches::routes().with_state(fetches))
        .merge(care::routes().with_state(care))
        .layer(from_fn(in_time));
    // These wait for peers, or for as many bytes as there are.
    let slow = OpenApiRouter::new()
        .merge(events::routes().with_state(events))
        .merge(files::routes().with_state(files))
        .merge(tree::routes().with_state(tree.clone()))
        .merge(content::routes().with_state(tree))
        .merge(peers::routes().with_state(peers))
        .merge(kad::routes().with_state(kad));
    let json = quick
        .merge(slow)
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
        .layer(DefaultBodyLimit::max(MAX_BODY));
    let uploads = uploads::routes()
        .with_state(store)
        .layer(RequestBodyTimeoutLayer::new(UPLOAD_TIMEOUT));
    let (router, _) = json.merge(uploads).split_for_parts();
    router
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(caller::gate))
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
