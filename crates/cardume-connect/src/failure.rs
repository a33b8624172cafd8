//! Dial errors in words that say what to do.
use std::{error::Error, io};

use libp2p_allow_block_list::Blocked;
use libp2p_connection_limits::Exceeded;
use libp2p_identity::PeerId;
use libp2p_swarm::{ConnectionDenied, DialError};
use multiaddr::Multiaddr;
use multistream_select::NegotiationError;

use crate::{ConnectError, memory::Short};

/// Addresses named in one error; the rest is counted.
const NAMED: usize = 8;

/// What to tell a caller who wanted `peer`.
pub(crate) fn explain(peer: Option<PeerId>, error: &DialError) -> ConnectError {
    match error {
        DialError::NoAddresses => match peer {
            Some(peer) => ConnectError::NoAddress(peer),
            None => ConnectError::Failed("there is no address to dial".into()),
        },
        DialError::LocalPeerId { address } => ConnectError::Failed(format!(
            "{address} is this node itself; give the address of another one"
        )),
        DialError::WrongPeerId { obtained, .. } => ConnectError::WrongPeer { found: *obtained },
        DialError::Denied { cause } => ConnectError::Denied(denial(cause)),
        DialError::Transport(errors) => {
            let all = errors
                .iter()
                .map(|(address, error)| (address, error as &(dyn Error + 'static)));
            let is_there = all.clone().any(|(_, error)| hung_up(error));
            let text = list(all);
            if is_there {
                ConnectError::TurnedAway(text)
            } else {
                ConnectError::Failed(text)
            }
        }
        DialError::Aborted | DialError::DialPeerConditionFalse(_) => {
            ConnectError::Failed("the attempt was given up; try again".into())
        }
    }
}

fn denial(cause: &ConnectionDenied) -> String {
    if cause.downcast_ref::<Blocked>().is_some() {
        return "the peer is blocked; unblock it first".into();
    }
    if let Some(exceeded) = cause.downcast_ref::<Exceeded>() {
        return format!("{exceeded}; try again later, or raise the limit in [connect]");
    }
    if cause.downcast_ref::<Short>().is_some() {
        return "memory is short; try again later, or raise connect.memory_ceiling".into();
    }
    cause.source().map_or_else(|| cause.to_string(), root)
}

fn list<'a>(errors: impl ExactSizeIterator<Item = (&'a Multiaddr, &'a (dyn Error + 'static))>) -> String {
    let rest = errors.len().saturating_sub(NAMED);
    let mut parts: Vec<_> = errors
        .take(NAMED)
        .map(|(address, error)| format!("{address} ({})", root(error)))
        .collect();
    if rest > 0 {
        parts.push(format!("and {rest} more"));
    }
    parts.join(", ")
}

/// Whether it says that a connection was made, and ended by the other side: a port where nobody listens refuses instead.
fn hung_up<'a>(error: &'a (dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source());
    causes
        .into_iter()
        .any(|cause| match cause.downcast_ref::<io::Error>() {
            // What it was made of is not among its sources.
            Some(error) => is_end(error.kind()) || error.get_ref().is_some_and(|inner| is_unanswered(inner)),
            None => is_unanswered(cause),
        })
}

const fn is_end(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(kind, ConnectionReset | UnexpectedEof | BrokenPipe)
}

/// What multistream-select says of a connection that ends while protocols are being agreed on.
fn is_unanswered(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(NegotiationError::Failed))
}

/// The innermost cause, which alone says something new.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    crate::text::tame(&cause.to_string())
}
