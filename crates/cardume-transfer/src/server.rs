//! Requests of other peers, for whoever has the content.
use libp2p_identity::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{Request, Response};

/// Requests of other peers, to be answered by whoever has the content.
#[derive(Debug)]
pub struct Server {
    pub(crate) requests: mpsc::Receiver<Inbound>,
}

impl Server {
    /// Waits for the next request; `None` when the behaviour is gone.
    ///
    /// Requests whose peers have gone meanwhile are passed over.
    ///
    /// # Cancel safety
    /// No request is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Inbound> {
        loop {
            let inbound = self.requests.recv().await?;
            if !inbound.responder.is_gone() {
                return Some(inbound);
            }
        }
    }
}

/// One request of another peer.
#[derive(Debug)]
pub struct Inbound {
    /// Who asks; proven by its connection.
    pub peer: PeerId,
    /// What it asks; its shape is checked, whether it may is not.
    pub request: Request,
    /// Where the answer goes.
    pub responder: Responder,
}

/// Answers one request; dropped unused, the peer's stream is closed without an answer.
#[derive(Debug)]
pub struct Responder {
    pub(crate) answer: oneshot::Sender<Response>,
    pub(crate) gone: CancellationToken,
}

impl Responder {
    /// Answers. Never blocks, and never waits behind requests of ours.
    ///
    /// A response with more payload than [`MAX_PAYLOAD`](crate::message::MAX_PAYLOAD) is not sent; the peer
    /// sees its stream closed.
    pub fn send(self, response: Response) {
        // Fails when the behaviour is gone, and then there is no peer either.
        let _ = self.answer.send(response);
    }

    /// Whether an answer would reach nobody: the connection has closed, or the request has timed out.
    ///
    /// A peer that gives up one request and stays connected is not noticed.
    pub fn is_gone(&self) -> bool {
        self.gone.is_cancelled() || self.answer.is_closed()
    }

    /// Waits until [`is_gone`](Self::is_gone).
    ///
    /// # Cancel safety
    /// Waiting changes nothing.
    pub async fn gone(&self) {
        self.gone.cancelled().await;
    }
}
