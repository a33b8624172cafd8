//! Peers that write bytes as they like.
use std::{future, io, iter, time::Duration};

use cardume_transfer::{Config, RequestError, Response, message::MAX_PAYLOAD, wire};
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p_request_response as request_response;
use libp2p_swarm::{StreamProtocol, Swarm, SwarmEvent};
use libp2p_swarm_test::SwarmExt as _;
use request_response::{Codec as _, Event, Message, ProtocolSupport};

use crate::{
    limits::settle,
    node::{Node, get, slice, within},
};

/// Writes what it is given, and reads what there is, unless it refuses to.
#[derive(Clone, Default)]
struct Raw {
    reads_nothing: bool,
}

impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await?;
        Ok(bytes)
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        if self.reads_nothing {
            return future::pending().await;
        }
        self.read_request(protocol, io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&bytes).await
    }

    async fn write_response<T>(&mut self, p: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write_request(p, io, bytes).await
    }
}

type Hostile = Swarm<request_response::Behaviour<Raw>>;

async fn hostile(node: &mut Node) -> Hostile {
    connected(node, Raw::default()).await
}

async fn connected(node: &mut Node, codec: Raw) -> Hostile {
    let protocols = [(wire::protocol("test"), ProtocolSupport::Full)];
    let mut swarm = Swarm::new_ephemeral_tokio(|_| {
        request_response::Behaviour::with_codec(codec, protocols, request_response::Config::default())
    });
    swarm.listen().with_memory_addr_external().await;
    node.swarm.connect(&mut swarm).await;
    swarm
}

/// Bytes of a header's length.
fn len(mut len: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while len > 0x7f {
        out.push(0x80 | len as u8);
        len >>= 7;
    }
    out.push(len as u8);
    out
}

fn framed(header: &[u8]) -> Vec<u8> {
    [len(header.len() as u64), header.to_vec()].concat()
}

fn slices_of(lens: &[u64]) -> Vec<u8> {
    framed(&serde_ipld_dagcbor::to_vec(&(0, 1, lens)).unwrap())
}

async fn encoded(response: Response) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::Codec
        .write_response(&wire::protocol("test"), &mut bytes, response)
        .await
        .unwrap();
    bytes
}

