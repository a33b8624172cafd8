//! The way in for the rest of the node.
use cardume_behaviour::{Closed, Mailbox};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::sync::oneshot;

/// Asks how it stands with rendezvous points. Cheap to clone.
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

/// How it stands with rendezvous points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Points that configuration names.
    pub points: Vec<Point>,
    /// Registrations at this node, if it is a point.
    pub registrations: Option<usize>,
}

/// A point, and whether this node is registered there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Who it is.
    pub peer: PeerId,
    /// Where it is.
    pub address: Multiaddr,
    /// How it stands.
    pub state: PointState,
    /// Peers that it named the last time.
    pub found: usize,
    /// What was wrong the last time.
    pub problem: Option<String>,
}

/// How it stands with a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PointState {
    /// It is being asked.
    Asking,
    /// Others learn of this node there.
    Registered,
    /// It is asked again in a while.
    Waiting,
}

impl Handle {
    pub(crate) fn new(mailbox: Mailbox<Command>) -> Self {
        Self { mailbox }
    }

    /// A handle to nothing: every call answers [`Closed`] at once.
    pub fn closed() -> Self {
        Self::new(Mailbox::closed())
    }

    /// Tells how it stands with rendezvous points.
    ///
    /// # Errors
    /// [`Closed`] when there are none and this node is none, or it is stopping.
    pub async fn status(&self) -> Result<Status, Closed> {
        self.mailbox.call(Command::Status).await
    }
}
