//! What happens, as it happens.
use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures::Stream;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::events::Reader;

/// A comment this often shows both ends that the other is there.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(events))
}

/// What happens from now on, as server-sent events, or after the event that `Last-Event-ID` names.
///
/// What was lost between is told by an event named `lost`. The stream ends when the node stops.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(("last-event-id" = Option<String>, Header)),
    responses((status = 200, body = cardume_api::Event, content_type = "text/event-stream"))
)]
async fn events(
    State(state): State<Shared>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let messages = futures::stream::unfold(state.events.reader(last), next);
    Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

pub(super) async fn next(mut reader: Reader) -> Option<(Result<Event, Infallible>, Reader)> {
    let message = reader.next().await?;
    let event = Event::default()
        .id(message.id)
        .event(message.name)
        .data(&*message.data);
    Some((Ok(event), reader))
}
