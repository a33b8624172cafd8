//! How fast content may go.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How fast content may go, and how fast it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// What holds now.
    pub limits: RateLimits,
    /// Where it comes from.
    pub origin: RatesOrigin,
    /// The schedule that holds, or would without what a user has set.
    pub schedule: Option<String>,
    /// Seconds until what a user has set ends by itself.
    pub ends_in_s: Option<u64>,
    /// What the configuration says for now; other than `limits` when a user has changed something.
    pub configured: RateLimits,
    /// Bytes of content a second to peers, over the last two seconds.
    pub upload: u64,
    /// Bytes of content a second from peers, over the last two seconds.
    pub download: u64,
}

/// Where limits come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RatesOrigin {
    /// The usual ones of the configuration.
    Configuration,
    /// A schedule of the configuration.
    Schedule,
    /// Set by a user, for a time or until restart.
    Live,
}

/// Limits in bytes a second; `null` or missing is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Content to all peers together.
    pub upload: Option<u64>,
    /// Content from all peers together.
    pub download: Option<u64>,
    /// Content to any one peer, and as much from it.
    pub per_peer: Option<u64>,
    /// For peers on this host and on private networks.
    pub lan: ClassLimits,
    /// For peers anywhere else.
    pub wan: ClassLimits,
    /// For peers behind a relay.
    pub relay: ClassLimits,
}

/// Limits for some peers, within those for all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassLimits {
    /// Content to all of these peers together.
    pub upload: Option<u64>,
    /// Content from all of these peers together.
    pub download: Option<u64>,
    /// Content to any one of these peers, and as much from it.
    pub per_peer: Option<u64>,
}

/// Limits that replace all others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRates {
    /// What is to hold.
    pub limits: RateLimits,
    /// Seconds until the configuration holds again; until restart if not set.
    #[serde(default)]
    pub for_s: Option<u64>,
}
