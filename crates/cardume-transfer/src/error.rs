//! Why a request was not answered.
use std::io;

use cardume_behaviour::Closed;
use libp2p_request_response::OutboundFailure;

/// Characters of other people's words in an error, at most.
const MAX_REASON: usize = 300;

/// Why a request of ours has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The node is stopping, or transfer is switched off.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The request breaks a limit of the protocol; it was not sent.
    #[error("the request cannot be sent: {0}")]
    Invalid(&'static str),
    /// No connection could be made. Asking again soon is useless.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// The peer is on another network, or is no cardume.
    #[error("the peer does not speak the transfer protocol of this network")]
    Unsupported,
    /// No complete answer came within the time for one request.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The peer answered with something else than an answer to the request. Its fault.
    #[error("the peer broke the protocol: {0}")]
    Malformed(String),
    /// The connection or the stream ended early. Asking again may help.
    #[error("the connection was lost: {0}")]
    Lost(String),
}

impl RequestError {
    pub(crate) fn from_failure(failure: OutboundFailure) -> Self {
        match failure {
            OutboundFailure::DialFailure => Self::Unreachable("no address of it answers".to_owned()),
            OutboundFailure::Timeout => Self::TimedOut,
            OutboundFailure::ConnectionClosed => Self::Lost("it was closed".to_owned()),
            OutboundFailure::UnsupportedProtocols => Self::Unsupported,
            OutboundFailure::Io(error) => Self::from_io(&error),
        }
    }

    fn from_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Malformed(shorten(&error.to_string())),
            io::ErrorKind::TimedOut => Self::TimedOut,
            io::ErrorKind::UnexpectedEof => Self::Lost("the peer ended the stream early".to_owned()),
            _ => Self::Lost(shorten(&error.to_string())),
        }
    }
}

/// Cuts a text that a peer may have had a hand in, and takes control characters out of it.
pub(crate) fn shorten(text: &str) -> String {
    text.chars()
        .take(MAX_REASON)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
