//! Channels: signed names that point at content and move.
use cardume_content::Cid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is known of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// Its id.
    pub channel: String,
    /// The name of its key, if that is here: this node publishes it.
    pub name: Option<String>,
    /// The number of its newest record; missing as long as none is known.
    pub number: Option<u64>,
    /// What is there now.
    #[schema(value_type = Option<String>)]
    pub cid: Option<Cid>,
    /// Bytes of all its files.
    pub size: Option<u64>,
    /// When it was signed, by the publisher's clock, in seconds since 1970.
    pub time: Option<u64>,
    /// What the publisher says about it.
    pub note: Option<String>,
    /// What configuration calls the places that follow it.
    pub follows: Vec<String>,
}

/// A channel to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// What to call its key: 1 to 64 letters, digits, dots, `-` and `_`.
    pub name: String,
}

/// Content to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVersion {
    /// Its id.
    #[schema(value_type = String)]
    pub cid: Cid,
    /// What to say about it: at most 256 bytes, without control characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// How a place that follows a channel stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Follow {
    /// What configuration calls it.
    pub name: String,
    /// The channel's id.
    pub channel: String,
    /// Where the version is to be.
    pub to: String,
    /// How it stands.
    pub state: FollowState,
    /// The number of the newest record known.
    pub newest: Option<u64>,
    /// The number of the version that is to be there: the newest, unless it is held at another.
    pub wanted: Option<u64>,
    /// What that version is.
    #[schema(value_type = Option<String>)]
    pub wanted_cid: Option<Cid>,
    /// The number of the version that is there.
    pub present: Option<u64>,
    /// What is there.
    #[schema(value_type = Option<String>)]
    pub present_cid: Option<Cid>,
    /// The number that it is held at until told otherwise.
    pub held: Option<u64>,
    /// Since when a version is wanted that is not there, in seconds since 1970.
    pub behind_since: Option<u64>,
    /// Seconds since then; 0 when what is wanted is there.
    pub lag_s: u64,
    /// Versions that are on the disk, oldest first.
    pub versions: Vec<u64>,
    /// Bytes of the wanted version that are here.
    pub done: u64,
    /// Bytes of the wanted version; 0 until known.
    pub size: u64,
    /// Bytes of content that came over the network for the last version that was got.
    pub fetched: u64,
    /// What keeps it from being there, or went wrong after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a place that follows a channel stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FollowState {
    /// No record of the channel is known yet.
    Waiting,
    /// The version is coming.
    Fetching,
    /// The version takes its place.
    Switching,
    /// The version that is wanted is there.
    Present,
    /// The last try failed; there will be another.
    Failed,
    /// Something this program does not know.
    #[serde(other)]
    Other,
}

impl FollowState {
    /// The stable text of the state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::Switching => "switching",
            Self::Present => "present",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}

/// What is decided about a place that follows a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// The number of the version that is to be there until told otherwise; none: the newest.
    pub at: Option<u64>,
}
