//! The last lines of the node's log.
use std::convert::Infallible;

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use cardume_api::{LogEvent, LogLine, Problem};
use futures::Stream;
use serde::Deserialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Shared, events};
use crate::{extract::Query, log::KEPT};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(last)).routes(routes!(stream))
}

/// `?lines=`: how many of the last lines; more than are kept is all of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    lines: Option<usize>,
}

/// The last lines of the log that are kept in memory, the oldest first: all, or so many.
#[utoipa::path(
    get, path = "/v1/log", operation_id = "read_log", tag = "node", params(("lines" = Option<usize>, Query)),
    responses((status = 200, body = Vec<LogLine>), (status = 403, body = Problem))
)]
async fn last(State(state): State<Shared>, Query(asked): Query<Asked>) -> Json<Vec<LogLine>> {
    Json(state.handles.log.last(asked.lines.unwrap_or(KEPT)))
}

/// Lines of the log as they are written, as server-sent events: after so many of the last ones, or after the one that
/// `Last-Event-ID` names.
///
/// What was lost between is told by an event named `lost`. The stream ends when the node stops.
#[utoipa::path(
    get, path = "/v1/log/stream", operation_id = "follow_log", tag = "node",
    params(("lines" = Option<usize>, Query), ("last-event-id" = Option<String>, Header)),
    responses((status = 200, body = LogEvent, content_type = "text/event-stream"), (status = 403, body = Problem))
)]
async fn stream(
    State(state): State<Shared>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let reader = state.handles.log.reader(last, asked.lines.unwrap_or_default());
    let messages = futures::stream::unfold(reader, events::next);
    Sse::new(messages).keep_alive(KeepAlive::new().interval(events::KEEP_ALIVE))
}
