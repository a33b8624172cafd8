//! Points where peers find each other.
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How it stands with rendezvous points.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rendezvous {
    /// Points that configuration names.
    pub points: Vec<RendezvousPoint>,
    /// Registrations at this node; `null` if it is no point.
    pub registrations: Option<u64>,
}

/// A point, and whether the node is registered there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RendezvousPoint {
    /// Its peer id.
    pub peer_id: String,
    /// Where it is.
    #[schema(value_type = String)]
    pub address: Multiaddr,
    /// How it stands.
    pub state: RendezvousState,
    /// Peers that it named the last time.
    pub found: u64,
    /// What was wrong the last time.
    pub problem: Option<String>,
}

/// How it stands with a rendezvous point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RendezvousState {
    /// It is being asked.
    Asking,
    /// Others learn of the node there.
    Registered,
    /// It is asked again in a while.
    Waiting,
}
