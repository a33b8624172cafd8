//! Tunnels: services of this host for peers, and services of peers for this host.
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which end of a tunnel the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TunnelRole {
    /// The one beside the service.
    Expose,
    /// The one beside those who use it.
    Forward,
}

/// What passes through a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TunnelProtocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// Whether a tunnel can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TunnelState {
    /// It is about to listen.
    Starting,
    /// It can.
    Ready,
    /// It cannot listen, and tries again by itself.
    Failed,
}

/// A tunnel of the node, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tunnel {
    /// Its name; with `expose` what peers ask for.
    pub name: String,
    /// Which end of it the node is.
    pub role: TunnelRole,
    /// What passes through it.
    pub protocol: TunnelProtocol,
    /// `expose`: where the service is, `IP:PORT` or `unix:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `expose`: who may use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// `forward`: where it listens; as it was asked for, until it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// `forward`: whose the service is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// `forward`: what the service is called there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Whether it is in the configuration; else it was asked for, and ends with the daemon.
    pub configured: bool,
    /// Whether it can be used.
    pub state: TunnelState,
    /// Connections that are open, or with UDP senders that are known.
    pub connections: u64,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that were not.
    pub failed: u64,
    /// Bytes that came from peers.
    pub received: u64,
    /// Bytes that went to peers.
    pub sent: u64,
    /// Datagrams that waited too long.
    pub lost: u64,
    /// Why it cannot listen, or why the last connection that failed did; none since one was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A tunnel to be opened, until it is closed or the daemon stops.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTunnel {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// Which end of it the node is to be.
    pub role: TunnelRole,
    /// What passes through it.
    #[serde(default)]
    pub protocol: TunnelProtocol,
    /// `expose`: where the service is, `IP:PORT`, or for admins `unix:PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `expose`: who may use it: names of peers, `group:NAME` and peer ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// `forward`: where to listen; port 0 is any free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// `forward`: whose the service is: a name or a peer id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// `forward`: what the service is called there, if not as this tunnel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}
