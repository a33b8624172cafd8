//! What callers ask of the DHT.
use libp2p_identity::PeerId;
use tokio::sync::{mpsc, oneshot};

use crate::handle::{KadError, Provider, Status};

type Reply<T> = oneshot::Sender<Result<T, KadError>>;

/// One thing asked.
#[derive(Debug)]
pub enum Command {
    /// A lookup that takes a place among the parallel ones.
    Lookup(Lookup),
    /// Announces a key, now and again.
    Provide {
        /// The key.
        key: Vec<u8>,
        /// Told when the first attempt is over.
        reply: oneshot::Sender<Result<(), KadError>>,
    },
    /// Stops announcing a key.
    Withdraw {
        /// The key.
        key: Vec<u8>,
        /// Told when it is done.
        reply: oneshot::Sender<()>,
    },
    /// Counts.
    Status(oneshot::Sender<Status>),
}

/// One question to the network.
#[derive(Debug)]
pub enum Lookup {
    /// Who provides the key?
    Providers(Vec<u8>, mpsc::Sender<Provider>),
    /// Where is the peer?
    Find(PeerId, Reply<Vec<Provider>>),
    /// What is the key's value?
    Get(Vec<u8>, Reply<Vec<u8>>),
    /// Who takes this value?
    Put(Vec<u8>, Vec<u8>, Reply<()>),
}

impl Lookup {
    /// Whether nobody waits for what it finds.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Providers(_, found) => found.is_closed(),
            Self::Find(_, reply) => reply.is_closed(),
            Self::Get(_, reply) => reply.is_closed(),
            Self::Put(_, _, reply) => reply.is_closed(),
        }
    }
}

impl cardume_behaviour::Command for Command {
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Lookup(lookup) => lookup.is_abandoned(),
            // A wish about the future, which holds whether or not its caller waits for the first attempt.
            Self::Provide { .. } | Self::Withdraw { .. } => false,
            Self::Status(reply) => reply.is_closed(),
        }
    }
}
