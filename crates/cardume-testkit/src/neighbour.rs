//! A peer that says of its program what it is told to, and does nothing else.

use anyhow::Context;
use futures::StreamExt;
use libp2p::{Multiaddr, SwarmBuilder, identify, noise, swarm::SwarmEvent, tcp, yamux};
use tokio::task::JoinHandle;

/// A peer of network `main`; gone when dropped.
pub struct Neighbour(JoinHandle<()>);

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Neighbour {
    /// Connects to `node`, over TCP, as a peer whose program is `agent`.
    pub async fn of(node: &str, agent: &str) -> anyhow::Result<Self> {
        let node: Multiaddr = node.parse()?;
        let mut swarm = SwarmBuilder::with_new_identity()
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|key| {
                let config = identify::Config::new("main/1".to_owned(), key.public());
                identify::Behaviour::new(config.with_agent_version(agent.to_owned()))
            })?
            .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::MAX))
            .build();
        swarm.dial(node)?;
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => break,
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(error).context("the node"),
                _ => {}
            }
        }
        Ok(Self(tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        })))
    }
}
