//! The end of a connection on which announcements are written.
use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, future::BoxFuture};
use libp2p_core::upgrade::{DeniedUpgrade, ReadyUpgrade};
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, SubstreamProtocol,
    handler::{ConnectionEvent, FullyNegotiatedOutbound},
};

use super::{Errand, message};

/// How long one peer may take to read a batch.
const READING: Duration = Duration::from_secs(5);

/// One connection's voice: one stream for each errand, one at a time.
pub struct Voice {
    local: PeerId,
    protocol: StreamProtocol,
    errands: VecDeque<Errand>,
    /// The first errand's stream is being opened.
    opening: bool,
    telling: Option<(u64, BoxFuture<'static, bool>)>,
    done: VecDeque<(u64, bool)>,
}

impl Voice {
    pub(super) fn new(local: PeerId, protocol: StreamProtocol) -> Self {
        Self {
            local,
            protocol,
            errands: VecDeque::new(),
            opening: false,
            telling: None,
            done: VecDeque::new(),
        }
    }

    fn opened(&mut self, stream: Option<Stream>) {
        self.opening = false;
        let Some(errand) = self.errands.pop_front() else {
            return;
        };
        let Some(stream) = stream else {
            self.done.push_back((errand.number, false));
            return;
        };
        let number = errand.number;
        let telling = tokio::time::timeout(READING, tell(stream, self.local, errand));
        let telling = telling.map(|told| matches!(told, Ok(Ok(()))));
        self.telling = Some((number, telling.boxed()));
    }
}

/// Writes everything, and waits until the peer has read it.
async fn tell(mut stream: Stream, local: PeerId, errand: Errand) -> io::Result<()> {
    let us = message::provider(&local, &errand.ours);
    for key in &errand.keys {
        stream.write_all(&message::announcement(key, &us)).await?;
    }
    stream.close().await?;
    // It has nothing to say; it closes its side when it has come to the end of ours.
    stream.read(&mut [0]).await.map(drop)
}

impl ConnectionHandler for Voice {
    type FromBehaviour = Errand;
    type ToBehaviour = (u64, bool);
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        !self.errands.is_empty() || self.telling.is_some()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), (u64, bool)>> {
        if let Some((number, telling)) = &mut self.telling
            && let Poll::Ready(heard) = telling.poll_unpin(cx)
        {
            self.done.push_back((*number, heard));
            self.telling = None;
        }
        if let Some(done) = self.done.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(done));
        }
        if self.telling.is_none() && !self.opening && !self.errands.is_empty() {
            self.opening = true;
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ()),
            });
        }
        // Polled again after each event, and nothing else changes it.
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, errand: Errand) {
        self.errands.push_back(errand);
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, DeniedUpgrade, ReadyUpgrade<StreamProtocol>, (), ()>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.opened(Some(protocol));
            }
            ConnectionEvent::DialUpgradeError(_) => self.opened(None),
            _ => {}
        }
    }
}

impl std::fmt::Debug for Voice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Voice")
            .field("errands", &self.errands.len())
            .finish_non_exhaustive()
    }
}
