//! What every connection passes before the swarm sees it.
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use libp2p_core::{ConnectedPoint, Transport as _, muxing::StreamMuxerBox, transport::Boxed};
use libp2p_identity::PeerId;

use crate::{Access, Config};

/// A transport whose connections are authenticated and multiplexed.
pub type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// Why a connection was closed as soon as the peer had proven who it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Only listed peers may connect.
    #[error("{0} is in no [peer.*], and network.access is \"listed\"")]
    NotListed(PeerId),
}

/// Lets peers of the network through, and nobody else. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rule: Rule,
    refused: AtomicU64,
}

#[derive(Debug)]
enum Rule {
    Open,
    Listed(HashSet<PeerId>),
}

impl Gate {
    /// Makes the gate that `config` asks for; `listed` are the peers that configuration names.
    pub fn new(config: &Config, listed: impl IntoIterator<Item = PeerId>) -> Self {
        let rule = match config.access {
            Access::Open => Rule::Open,
            Access::Listed => Rule::Listed(listed.into_iter().collect()),
        };
        Self(Arc::new(Inner {
            rule,
            refused: AtomicU64::new(0),
        }))
    }

    /// Puts the gate before whatever `transport` brings, made by us or by others.
    pub fn guard(&self, transport: Transport) -> Transport {
        if matches!(self.0.rule, Rule::Open) {
            return transport;
        }
        let gate = self.clone();
        transport
            .and_then(move |(peer, muxer), point| gate.admit(peer, muxer, point))
            .boxed()
    }

    /// Connections refused since the start.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    async fn admit(
        self,
        peer: PeerId,
        muxer: StreamMuxerBox,
        point: ConnectedPoint,
    ) -> Result<(PeerId, StreamMuxerBox), Refused> {
        let passed = match &self.0.rule {
            Rule::Open => Ok(muxer),
            Rule::Listed(listed) if listed.contains(&peer) => Ok(muxer),
            Rule::Listed(_) => Err(Refused::NotListed(peer)),
        };
        passed.map(|muxer| (peer, muxer)).inspect_err(|reason| {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, address = %point.get_remote_address(), %reason, "refused");
        })
    }
}
