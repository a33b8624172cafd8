//! What an operator can set.
use std::{io, time::Duration};

use libp2p_identity::PeerId;
use libp2p_mdns as mdns;

use crate::{Behaviour, finder::Finder};

/// How long others may remember our answers, and the least that we remember theirs when room is short.
pub(crate) const LIFETIME: Duration = Duration::from_secs(6 * 60);

/// Queries more often would only be noise on the link.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// `[mdns]`: peers on the local network.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether to look for peers, and be found, on the local network.
    pub enabled: bool,
    /// Over IPv6 too; over IPv4 always.
    pub ipv6: bool,
    /// Time between queries, once somebody was found.
    pub interval: cardume_units::Duration,
    /// Peers kept at once.
    pub max_peers: usize,
    /// Connect to this many of them.
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

impl Config {
    /// Builds the behaviour; `enabled` is for the caller to look at.
    ///
    /// # Errors
    /// When the system does not let us watch its network interfaces. A single interface that fails
    /// later is logged and left out.
    pub fn build(&self, local: PeerId) -> io::Result<Behaviour> {
        Finder::new(self, local).map(Behaviour::new)
    }

    /// One configuration for each inner behaviour: one speaks a single version of IP.
    pub(crate) fn inner(&self) -> Vec<mdns::Config> {
        let versions: &[bool] = if self.ipv6 { &[false, true] } else { &[false] };
        versions
            .iter()
            .map(|&enable_ipv6| mdns::Config {
                ttl: LIFETIME,
                query_interval: self.interval.get().max(SHORTEST_INTERVAL),
                enable_ipv6,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_spoken_besides_ipv4() {
        let versions = |config: &Config| config.inner().iter().map(|c| c.enable_ipv6).collect::<Vec<_>>();
        let mut config = Config::default();
        assert_eq!(versions(&config), [false]);
        config.ipv6 = true;
        assert_eq!(versions(&config), [false, true]);
    }

    #[test]
    fn no_configuration_makes_it_query_without_pause() {
        let config = Config {
            interval: cardume_units::Duration::from_secs(0),
            ..Config::default()
        };
        assert_eq!(config.inner()[0].query_interval, SHORTEST_INTERVAL);
    }
}
