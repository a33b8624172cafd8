//! What traces tell of requests; it costs nothing while nobody sends any.
use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, Span, field::Empty, info_span};

/// Answers within a span, which ends with the head of the answer.
pub(super) async fn request(request: Request, next: Next) -> Response {
    let span = span(&request);
    let answer = next.run(request).instrument(span.clone()).await;
    let status = answer.status();
    // A number without a sign would be sent as text.
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    answer
}

/// Names are those of the semantic conventions for HTTP: by the route, of which there are few, not by the path.
fn span(request: &Request) -> Span {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    info_span!(
        "request",
        otel.name = format!("{} {}", request.method(), route.unwrap_or_default()).trim_end(),
        otel.kind = "server",
        http.request.method = request.method().as_str(),
        http.route = route,
        http.response.status_code = Empty,
        otel.status_code = Empty,
    )
}
