//! What traces tell of imports; it costs nothing while nobody sends any.
use std::path::Path;

use tracing::{
    field::{Empty, display},
    info_span,
};

use crate::{ImportError, Imported};

/// Takes in what lies at `path` by `work`, within a span that says how it ended.
pub(crate) fn import(
    path: &Path,
    work: impl FnOnce() -> Result<Imported, ImportError>,
) -> Result<Imported, ImportError> {
    let span = info_span!(
        "import",
        path = %path.display(),
        cid = Empty,
        size = Empty,
        files = Empty,
        hashed = Empty,
        outcome = Empty,
        otel.status_code = Empty,
    )
    .entered();
    let result = work();
    match &result {
        Ok(imported) => {
            span.record("cid", display(imported.cid));
            span.record("size", signed(imported.size));
            span.record("files", signed(imported.files));
            span.record("hashed", signed(imported.hashed));
            span.record("outcome", "done");
        }
        Err(error) => {
            span.record("outcome", display(error));
            span.record("otel.status_code", "ERROR");
        }
    }
    result
}

/// Numbers of traces have a sign; one without would be sent as text.
fn signed(number: u64) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
