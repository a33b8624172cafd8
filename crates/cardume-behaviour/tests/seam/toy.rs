//! A feature small enough to see through: asks a peer for a byte.
use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    task::{Context, Poll},
};

use cardume_behaviour::{Closed, Command, Driven, Driver, Mailbox};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p_identity::PeerId;
use libp2p_request_response::{
    self as request_response, Codec, Event, Message, OutboundRequestId, ProtocolSupport, ResponseChannel,
};
use libp2p_swarm::{FromSwarm, StreamProtocol, Swarm};
use libp2p_swarm_test::SwarmExt as _;
use tokio::sync::{mpsc, oneshot};

/// One byte each way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Byte;

impl Codec for Byte {
    type Protocol = StreamProtocol;
    type Request = u8;
    type Response = u8;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<u8>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        Ok(byte[0])
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<u8>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_request(protocol, io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, byte: u8) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&[byte]).await
    }

    async fn write_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T, byte: u8) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write_request(protocol, io, byte).await
    }
}

pub(crate) struct Ask {
    peer: PeerId,
    byte: u8,
    reply: oneshot::Sender<Option<u8>>,
}

impl Command for Ask {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// Asks for a byte; `None` when the peer gave none.
pub(crate) async fn ask(mailbox: &Mailbox<Ask>, peer: PeerId, byte: u8) -> Result<Option<u8>, Closed> {
    mailbox.call(|reply| Ask { peer, byte, reply }).await
}

/// A question of a peer.
pub(crate) struct Asked {
    pub(crate) byte: u8,
    pub(crate) channel: ResponseChannel<u8>,
}

pub(crate) struct Toy {
    limit: usize,
    pending: HashMap<OutboundRequestId, oneshot::Sender<Option<u8>>>,
    asked: mpsc::Sender<Asked>,
    answers: mpsc::Receiver<(ResponseChannel<u8>, u8)>,
    /// Hides the addresses of peers from the inner behaviour.
    pub(crate) hides_addresses: bool,
    /// Always has something to do.
    pub(crate) is_restless: bool,
    /// Requests handed to the inner behaviour.
    pub(crate) sent: usize,
}

impl Driver for Toy {
    type Inner = request_response::Behaviour<Byte>;
    type Command = Ask;
    type Event = Infallible;

    fn is_ready(&self) -> bool {
        self.pending.len() < self.limit
    }

    fn on_command(&mut self, inner: &mut Self::Inner, Ask { peer, byte, reply }: Ask) {
        self.sent += 1;
        self.pending.insert(inner.send_request(&peer, byte), reply);
    }

    fn on_event(&mut self, _: &mut Self::Inner, event: Event<u8, u8>) -> Option<Infallible> {
        match event {
            Event::Message {
                message: Message::Request { request, channel, .. },
                ..
            } => {
                self.asked
                    .try_send(Asked {
                        byte: request,
                        channel,
                    })
                    .expect("the queue is long enough");
            }
            Event::Message {
                message: Message::Response { request_id, response },
                ..
            } => {
                self.answer(request_id, Some(response));
            }
            Event::OutboundFailure { request_id, .. } => self.answer(request_id, None),
            Event::InboundFailure { .. } | Event::ResponseSent { .. } => {}
        }
        None
    }

    fn sees(&mut self, event: &FromSwarm<'_>) -> bool {
        !(self.hides_addresses && matches!(event, FromSwarm::NewExternalAddrOfPeer(_)))
    }

    fn poll_local(&mut self, inner: &mut Self::Inner, cx: &mut Context<'_>) -> Poll<()> {
        if let Poll::Ready(Some((channel, byte))) = self.answers.poll_recv(cx) {
            let _ = inner.send_response(channel, byte);
            return Poll::Ready(());
        }
        let before = self.pending.len();
        self.pending.retain(|_, reply| reply.poll_closed(cx).is_pending());
        if self.is_restless || self.pending.len() < before {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Toy {
    fn answer(&mut self, id: OutboundRequestId, byte: Option<u8>) {
        if let Some(reply) = self.pending.remove(&id) {
            let _ = reply.send(byte);
        }
    }
}

pub(crate) struct Node {
    pub(crate) swarm: Swarm<Driven<Toy>>,
    pub(crate) mailbox: Mailbox<Ask>,
    pub(crate) asked: mpsc::Receiver<Asked>,
    pub(crate) answers: mpsc::Sender<(ResponseChannel<u8>, u8)>,
}

impl Node {
    pub(crate) async fn new(limit: usize) -> Self {
        let (asked_sender, asked) = mpsc::channel(100);
        let (answers, answers_receiver) = mpsc::channel(1);
        let toy = Toy {
            limit,
            pending: HashMap::new(),
            asked: asked_sender,
            answers: answers_receiver,
            hides_addresses: false,
            is_restless: false,
            sent: 0,
        };
        let protocols = [(StreamProtocol::new("/toy/1"), ProtocolSupport::Full)];
        let inner = request_response::Behaviour::new(protocols, request_response::Config::default());
        let (behaviour, mailbox) = Driven::new(inner, toy, 4);
        let mut swarm = Swarm::new_ephemeral_tokio(|_| behaviour);
        swarm.listen().with_memory_addr_external().await;
        Self {
            swarm,
            mailbox,
            asked,
            answers,
        }
    }

    pub(crate) fn peer(&self) -> PeerId {
        *self.swarm.local_peer_id()
    }

    /// Runs the node, answering every byte with itself.
    pub(crate) fn echo(self) -> Mailbox<Ask> {
        let Self {
            swarm,
            mailbox,
            mut asked,
            answers,
        } = self;
        tokio::spawn(swarm.loop_on_next());
        tokio::spawn(async move {
            while let Some(Asked { byte, channel }) = asked.recv().await {
                answers.send((channel, byte)).await.expect("the swarm runs");
            }
        });
        mailbox
    }
}

/// Two connected nodes, of which each has at most `limit` requests on the wire.
pub(crate) async fn pair(limit: usize) -> (Node, Node) {
    let (mut a, mut b) = (Node::new(limit).await, Node::new(limit).await);
    a.swarm.connect(&mut b.swarm).await;
    (a, b)
}
