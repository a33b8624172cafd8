//! Peers on the local network, found by multicast DNS.
/// `[mdns]`
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub enabled: bool,
    pub ipv6: bool,
    pub interval: cardume_units::Duration,
    /** Peers kept at once. */
    pub max_peers: usize,
    /** Connect to this many of them. */
    pub max_connections: usize,
}
impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            ipv6: false,
            interval: cardume_units::Duration::from_secs(120),
            max_peers: 256,
            max_connections: 32,
        }
    }
}
