//! Topics: what peers publish, and what this node does.
use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequestParts, State},
    http::{HeaderMap, StatusCode, request::Parts},
    response::sse::{Event, KeepAlive, Sse},
};
use cardume_api::{Code, Delivery, Problem, Published, Topic, TopicEvent, TopicMessage, TopicPeer};
use cardume_topic::{DeliveryStatus, Item, OpenError, PublishError, Reader, Received, Start};
use futures::Stream;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Shared;
use crate::{
    extract::Path,
    problem::{Refused, Result},
};

/// A comment this often shows both ends that the other is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Messages asked for from before; as many as are kept.
const MAX_HISTORY: usize = 1024;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(peers))
        .routes(routes!(read))
}

/// Its body is a message, which may be as large as content.
pub(super) fn publishing() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(publish))
}

/// The topics that the node or a peer is subscribed to, by name; a thousand at most.
#[utoipa::path(
    get, path = "/v1/topics", operation_id = "list_topics", tag = "topics",
    responses((status = 200, body = Vec<Topic>), (status = 503, body = Problem))
)]
async fn list(State(state): State<Shared>) -> Result<Json<Vec<Topic>>> {
    state.topics().await.map(Json)
}

impl super::Parts {
    pub(super) async fn topics(&self) -> Result<Vec<Topic>> {
        let mut deliveries = HashMap::<String, Vec<Delivery>>::new();
        for status in self.handles.topics.deliveries() {
            deliveries
                .entry(status.topic.clone())
                .or_default()
                .push(delivery(status));
        }
        let topics = self
            .handles
            .topics
            .topics()
            .await?
            .into_iter()
            .map(|status| Topic {
                deliveries: deliveries.remove(&status.topic).unwrap_or_default(),
                subscribed: status.subscriptions > 0,
                peers: status.peers as u64,
                mesh: status.mesh as u64,
                published: status.counts.published,
                received: status.counts.received,
                ignored: status.counts.ignored,
                excess: status.counts.excess,
                rejected: status.counts.rejected,
                lost: status.counts.lost,
                topic: status.topic,
            });
        Ok(topics.collect())
    }
}

fn delivery(status: DeliveryStatus) -> Delivery {
    Delivery {
        kind: status.kind.to_owned(),
        delivered: status.delivered,
        failed: status.failed,
        lost: status.lost,
        problem: status.problem,
    }
}

/// The peers connected that are subscribed to a topic.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/peers", operation_id = "list_topic_peers", tag = "topics",
    params(("topic" = String, Path)),
    responses((status = 200, body = Vec<TopicPeer>), (status = 503, body = Problem))
)]
async fn peers(State(state): State<Shared>, Path(topic): Path<String>) -> Result<Json<Vec<TopicPeer>>> {
    let peers = state.handles.topics.peers(&topic).await?;
    let names = state.handles.roll.names();
    let row = |peer: cardume_gossipsub::TopicPeer| TopicPeer {
        name: names.name(&peer.peer).map(str::to_owned),
        peer_id: peer.peer.to_string(),
        mesh: peer.in_mesh,
        score: (peer.score * 10.0).round() / 10.0,
    };
    Ok(Json(peers.into_iter().map(row).collect()))
}

/// Publishes the body as a message. One that is too large for the topic travels as content.
#[utoipa::path(
    post, path = "/v1/topics/{topic}/messages", tag = "topics", params(("topic" = String, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Published), (status = 404, body = Problem), (status = 413, body = Problem),
        (status = 429, body = Problem), (status = 503, body = Problem)
    )
)]
async fn publish(
    State(state): State<Shared>,
    Path(topic): Path<String>,
    data: Bytes,
) -> Result<Json<Published>> {
    let addresses = match state.handles.topics.is_content(&topic, &data) {
        true => state.links.addresses().await,
        false => Vec::new(),
    };
    let id = state.handles.topics.publish(&topic, data, addresses).await?;
    let id = id.to_string();
    Ok(Json(Published { topic, id }))
}

