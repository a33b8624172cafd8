//! A peer of the DHT that means ill. Speaks the protocol by hand, for no honest library says such things.
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p_identity::PeerId;
use libp2p_kad::KBucketKey;
use libp2p_swarm::{NetworkBehaviour, Stream, StreamProtocol, Swarm};
use libp2p_swarm_test::SwarmExt as _;
use multiaddr::Multiaddr;

const GET_PROVIDERS: u8 = 3;
const FIND_NODE: u8 = 4;

/// How a liar answers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Manner {
    /// With accomplices only, the closest to the key, and no providers.
    Accomplices,
    /// Not at all.
    Silent,
    /// With closer peers that do not exist, and hundreds of providers that do not either.
    Phantoms,
}

/// A peer and where it is.
pub(crate) type Known = (PeerId, Multiaddr);

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
pub(crate) struct Behaviour {
    stream: libp2p_stream::Behaviour,
    identify: libp2p_identify::Behaviour,
}

pub(crate) struct Liar {
    pub(crate) known: Known,
    manner: Manner,
    swarm: Swarm<Behaviour>,
}

impl Liar {
    pub(crate) async fn new(manner: Manner) -> Self {
        let mut swarm = Swarm::new_ephemeral_tokio(|key| {
            let identify = libp2p_identify::Config::new("/test/1".into(), key.public());
            Behaviour {
                stream: libp2p_stream::Behaviour::new(),
                identify: libp2p_identify::Behaviour::new(identify),
            }
        });
        let (address, _) = swarm.listen().with_memory_addr_external().await;
        let known = (*swarm.local_peer_id(), address);
        Self { known, manner, swarm }
    }

    /// Lies for ever; `others` are its accomplices.
    pub(crate) fn run(mut self, others: Vec<Known>) {
        let protocol = StreamProtocol::new("/cardume/test/kad/1");
        let mut incoming = self
            .swarm
            .behaviour()
            .stream
            .new_control()
            .accept(protocol)
            .unwrap();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = self.swarm.select_next_some() => {}
                    Some((_, stream)) = incoming.next() => {
                        tokio::spawn(answer(stream, self.manner, others.clone()));
                    }
                }
            }
        });
    }
}

async fn answer(mut stream: Stream, manner: Manner, others: Vec<Known>) -> std::io::Result<()> {
    loop {
        let message = read(&mut stream).await?;
        let (kind, key) = parse(&message);
        if matches!(manner, Manner::Silent) {
            std::future::pending::<()>().await;
        }
        if kind == GET_PROVIDERS || kind == FIND_NODE {
            let answer = lie(manner, kind, &key, others.clone());
            write(&mut stream, &answer).await?;
        }
    }
}

fn lie(manner: Manner, kind: u8, key: &[u8], mut others: Vec<Known>) -> Vec<u8> {
    let mut message = vec![0x08, kind];
    let nowhere = || "/memory/18446744073709551615".parse::<Multiaddr>().unwrap();
    let target = KBucketKey::new(key.to_vec());
    let distance = |known: &Known| KBucketKey::from(known.0).distance(&target);
    if matches!(manner, Manner::Phantoms) {
        others = (0..200).map(|_| (PeerId::random(), nowhere())).collect();
        if kind == GET_PROVIDERS {
            for known in &others {
                field(&mut message, 9, &peer(known));
            }
        }
    }
    others.sort_by_key(distance);
    for known in others.iter().take(20) {
        field(&mut message, 8, &peer(known));
    }
    message
}

fn peer((id, address): &Known) -> Vec<u8> {
    let mut bytes = Vec::new();
    field(&mut bytes, 1, &id.to_bytes());
    field(&mut bytes, 2, &address.to_vec());
    bytes
}

fn field(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push(number << 3 | 2);
    varint(to, bytes.len());
    to.extend(bytes);
}

fn varint(to: &mut Vec<u8>, mut n: usize) {
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

/// The kind and the key of a request of our own making: short fields, in their order.
fn parse(message: &[u8]) -> (u8, Vec<u8>) {
    let (mut kind, mut key, mut at) = (0, Vec::new(), 0);
    while let Some([tag, value]) = message.get(at..at + 2) {
        at += 2;
        if *tag == 0x08 {
            kind = *value;
        } else if tag & 7 == 2 {
            let end = at + usize::from(*value);
            if *tag == 0x12 {
                key = message[at..end].to_vec();
            }
            at = end;
        }
    }
    (kind, key)
}

async fn read(stream: &mut Stream) -> std::io::Result<Vec<u8>> {
    let (mut length, mut shift, mut byte) = (0_usize, 0, [0x80]);
    while byte[0] & 0x80 != 0 {
        stream.read_exact(&mut byte).await?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(stream: &mut Stream, message: &[u8]) -> std::io::Result<()> {
    let mut framed = Vec::new();
    varint(&mut framed, message.len());
    framed.extend(message);
    stream.write_all(&framed).await?;
    stream.flush().await
}
