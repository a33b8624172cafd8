//! The way in for the rest of the node.
use cardume_behaviour::{Closed, Mailbox};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::sync::oneshot;

/// Asks how this node can be reached. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    mailbox: Mailbox<Command>,
}

/// One call of a handle, with the way back.
#[derive(Debug)]
pub enum Command {
    Status(oneshot::Sender<Status>),
}

impl cardume_behaviour::Command for Command {
    fn is_abandoned(&self) -> bool {
        let Self::Status(reply) = self;
        reply.is_closed()
    }
}

/// How this node can be reached, as far as is known.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether others can dial it.
    pub reachability: Reachability,
    /// Addresses that peers have tried to dial back, the latest last.
    pub tested: Vec<Tested>,
    /// Relays that configuration names.
    pub places: Vec<Place>,
    /// What the router of this network says.
    pub upnp: Upnp,
    /// Relayed connections that were turned into direct ones.
    pub punched: u64,
    /// … and that could not be.
    pub unpunched: u64,
    /// Why the last one could not be.
    pub unpunched_reason: Option<String>,
    /// Peers that keep a place at this node, if it is a relay.
    pub reservations: Option<usize>,
    /// Connections that it relays just now.
    pub circuits: usize,
}

/// Whether others can dial this node from anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// Nobody has tried.
    Unknown,
    /// An address is known that works from anywhere, as far as can be told.
    Public,
    /// Somebody has tried, and no address works.
    Private,
}

/// An address that a peer has tried to dial back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// The address.
    pub address: Multiaddr,
    /// Who tried.
    pub by: PeerId,
    /// Why it does not work, if it does not.
    pub problem: Option<String>,
}

/// A relay, and whether this node has a place there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Who relays.
    pub relay: PeerId,
    /// Where it is.
    pub address: Multiaddr,
    /// How it stands.
    pub state: PlaceState,
    /// Why there is none.
    pub problem: Option<String>,
}

/// How it stands with a place at a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceState {
    /// The relay is being asked.
    Asking,
    /// Others reach this node there.
    Held,
    /// The relay is asked again in a while.
    Waiting,
}

/// What the router of this network says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upnp {
    /// It is not asked.
    Off,
    /// It is being looked for, or has opened no port yet.
    Asked,
    /// It has opened these.
    Open(Vec<Multiaddr>),
    /// No router answers.
    NotFound,
    /// The router has no public address itself.
    NotPublic,
}

impl Handle {
    pub(crate) fn new(mailbox: Mailbox<Command>) -> Self {
        Self { mailbox }
    }

    /// A handle to nothing: every call answers [`Closed`] at once.
    pub fn closed() -> Self {
        Self::new(Mailbox::closed())
    }

    /// Tells how this node can be reached.
    ///
    /// # Errors
    /// [`Closed`] when the node is stopping.
    pub async fn status(&self) -> Result<Status, Closed> {
        self.mailbox.call(Command::Status).await
    }
}
