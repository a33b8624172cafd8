//! Providers and records in the distributed hash table.
use cardume_behaviour::Closed;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;

/// `[kad]`
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub enabled: bool,
    pub mode: Mode,
    pub query_timeout: cardume_units::Duration,
    pub parallel_queries: usize,
    pub provider_interval: cardume_units::Duration,
    pub max_records: usize,
    pub max_providers: usize,
}
impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: Mode::Auto,
            query_timeout: cardume_units::Duration::from_secs(30),
            parallel_queries: 16,
            provider_interval: cardume_units::Duration::from_secs(12 * 3600),
            max_records: 1024,
            max_providers: 16384,
        }
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Auto,
    Server,
    Client,
}

#[derive(Clone)]
pub struct Handle {
    _private: (),
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub peer: PeerId,
    pub addresses: Vec<Multiaddr>,
}
impl Handle {
    /// Providers as they are found, each once; ends with the lookup. Dropping it ends the lookup.
    pub async fn providers(&self, _key: Vec<u8>) -> Result<tokio::sync::mpsc::Receiver<Provider>, Closed> {
        todo!()
    }
    /// Announces us as a provider now, and again at each interval until withdrawn.
    pub async fn provide(&self, _key: Vec<u8>) -> Result<(), KadError> {
        todo!()
    }
    pub async fn withdraw(&self, _key: Vec<u8>) -> Result<(), Closed> {
        todo!()
    }
    /// Addresses of one peer, looked up.
    pub async fn find_peer(&self, _peer: PeerId) -> Result<Vec<Provider>, KadError> {
        todo!()
    }
    pub async fn get(&self, _key: Vec<u8>) -> Result<Vec<u8>, KadError> {
        todo!()
    }
    pub async fn put(&self, _key: Vec<u8>, _value: Vec<u8>) -> Result<(), KadError> {
        todo!()
    }
    pub async fn status(&self) -> Result<Status, Closed> {
        todo!()
    }
}
#[derive(Debug, Clone)]
pub struct Status {
    pub server: bool,
    pub peers: usize,
    pub provided: usize,
    pub records: usize,
    pub queries: usize,
}
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KadError {
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("no peer of the DHT is known")]
    NoPeers,
    #[error("not found")]
    NotFound,
    #[error("the lookup timed out")]
    TimedOut,
    #[error("{0}")]
    Refused(String),
}
