//! What traces tell of dials; it costs nothing while nobody sends any.
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tracing::{
    Instrument, Span,
    field::{Empty, display},
    info_span,
};

use crate::ConnectError;

/// A dial of a peer, at all its addresses.
pub(crate) fn to_peer(peer: &PeerId) -> Span {
    info_span!("dial", otel.kind = "client", %peer, outcome = Empty, otel.status_code = Empty)
}

/// A dial of an address, whoever is there.
pub(crate) fn to_address(address: &Multiaddr) -> Span {
    info_span!("dial", otel.kind = "client", %address, outcome = Empty, otel.status_code = Empty)
}

/// Dials within `span`, and says there how it ended.
pub(crate) async fn dialled<T>(
    span: Span,
    dial: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let result = dial.instrument(span.clone()).await;
    match &result {
        Ok(_) => {
            span.record("outcome", "connected");
        }
        Err(error) => {
            span.record("outcome", display(error));
            span.record("otel.status_code", "ERROR");
        }
    }
    result
}
