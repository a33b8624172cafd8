//! `[origin]`.
use std::{path::PathBuf, sync::Arc};

use cardume_units::Duration;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::{BuildError, Handle, Server, host::Hosts, tls};

/// Commands waiting to be taken up.
const COMMANDS: usize = 64;

/// Web servers that content may also come from.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether web servers are asked at all.
    pub enabled: bool,
    /// Hosts that peers may name as an origin. A host that a link given to this node names needs no entry here.
    pub allow: Vec<String>,
    /// PEM file with certificate authorities to trust besides those that browsers do; also for peers at `/wss` addresses.
    pub ca_file: Option<PathBuf>,
    /// How long peers are looked for before a web server is asked for all of something.
    pub patience: Duration,
    /// How long another node that says it is reading the same from a web server is waited for, at most.
    pub max_wait: Duration,
    /// Requests at once to all hosts.
    pub max_requests: usize,
    /// Requests at once to one host.
    pub max_requests_per_host: usize,
    /// Time to look a host up, connect and agree on keys.
    pub connect_timeout: Duration,
    /// Time in which nothing of an answer comes, after which it is given up.
    pub stall_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            allow: Vec::new(),
            ca_file: None,
            patience: Duration::from_secs(2),
            max_wait: Duration::from_secs(600),
            max_requests: 16,
            max_requests_per_host: 4,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(30),
        }
    }
}

/// Waits until so many bytes may come in.
pub type Pace = Arc<dyn Fn(u64) -> BoxFuture<'static, ()> + Send + Sync>;

impl Config {
    /// What to say in a TLS handshake with a web server, and whom to believe there: those that browsers do, and those in
    /// `ca_file`. Reads that file: it blocks.
    ///
    /// # Errors
    /// When the file cannot be read or has no certificate in it.
    pub fn trust(&self) -> Result<Arc<rustls::ClientConfig>, BuildError> {
        tls::client(self.ca_file.as_deref())
    }

    /// Builds the client; `agent` is what it calls itself, `pace` holds it back. Reads the file of authorities: it
    /// blocks.
    ///
    /// # Errors
    /// When that file cannot be read or has no certificate in it.
    pub fn build(&self, agent: String, pace: Pace) -> Result<(Handle, Server), BuildError> {
        let tls = self.trust()?;
        let (sender, commands) = mpsc::channel(COMMANDS);
        let allow = self.allow.iter().map(|host| host.to_ascii_lowercase());
        let allow: Arc<[String]> = allow.collect();
        let server = Server {
            hosts: Arc::new(Hosts::new(self, allow.clone(), agent, tls)),
            pace,
            commands,
        };
        Ok((Handle::new(sender, allow, self), server))
    }
}
