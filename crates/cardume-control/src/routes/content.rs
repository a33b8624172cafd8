//! Bytes of files.
use std::ops::Range;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use cardume_api::Problem;
use cardume_content::Kind;
use cardume_exchange::Reading;
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    Shared,
    range::{Sent, Wanted},
};
use crate::{
    extract::{Below, CidPath},
    problem::{Refused, Result},
};

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(content))
}

/// Bytes of a file, verified, and fetched as they are needed. Honours `Range` and `If-None-Match`.
#[utoipa::path(
    get, path = "/v1/content/{cid}", operation_id = "read_content", tag = "content",
    params(
        ("cid" = String, Path), ("path" = Option<String>, Query), ("peer" = Option<Vec<String>>, Query),
        ("range" = Option<String>, Header), ("if-none-match" = Option<String>, Header)
    ),
    responses(
        (status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range asked for."), (status = 304, description = "As the caller has it."),
        (status = 400, description = "It is a directory.", body = Problem), (status = 404, body = Problem),
        (status = 416, description = "The range begins after the end.", body = Problem)
    )
)]
async fn content(
    State(state): State<Shared>,
    method: Method,
    headers: HeaderMap,
    CidPath(root): CidPath,
    below: Below,
) -> Result<Response> {
    // Without a path the id is known, and its bytes never change: no need to look.
    let cid = if below.path.is_empty() {
        root
    } else {
        state.find(root, &below).await?.cid
    };
    if cid.kind() == Kind::Directory {
        return Err(Refused::usage(format!(
            "{cid} is a directory; list it, or name a file below it"
        )));
    }
    let tag = format!("\"{cid}\"");
    if matches(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, fields(&tag)).into_response());
    }
    // Peers are known by the root that they have, so it is the root that is read.
    let read = async |range: Range<u64>| {
        let (path, peers) = (below.path.clone(), below.peers.clone());
        state.handles.exchange.read(root, path, peers, range).await
    };
    let wanted = wanted(&headers, &tag);
    let reading = match wanted {
        // Only the size is wanted; nothing needs to come.
        _ if method == Method::HEAD => read(0..0).await?,
        Wanted::All => read(0..u64::MAX).await?,
        Wanted::From(first, end) => read(first..end.unwrap_or(u64::MAX)).await?,
        Wanted::Last(_) => {
            let size = read(0..0).await?.size;
            match wanted.of(size) {
                Sent::Part(range) => read(range).await?,
                Sent::All | Sent::Unsatisfiable => read(0..size).await?,
            }
        }
    };
    Ok(answer(&tag, &wanted, reading, method == Method::HEAD))
}

/// Whether the caller has it. Tags are strong and bytes never change, so weak ones match as well.
fn matches(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|given| given.trim().trim_start_matches("W/"))
        .any(|given| given == tag)
}

fn wanted(headers: &HeaderMap, tag: &str) -> Wanted {
    // A range of something else than the caller began with would not fit.
    let same = headers
        .get(header::IF_RANGE)
        .is_none_or(|given| given.as_bytes() == tag.as_bytes());
    match headers.get(header::RANGE).and_then(|range| range.to_str().ok()) {
        Some(range) if same => Wanted::parse(range),
        _ => Wanted::All,
    }
}

fn fields(tag: &str) -> [(header::HeaderName, HeaderValue); 5] {
    [
        (
            header::ETAG,
            HeaderValue::from_str(tag).expect("a CID is plain text"),
        ),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        ),
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ]
}

fn answer(tag: &str, wanted: &Wanted, reading: Reading, head: bool) -> Response {
    let size = reading.size;
    let (status, range) = match wanted.of(size) {
        Sent::All => (StatusCode::OK, 0..size),
        Sent::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Sent::Unsatisfiable => {
            let refused = Refused::rejected(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!("the range begins after the end; there are {size} bytes"),
            );
            let problem = Refused(refused.0.with_status(StatusCode::RANGE_NOT_SATISFIABLE.as_u16()));
            return ([(header::CONTENT_RANGE, format!("bytes */{size}"))], problem).into_response();
        }
    };
    let length = [(header::CONTENT_LENGTH, (range.end - range.start).to_string())];
    let body = if head {
        Body::empty()
    } else {
        Body::from_stream(ReceiverStream::new(reading.chunks))
    };
    let mut response = (status, fields(tag), length, body).into_response();
    if status == StatusCode::PARTIAL_CONTENT {
        let sent = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        let sent = HeaderValue::from_str(&sent).expect("numbers are plain text");
        response.headers_mut().insert(header::CONTENT_RANGE, sent);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_tag_the_caller_has_is_found_among_others() {
        for value in ["\"a\"", "W/\"a\"", "\"b\", \"a\""] {
            assert!(
                matches(&headers(header::IF_NONE_MATCH, value), "\"a\""),
                "{value}"
            );
        }
        assert!(!matches(&headers(header::IF_NONE_MATCH, "\"b\""), "\"a\""));
        assert!(!matches(&HeaderMap::new(), "\"a\""));
    }

    #[test]
    fn a_range_of_something_else_is_ignored() {
        let mut headers = headers(header::RANGE, "bytes=1-");
        assert_eq!(wanted(&headers, "\"a\""), Wanted::From(1, None));
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"b\""));
        assert_eq!(wanted(&headers, "\"a\""), Wanted::All);
    }
}
