//! Channels: signed names that point at content and move.
use std::time::{SystemTime, UNIX_EPOCH};

use axum::{Json, extract::State, http::StatusCode};
use cardume_api::{Channel, Follow, NewChannel, NewHold, NewVersion, Problem};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Parts, Shared};
use crate::{
    extract::{Json as Body, Path},
    problem::{Refused, Result},
};

/// What waits for nothing but this node.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(follows))
        .routes(routes!(hold))
}

/// What may have to ask peers.
pub(super) fn slow_routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(publish))
}

impl Parts {
    fn told(&self, known: cardume_channel::Channel) -> Channel {
        let channel = known.id.to_string();
        let follows = self.handles.follows.list().into_iter();
        let follows = follows.filter(|follow| follow.channel == channel);
        let body = known.newest.as_ref().map(cardume_channel::Record::body);
        Channel {
            name: known.name,
            number: body.map(|body| body.number),
            cid: body.map(|body| body.cid),
            size: body.map(|body| body.size),
            time: body.map(|body| body.time),
            note: body.map(|body| body.note.clone()).filter(|note| !note.is_empty()),
            follows: follows.map(|follow| follow.name).collect(),
            channel,
        }
    }

    /// How the places that follow channels stand; their lag grows between two changes.
    pub(super) fn follows(&self) -> Vec<Follow> {
        let mut follows = self.handles.follows.list();
        follows.iter_mut().for_each(count_lag);
        follows
    }
}

fn count_lag(follow: &mut Follow) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let lag = follow
        .behind_since
        .map(|since| now.as_secs().saturating_sub(since));
    follow.lag_s = lag.unwrap_or(0);
}

/// The channels that the node publishes or follows.
#[utoipa::path(
    get, path = "/v1/channels", operation_id = "channels", tag = "channels",
    responses((status = 200, body = Vec<Channel>))
)]
async fn list(State(state): State<Shared>) -> Json<Vec<Channel>> {
    let channels = state.handles.channels.list().into_iter();
    Json(channels.map(|known| state.told(known)).collect())
}

/// Makes the key of a new channel; it is on the disk when this is answered. For root and the node's own user.
#[utoipa::path(
    post, path = "/v1/channels", operation_id = "create_channel", tag = "channels", request_body = NewChannel,
    responses(
        (status = 201, body = Channel), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 409, body = Problem)
    )
)]
async fn create(
    State(state): State<Shared>,
    Body(new): Body<NewChannel>,
) -> Result<(StatusCode, Json<Channel>)> {
    let id = state.handles.channels.create(new.name).await?;
    let made = state.handles.channels.show(id).await?;
    Ok((StatusCode::CREATED, Json(state.told(made))))
}

/// What is known of a channel, by its id or the name of its key; the DHT is asked about one that is not followed.
#[utoipa::path(
    get, path = "/v1/channels/{channel}", operation_id = "channel", tag = "channels",
    params(("channel" = String, Path)),
    responses((status = 200, body = Channel), (status = 404, body = Problem), (status = 503, body = Problem))
)]
async fn show(State(state): State<Shared>, Path(channel): Path<String>) -> Result<Json<Channel>> {
    let id = state.handles.channels.find(&channel)?;
    let known = state.handles.channels.show(id).await?;
    Ok(Json(state.told(known)))
}

/// Publishes content under a channel whose key is here; on the disk when this is answered, and then told to others.
/// For root and the node's own user.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/versions", operation_id = "publish_version", tag = "channels",
    params(("channel" = String, Path)), request_body = NewVersion,
    responses(
        (status = 201, body = Channel), (status = 400, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem)
    )
)]
async fn publish(
    State(state): State<Shared>,
    Path(channel): Path<String>,
    Body(new): Body<NewVersion>,
) -> Result<(StatusCode, Json<Channel>)> {
    cardume_channel::check_note(&new.note).map_err(|error| Refused::usage(error.to_string()))?;
    let channels = &state.handles.channels;
    let id = channels.find(&channel)?;
    let own = channels.list().into_iter().find(|known| known.id == id);
    let name = own.and_then(|own| own.name).ok_or_else(|| {
        Refused::not_found(format!("the key of {channel} is not here; publish where it is"))
    })?;
    let found = state
        .handles
        .exchange
        .resolve(new.cid, Vec::new(), Vec::new(), None);
    let size = found.await?.size;
    channels.publish(name, new.cid, size, new.note).await?;
    let published = channels.show(id).await?;
    Ok((StatusCode::CREATED, Json(state.told(published))))
}

/// How the places that follow channels stand.
#[utoipa::path(get, path = "/v1/follows", operation_id = "follows", tag = "channels", responses((status = 200, body = Vec<Follow>)))]
async fn follows(State(state): State<Shared>) -> Json<Vec<Follow>> {
    Json(state.follows())
}

/// Holds a place at one version of its channel, or lets it go on to the newest. For root and the node's own user.
#[utoipa::path(
    put, path = "/v1/follows/{name}", operation_id = "hold", tag = "channels",
    params(("name" = String, Path)), request_body = NewHold,
    responses((status = 200, body = Follow), (status = 403, body = Problem), (status = 404, body = Problem))
)]
async fn hold(
    State(state): State<Shared>,
    Path(name): Path<String>,
    Body(new): Body<NewHold>,
) -> Result<Json<Follow>> {
    let find = || state.handles.follows.find(&name);
    let unknown = || Refused::not_found(format!("no [follow.{name}] is configured"));
    let follow = find().ok_or_else(unknown)?;
    let channels = &state.handles.channels;
    if let Some(number) = new.at {
        let known = channels.records(channels.find(&follow.channel)?).await?;
        let mut known: Vec<u64> = known.iter().map(cardume_channel::Record::number).collect();
        known.extend(follow.versions);
        known.sort_unstable();
        known.dedup();
        if !known.contains(&number) {
            let known: Vec<String> = known.iter().map(u64::to_string).collect();
            let known = known.join(", ");
            return Err(Refused::not_found(format!(
                "nothing of version {number} is known here; there are {known}"
            )));
        }
    }
    channels.hold(name.clone(), new.at).await?;
    state.handles.follows.change(&name, |row| row.held = new.at);
    let mut held = find().ok_or_else(unknown)?;
    count_lag(&mut held);
    Ok(Json(held))
}