#[tokio::test]
async fn bytes_that_are_no_answer_are_refused_and_the_connection_stays() {
    let config = Config {
        request_timeout: cardume_units::Duration::from_secs(10),
        ..Config::default()
    };
    let mut node = Node::new(config, "test").await;
    let mut swarm = hostile(&mut node).await;
    let peer = *swarm.local_peer_id();
    let (handle, _server) = node.run();

    let good = encoded(slice(b"good")).await;
    let bad = vec![
        ("a header that is too long", len(wire::MAX_RESPONSE as u64 + 1)),
        ("a length without end", vec![0xff; 64]),
        (
            "a length that is not minimal",
            [vec![0x81, 0x00], vec![0]].concat(),
        ),
        ("no CBOR", framed(&[0xff; 9])),
        ("an unknown kind", framed(&[0x81, 0x18, 99])),
        ("a payload that is too large", slices_of(&[MAX_PAYLOAD + 1])),
        ("more payload than was asked for", slices_of(&[MAX_PAYLOAD])),
        ("lengths that overflow", slices_of(&[u64::MAX, u64::MAX])),
        (
            "two slices for one range",
            [slices_of(&[1, 1]), vec![0; 2]].concat(),
        ),
        ("bytes after the end", [good.clone(), vec![0]].concat()),
        ("fields too many", framed(&[0x82, 4, 4])),
    ];
    let answers: Vec<_> = bad
        .iter()
        .map(|(_, bytes)| bytes.clone())
        .chain(iter::once(good))
        .collect();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        while let Some(event) = swarm.next().await {
            if let SwarmEvent::Behaviour(Event::Message {
                message: Message::Request { channel, .. },
                ..
            }) = event
            {
                // The reader may have gone by the time that all is written.
                let _ = swarm
                    .behaviour_mut()
                    .send_response(channel, answers.next().unwrap());
            }
        }
    });
    for (what, _) in bad {
        let error = within(handle.request(peer, get(1))).await.expect_err(what);
        assert!(matches!(error, RequestError::Malformed(_)), "{what}: {error}");
    }
    // There is no address to dial again, so this goes over the same connection.
    assert_eq!(
        within(handle.request(peer, get(1))).await.unwrap(),
        slice(b"good")
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_lost() {
    let mut node = Node::new(Config::default(), "test").await;
    let mut swarm = hostile(&mut node).await;
    let peer = *swarm.local_peer_id();
    let (handle, _server) = node.run();
    tokio::spawn(async move {
        while let Some(event) = swarm.next().await {
            if let SwarmEvent::Behaviour(Event::Message {
                message: Message::Request { channel, .. },
                ..
            }) = event
            {
                let _ = swarm
                    .behaviour_mut()
                    .send_response(channel, [slices_of(&[100]), vec![0; 99]].concat());
            }
        }
    });
    let error = within(handle.request(peer, get(1))).await.unwrap_err();
    assert!(matches!(error, RequestError::Lost(_)), "{error}");
}

#[tokio::test]
async fn bytes_that_are_no_request_never_reach_the_server_and_the_connection_stays() {
    let mut node = Node::new(Config::default(), "test").await;
    let mut swarm = hostile(&mut node).await;
    let peer = node.peer();
    node.serve(|request| {
        assert_eq!(request, get(1));
        slice(b"answer")
    });

    let mut good = Vec::new();
    wire::Codec
        .write_request(&wire::protocol("test"), &mut good, get(1))
        .await
        .unwrap();
    let cid: Vec<u8> = vec![0; 36];
    let backwards = (0, serde_bytes::Bytes::new(&cid), [(5, 4)]);
    let bad = [
        len(wire::MAX_REQUEST as u64 + 1),
        vec![0xff; 64],
        framed(b"GET / HTTP/1.1"),
        framed(&[0x81, 9]),
        framed(&[0x81, 3]),
        framed(&serde_ipld_dagcbor::to_vec(&(3, serde_bytes::Bytes::new(&cid))).unwrap()),
        framed(&serde_ipld_dagcbor::to_vec(&backwards).unwrap()),
        [good.clone(), vec![0]].concat(),
        good[..good.len() - 1].to_vec(),
        Vec::new(),
    ];
    for bytes in bad {
        swarm.behaviour_mut().send_request(&peer, bytes.clone());
        let event = within(swarm.next_behaviour_event()).await;
        match event {
            // The node ends the stream, which shows as an answer without bytes, or as a reset.
            Event::Message {
                message: Message::Response { response, .. },
                ..
            } => {
                assert!(response.is_empty(), "{bytes:?} was answered");
            }
            Event::OutboundFailure { .. } => {}
            event => panic!("{event:?}"),
        }
    }
    swarm.behaviour_mut().send_request(&peer, good);
    let event = within(swarm.next_behaviour_event()).await;
    let Event::Message {
        message: Message::Response { response, .. },
        ..
    } = event
    else {
        panic!("{event:?}")
    };
    assert_eq!(response, encoded(slice(b"answer")).await);
}

#[tokio::test]
async fn a_peer_that_sends_no_request_holds_up_no_other() {
    let mut node = Node::new(Config::default(), "test").await;
    let mut swarm = hostile(&mut node).await;
    let mut friend = Node::new(Config::default(), "test").await;
    node.swarm.connect(&mut friend.swarm).await;
    let peer = node.peer();
    node.serve(|_| slice(b"answer"));
    for _ in 0..60 {
        swarm.behaviour_mut().send_request(&peer, len(100));
    }
    tokio::spawn(swarm.loop_on_next());
    let (handle, _server) = friend.run();
    let answer = tokio::time::timeout(Duration::from_secs(5), handle.request(peer, get(1))).await;
    assert_eq!(answer.unwrap().unwrap(), slice(b"answer"));
}

#[tokio::test]
async fn a_peer_that_takes_no_answers_is_soon_given_no_more() {
    let mut node = Node::new(Config::default(), "test").await;
    let mut swarm = connected(&mut node, Raw { reads_nothing: true }).await;
    let peer = node.peer();
    let (_handle, mut server) = node.run();
    let mut request = Vec::new();
    wire::Codec
        .write_request(&wire::protocol("test"), &mut request, get(1))
        .await
        .unwrap();
    let mut served = 0;
    for _ in 0..12 {
        swarm.behaviour_mut().send_request(&peer, request.clone());
        for _ in 0..10 {
            while swarm.next().now_or_never().is_some() {}
            settle().await;
        }
        let Some(Some(inbound)) = server.next().now_or_never() else {
            continue;
        };
        served += 1;
        let slices = vec![vec![0; 4 << 20].into()];
        inbound.responder.send(Response::Slices {
            size: 4 << 20,
            slices,
        });
    }
    assert_eq!(served, 8, "32 MiB wait for it, and the rest is answered busy");
}
