//! How the node can be reached.
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How the node can be reached, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Nat {
    /// Whether others can dial it.
    pub reachable: Reachable,
    /// How the router of the node's network gives out ports, as far as peers see it.
    #[serde(default)]
    pub mapping: Mapping,
    /// Where peers on other networks see the node's own socket.
    #[serde(default)]
    pub observed: Vec<ObservedAddress>,
    /// Addresses that peers have tried to dial back, the latest last.
    pub tested: Vec<TestedAddress>,
    /// Relays that configuration names.
    pub relays: Vec<Relay>,
    /// What the router of this network says.
    pub upnp: Upnp,
    /// Ports that it has opened.
    #[schema(value_type = Vec<String>)]
    pub upnp_addresses: Vec<Multiaddr>,
    /// Relayed connections that were turned into direct ones.
    pub punched: u64,
    /// … and that could not be.
    pub unpunched: u64,
    /// Why the last one could not be.
    pub unpunched_reason: Option<String>,
    /// Peers that keep a place at this node; `null` if it relays for nobody.
    pub reservations: Option<u64>,
    /// Connections that it relays just now.
    pub circuits: u64,
}

/// Whether others can dial a node from anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reachable {
    /// Nobody has tried.
    Unknown,
    /// At an address of its own.
    Public,
    /// Somebody has tried, and no address works.
    Private,
}

/// How a router gives out ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mapping {
    /// Fewer than two peers on other networks say where they see the node.
    #[default]
    Unknown,
    /// The node is seen at an address of its own: no router translates it.
    None,
    /// One port for one socket, whoever is spoken to: holes can be punched.
    Independent,
    /// Another port for each peer (symmetric): direct connections come about only with peers that can be dialled.
    Dependent,
}

/// Where a peer sees the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObservedAddress {
    /// The address that it sees.
    #[schema(value_type = String)]
    pub address: Multiaddr,
    /// The peer id of who sees it.
    pub by: String,
}

/// An address that a peer has tried to dial back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TestedAddress {
    /// The address.
    #[schema(value_type = String)]
    pub address: Multiaddr,
    /// The peer id of who tried.
    pub by: String,
    /// Why it does not work, if it does not.
    pub problem: Option<String>,
}

/// A relay, and whether the node has a place there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Relay {
    /// Its peer id.
    pub peer_id: String,
    /// Where it is.
    #[schema(value_type = String)]
    pub address: Multiaddr,
    /// How it stands.
    pub state: RelayState,
    /// Why there is no place.
    pub problem: Option<String>,
}

/// How it stands with a place at a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RelayState {
    /// The relay is being asked.
    Asking,
    /// Others reach the node there.
    Held,
    /// The relay is asked again in a while.
    Waiting,
}

/// What the router of the node's network says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Upnp {
    /// It is not asked.
    Off,
    /// It has opened no port yet.
    Asked,
    /// It has opened ports.
    Open,
    /// No router answers.
    NotFound,
    /// The router has no public address itself.
    NotPublic,
}
