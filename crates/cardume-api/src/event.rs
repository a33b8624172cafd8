//! What happens in the node, as it happens.
use cardume_content::Cid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Operation, Path};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// An operation began, moved on, or ended.
    Operation(Box<Operation>),
    /// A peer came or went.
    Peer {
        /// Its peer id.
        peer_id: String,
        /// What it did.
        change: PeerChange,
        /// What program it says it runs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<String>,
        /// How it is reached now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<Path>,
    },
    /// Something that configuration shares has another id: it is shared for the first time, or has changed.
    Share {
        /// What configuration calls it.
        name: String,
        /// Its id.
        #[schema(value_type = String)]
        cid: Cid,
        /// Its id before.
        #[schema(value_type = Option<String>)]
        previous: Option<Cid>,
        /// Number of its files.
        files: u64,
        /// Bytes of them.
        size: u64,
    },
    /// Something that configuration follows has another version in place: a newer one, or one that it is held at.
    Follow {
        /// What configuration calls it.
        name: String,
        /// The channel's id.
        channel: String,
        /// The number of the version.
        number: u64,
        /// What it is.
        #[schema(value_type = String)]
        cid: Cid,
        /// The number of the version before; none when there was none since the start of the node.
        previous: Option<u64>,
    },
    /// Somebody did what is for administrators and operators.
    Audit {
        /// Who: `uid 0`, `token NAME`, or either in a browser.
        who: String,
        /// The method.
        method: String,
        /// The path, without what follows the question mark.
        path: String,
        /// The HTTP status of the answer.
        status: u16,
    },
    /// Events were lost on the way: the reader was too slow or away for too long.
    Lost {
        /// How many; none when that is not known because the node has been started anew.
        count: Option<u64>,
    },
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

impl Event {
    /// The name of the event on the stream.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Operation(_) => "operation",
            Self::Peer { .. } => "peer",
            Self::Share { .. } => "share",
            Self::Follow { .. } => "follow",
            Self::Audit { .. } => "audit",
            Self::Lost { .. } => "lost",
            Self::Other => "other",
        }
    }
}

/// What a peer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PeerChange {
    /// It connected.
    Connected,
    /// It said what it is.
    Identified,
    /// It is reached in another way: directly, after through a relay, or the other way round.
    Rerouted,
    /// Its last connection was closed.
    Disconnected,
    /// Something this program does not know.
    #[serde(other)]
    Other,
}
