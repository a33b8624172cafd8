//! Streams with peers.
use std::time::Duration;

use cardume_access::Roll;
use libp2p_identity::PeerId;
use libp2p_stream::Control;
use libp2p_swarm::StreamProtocol;
use tokio::time::timeout;
use tokio_util::compat::FuturesAsyncReadCompatExt as _;

use crate::{
    Dial,
    pipe::Line,
    wire::{Answer, Request},
};

/// Time for a peer to be reached, which may take a look into the DHT and several dials.
const DIAL_TIMEOUT: Duration = Duration::from_secs(45);
/// Time for its answer. It gives the service ten seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens streams with peers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lines {
    pub(crate) control: Control,
    pub(crate) protocol: StreamProtocol,
    pub(crate) dial: Dial,
    pub(crate) roll: Roll,
}

impl Lines {
    /// Whom a word names now.
    pub(crate) fn peer(&self, word: &str) -> Option<PeerId> {
        self.roll.names().peer(word).or_else(|| word.parse().ok())
    }

    /// Has a peer open a connection with a service of its own.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn open(&self, word: &str, request: &Request) -> Result<Line, String> {
        let peer = self.peer(word).ok_or_else(|| format!("{word:?} names no peer"))?;
        let late = |what: &str| format!("{what} within the time there is");
        let dialled = timeout(DIAL_TIMEOUT, (self.dial)(peer)).await;
        dialled.map_err(|_| late("the peer could not be reached"))??;
        let opening = async {
            let stream = self
                .control
                .clone()
                .open_stream(peer, self.protocol.clone())
                .await;
            let mut line = stream.map_err(|error| error.to_string())?.compat();
            let asked = async {
                request.send(&mut line).await?;
                Answer::receive(&mut line).await
            };
            match asked.await {
                Ok(Answer::Open) => Ok(line),
                Ok(answer) => Err(answer.reason().to_owned()),
                Err(error) => Err(format!("the peer gave no answer: {error}")),
            }
        };
        let opened = timeout(ANSWER_TIMEOUT, opening).await;
        opened.map_err(|_| late("the peer gave no answer"))?
    }
}
