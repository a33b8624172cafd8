//! A peer on topics that says too much, in whatever way it can.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, io::copy};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identity::Keypair, multiaddr::Protocol,
    noise, swarm::SwarmEvent, tcp, yamux,
};
use libp2p_stream as stream;
use tokio::task::JoinHandle;

/// The oldest version: it does for every harm.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/meshsub/1.1.0");
/// What authors sign is put behind.
const SIGNED: &[u8] = b"libp2p-pubsub:";
/// Times that the other end is dialled.
const MAX_DIALS: u32 = 5;
/// RPCs that are full of topics, and how many those are: below 16 KiB.
const FULL: u64 = 20;
const TOPICS: u64 = 500;
/// Messages that are signed, and then sent over and over: signing takes longer than sending. Each counts at the other
/// end, known there or not.
const SIGNED_ONCE: u64 = 64;

/// What a scripted peer does, without end and as fast as its line takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Publishes messages that are rightly signed.
    Floods,
    /// Publishes messages whose signatures are wrong.
    Forges,
    /// Subscribes to ten thousand topics at once, and then to one after the other.
    Subscribes,
    /// Leaves the mesh and begs to be let in again, long before its time.
    Grafts,
    /// Joins the mesh and leaves it in turn, saying each time that it may come back at once.
    Flaps,
}

/// A scripted peer; gone when dropped.
pub struct Shouter {
    /// Its identity.
    pub peer_id: PeerId,
    sent: Arc<AtomicU64>,
    tasks: [JoinHandle<()>; 3],
}

impl Drop for Shouter {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Shouter {
    /// Connects to `target`, subscribes to `topic` and begins.
    ///
    /// # Errors
    ///
    /// When the other end does not take it.
    pub async fn start(target: Multiaddr, topic: &str, harm: Harm) -> anyhow::Result<Self> {
        let key = Keypair::generate_ed25519();
        let peer_id = key.public().to_peer_id();
        let Some(Protocol::P2p(other)) = target.iter().last() else {
            anyhow::bail!("{target} names no peer");
        };
        let mut swarm = SwarmBuilder::with_existing_identity(key.clone())
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
            .with_behaviour(|_| stream::Behaviour::new())?
            .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
            .build();
        let mut control = swarm.behaviour().new_control();
        let incoming = control.accept(PROTOCOL).ok().context("accepting")?;
        let mut stream = open(&mut swarm, &mut control, &target, other).await?;
        let turning = tokio::spawn(turn(swarm));
        let listening = tokio::spawn(swallow(incoming));
        stream.write_all(&rpc(&subscription(topic))).await?;
        let sent = Arc::new(AtomicU64::new(0));
        let (counting, topic) = (sent.clone(), topic.to_owned());
        let shouting = tokio::spawn(async move {
            let words = Words::new(harm, &topic, key);
            for turn in 0.. {
                // The other end may hang up; what it thinks of us is for the test to see.
                if stream.write_all(&words.of(turn)).await.is_err() {
                    return;
                }
                counting.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Self {
            peer_id,
            sent,
            tasks: [turning, listening, shouting],
        })
    }

    /// RPCs that its line has taken.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Dials and opens a stream, again if need be: a busy machine may not shake hands in time.
async fn open(
    swarm: &mut Swarm<stream::Behaviour>,
    control: &mut stream::Control,
    target: &Multiaddr,
    other: PeerId,
) -> anyhow::Result<Stream> {
    let mut last = anyhow::anyhow!("not tried");
    for _ in 0..MAX_DIALS {
        swarm.dial(target.clone())?;
        // Asked for a stream before there is a connection, it would dial where nobody is.
        let ended = loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => break None,
                SwarmEvent::OutgoingConnectionError { error, .. } => break Some(error),
                _ => {}
            }
        };
        if let Some(error) = ended {
            last = error.into();
            continue;
        }
        let mut opening = pin!(control.open_stream(other, PROTOCOL));
        let opened = loop {
            tokio::select! {
                opened = &mut opening => break opened,
                _ = swarm.select_next_some() => {}
            }
        };
        match opened {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

async fn turn(mut swarm: Swarm<stream::Behaviour>) {
    loop {
        swarm.select_next_some().await;
    }
}

/// Reads what the other end says, so that it never finds this one slow.
async fn swallow(mut incoming: stream::IncomingStreams) {
    while let Some((_, stream)) = incoming.next().await {
        let (reading, _writing) = stream.split();
        drop(copy(reading, &mut futures::io::sink()).await);
    }
}

/// What a peer says.
struct Words {
    harm: Harm,
    topic: String,
    key: Keypair,
    signed: Vec<Vec<u8>>,
}

impl Words {
    fn new(harm: Harm, topic: &str, key: Keypair) -> Self {
        let seqnos = (0..SIGNED_ONCE).filter(|_| harm == Harm::Floods);
        Self {
            harm,
            topic: topic.to_owned(),
            signed: seqnos.map(|seqno| message(seqno, topic, &key, true)).collect(),
            key,
        }
    }

    /// The RPC of one turn.
    fn of(&self, turn: u64) -> Vec<u8> {
        let topic = &*self.topic;
        match self.harm {
            Harm::Floods => rpc(&self.signed[(turn % SIGNED_ONCE) as usize]),
            Harm::Forges => rpc(&message(turn, topic, &self.key, false)),
            Harm::Subscribes => {
                let name = |number: u64| format!("of no use {number}");
                let count = if turn < FULL { TOPICS } else { 1 };
                let numbers = turn * TOPICS..turn * TOPICS + count;
                let parts: Vec<_> = numbers.map(|number| subscription(&name(number))).collect();
                rpc(&parts.concat())
            }
            Harm::Grafts if turn == 0 => rpc(&prune(topic, 3600)),
            Harm::Flaps if turn.is_multiple_of(2) => rpc(&prune(topic, 0)),
            Harm::Grafts | Harm::Flaps => rpc(&graft(topic)),
        }
    }
}

fn rpc(body: &[u8]) -> Vec<u8> {
    let mut framed = varint(body.len() as u64);
    framed.extend(body);
    framed
}

fn subscription(topic: &str) -> Vec<u8> {
    field(1, &[number(1, 1), field(2, topic.as_bytes())].concat())
}

fn message(seqno: u64, topic: &str, key: &Keypair, is_signed: bool) -> Vec<u8> {
    let mut body = [
        field(1, &key.public().to_peer_id().to_bytes()),
        field(2, b"buy, buy, buy"),
        field(3, &seqno.to_be_bytes()),
        field(4, topic.as_bytes()),
    ]
    .concat();
    let signature = match is_signed {
        true => key.sign(&[SIGNED, &body].concat()).expect("Ed25519 signs"),
        false => vec![7; 64],
    };
    body.extend(field(5, &signature));
    field(2, &body)
}

fn graft(topic: &str) -> Vec<u8> {
    field(3, &field(3, &field(1, topic.as_bytes())))
}

fn prune(topic: &str, seconds: u64) -> Vec<u8> {
    field(
        3,
        &field(4, &[field(1, topic.as_bytes()), number(3, seconds)].concat()),
    )
}

/// A field of bytes, as protobuf has it.
fn field(tag: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(tag << 3 | 2);
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

/// A field with a number.
fn number(tag: u64, value: u64) -> Vec<u8> {
    [varint(tag << 3), varint(value)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
