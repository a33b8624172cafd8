//! What traces tell of fetches and reads; it costs nothing while nobody sends any.
use cardume_content::Cid;
use tracing::{
    Span,
    field::{Empty, display},
    info_span,
};

use crate::{FetchError, FetchRequest, Fetched};

/// A fetch, from when it is asked for.
pub(crate) fn fetch(request: &FetchRequest) -> Span {
    info_span!(
        "fetch",
        cid = %request.cid,
        size = Empty,
        bytes = Empty,
        peers = Empty,
        outcome = Empty,
        otel.status_code = Empty,
    )
}

/// A read in order, from when it is asked for.
pub(crate) fn read(cid: Cid) -> Span {
    info_span!("read", %cid)
}

/// Says how a fetch ended: for `size` bytes, `bytes` came from so many `peers`.
pub(crate) fn ended(span: &Span, result: &Result<Fetched, FetchError>) {
    match result {
        Ok(fetched) => {
            span.record("size", signed(fetched.size));
            span.record("bytes", signed(fetched.fetched));
            span.record("peers", signed(fetched.sources.len() as u64));
            span.record("outcome", "done");
        }
        Err(error) => {
            span.record("outcome", display(error));
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// Numbers of traces have a sign; one without would be sent as text.
fn signed(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