/// `?history=`: how many of the last messages to begin with.
struct History(Option<usize>);

impl<S: Send + Sync> FromRequestParts<S> for History {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let mut history = Self(None);
        for (key, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            if key != "history" {
                return Err(Refused::usage(format!(
                    "no parameter is called {key:?}; there is history"
                )));
            }
            let count = value.parse::<usize>();
            let count = count.map_err(|error| Refused::usage(format!("history={value:?}: {error}")))?;
            history.0 = Some(count.min(MAX_HISTORY));
        }
        Ok(history)
    }
}

/// Messages of a topic as they come, as server-sent events: from now on, after `history` of the last ones that are
/// kept here or by peers, or after the one that `Last-Event-ID` names.
///
/// The node subscribes, unless it is, and stays so for a minute after its last reader. Messages that were lost between
/// are told by an event named `lost`. The stream ends when the node stops.
#[utoipa::path(
    get, path = "/v1/topics/{topic}/messages", operation_id = "read_topic", tag = "topics",
    params(
        ("topic" = String, Path), ("history" = Option<usize>, Query), ("last-event-id" = Option<String>, Header)
    ),
    responses(
        (status = 200, body = TopicEvent, content_type = "text/event-stream"), (status = 429, body = Problem),
        (status = 503, body = Problem)
    )
)]
async fn read(
    State(state): State<Shared>,
    Path(topic): Path<String>,
    History(history): History,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let start = match (last, history) {
        (Some(last), _) => Start::After(last),
        (None, Some(count)) => Start::Last(count),
        (None, None) => Start::Now,
    };
    let reader = state.handles.topics.read(&topic, start).await?;
    let ending = state.ending.clone();
    let messages = futures::stream::unfold((reader, ending), async |(mut reader, ending)| {
        let event = tokio::select! {
            event = next(&mut reader) => event?,
            () = ending.cancelled() => return None,
        };
        Some((Ok(event), (reader, ending)))
    });
    Ok(Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

async fn next(reader: &mut Reader) -> Option<Event> {
    let (item, place) = reader.next().await?;
    let event = match item {
        Item::Message(message) => TopicEvent::Message(shown(message)),
        Item::Lost(lost) => TopicEvent::Lost { lost },
    };
    let data = serde_json::to_string(&event).expect("an event is plain JSON");
    Some(Event::default().id(place).event(event.name()).data(data))
}

fn shown(message: Received) -> TopicMessage {
    let Received {
        topic,
        from,
        id,
        data,
        cid,
    } = message;
    let message = TopicMessage {
        topic: topic.to_string(),
        from: from.to_string(),
        id: id.to_string(),
        data: data.into(),
        text: None,
        cid,
    };
    message.with_text()
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Closed(_) => return off(),
            OpenError::Name(_) => Code::Usage,
            OpenError::TooMany(_) => Code::Limit,
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<PublishError> for Refused {
    fn from(error: PublishError) -> Self {
        use cardume_gossipsub::PublishError as Topic;
        let error = match error {
            PublishError::Store(error) => return error.into(),
            error => error,
        };
        let code = match &error {
            PublishError::Topic(Topic::Closed(_)) => return off(),
            PublishError::Topic(Topic::Name(_)) => Code::Usage,
            PublishError::Topic(Topic::TooFast(_)) => Code::Limit,
            PublishError::Topic(Topic::NoSubscribers) => Code::NotFound,
            PublishError::Topic(Topic::Slow(_)) => Code::Unavailable,
            // Another status than that of those who may just try again.
            PublishError::Topic(Topic::TooLarge { .. }) | PublishError::TooLarge { .. } => {
                return Self::rejected(StatusCode::PAYLOAD_TOO_LARGE, error.to_string());
            }
            _ => Code::Failed,
        };
        Self::new(code, error.to_string())
    }
}

fn off() -> Refused {
    Refused::new(
        Code::Unavailable,
        "the node takes no part in topics (gossipsub.enabled), or is stopping",
    )
}
