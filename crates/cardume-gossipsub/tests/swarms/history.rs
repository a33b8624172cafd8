//! What was said before, as peers that have kept it tell it.
use std::collections::BTreeMap;

use cardume_gossipsub::{Allow, Config, Handle, Topic};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p_gossipsub::{self as gossipsub, IdentTopic, MessageAuthenticity};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::{NetworkBehaviour, StreamProtocol, Swarm};
use libp2p_swarm_test::SwarmExt as _;

use crate::peers::{Peer, meets, next_message, peer_with, run, soon, subscribed};

const PROTOCOL: StreamProtocol = StreamProtocol::new("/cardume/test/history/1");

async fn keeping(rule: Topic) -> Peer {
    let rule = Topic { history: 3, ..rule };
    peer_with(Config::default(), BTreeMap::from([("t".to_owned(), rule)])).await
}

async fn texts(node: &Handle) -> Vec<String> {
    let messages = node.history("t", 9).await.unwrap();
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    messages.iter().map(|message| text(&message.data)).collect()
}

#[tokio::test]
async fn what_two_have_said_a_third_is_told_by_either_whoever_signed_it() {
    let [mut author, keeper] = [keeping(Topic::default()).await, keeping(Topic::default()).await];
    let (keeper_id, address) = (*keeper.swarm.local_peer_id(), keeper.address.clone());
    author.swarm.dial(address.clone()).unwrap();
    let [author, keeper] = [author, keeper].map(run);
    let mut heard = keeper.subscribe("t").await.unwrap();
    let mut back = author.subscribe("t").await.unwrap();
    meets(&author, "t", 1).await;
    for number in 0..4 {
        author.publish("t", number.to_string().into()).await.unwrap();
        next_message(&mut heard).await;
    }
    let said = keeper.publish("t", "mine".into()).await.unwrap();
    while &next_message(&mut back).await.data[..] != b"mine" {}
    assert_eq!(texts(&author).await, ["2", "3", "mine"]);

    let mut late = keeping(Topic::default()).await;
    late.swarm.dial(address).unwrap();
    let late = run(late);
    let _reads = late.subscribe("t").await.unwrap();
    subscribed(&late, "t", 1).await;
    assert_eq!(texts(&late).await, ["2", "3", "mine"]);
    let last = late.history("t", 1).await.unwrap();
    assert_eq!((last[0].from, &last[0].id), (keeper_id, &said));
    assert_eq!(late.history("other", 9).await.unwrap(), []);
}

#[tokio::test]
async fn who_may_not_listen_is_told_nothing_and_who_may_not_publish_is_not_believed() {
    let mut friend = keeping(Topic::default()).await;
    let id = *friend.swarm.local_peer_id();
    let only = |peer: PeerId| Some(Allow::new(move |other| *other == peer));
    let keeper = keeping(Topic {
        subscribers: only(id),
        ..Topic::default()
    })
    .await;
    let mut stranger = keeping(Topic::default()).await;
    let mut strict = keeping(Topic {
        publishers: only(id),
        ..Topic::default()
    })
    .await;
    let strict_id = *strict.swarm.local_peer_id();
    for peer in [&mut friend, &mut stranger, &mut strict] {
        peer.swarm.dial(keeper.address.clone()).unwrap();
    }
    assert_ne!(strict_id, id);
    let [friend, keeper, stranger, strict] = [friend, keeper, stranger, strict].map(run);
    let mut subscriptions = Vec::new();
    for node in [&friend, &keeper, &stranger, &strict] {
        subscriptions.push(node.subscribe("t").await.unwrap());
    }
    keeper.publish("t", "for friends".into()).await.unwrap();
    for node in [&friend, &stranger, &strict] {
        subscribed(node, "t", 1).await;
    }
    assert_eq!(texts(&friend).await, ["for friends"]);
    assert_eq!(texts(&stranger).await, [""; 0]);
    assert_eq!(texts(&strict).await, [""; 0]);
}

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p_swarm::derive_prelude")]
struct Liar {
    gossipsub: gossipsub::Behaviour,
    streams: libp2p_stream::Behaviour,
}

/// A peer that is subscribed, and answers whatever it is asked with `answer`.
fn liar(answer: Vec<u8>) -> Swarm<Liar> {
    let mut swarm = Swarm::new_ephemeral_tokio(|key| Liar {
        gossipsub: gossipsub::Behaviour::new(MessageAuthenticity::Signed(key), gossipsub::Config::default())
            .unwrap(),
        streams: libp2p_stream::Behaviour::new(),
    });
    swarm
        .behaviour_mut()
        .gossipsub
        .subscribe(&IdentTopic::new("t"))
        .unwrap();
    let mut incoming = swarm.behaviour().streams.new_control().accept(PROTOCOL).unwrap();
    tokio::spawn(async move {
        while let Some((_, mut stream)) = incoming.next().await {
            // Whoever hangs up early has seen enough.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            let _ = stream.write_all(&answer).await;
            let _ = stream.close().await;
        }
    });
    swarm
}

/// One message of an answer, with this signature.
fn message(from: &PeerId, signature: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = [&[0, 0, 0, 1][..], &7_u64.to_be_bytes()].concat();
    for part in [&from.to_bytes()[..], signature, &[]] {
        out.extend((part.len() as u16).to_be_bytes());
        out.extend(part);
    }
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
    out
}

#[tokio::test]
async fn whatever_a_liar_says_was_said_is_not_believed() {
    let key = Keypair::generate_ed25519();
    let author = key.public().to_peer_id();
    let signed = |topic: &str| {
        let (from, number) = (author.to_bytes(), 7_u64.to_be_bytes());
        let field = |tag: u8, bytes: &[u8]| [&[tag << 3 | 2, bytes.len() as u8][..], bytes].concat();
        let parts = [
            field(1, &from),
            field(2, b"hi"),
            field(3, &number),
            field(4, topic.as_bytes()),
        ];
        key.sign(&[&b"libp2p-pubsub:"[..], &parts.concat()].concat())
            .unwrap()
    };
    let truth = message(&author, &signed("t"), b"hi");
    let answers = [
        (truth.clone(), 1),
        ([&truth[..], &message(&author, &[0; 64], b"forged")].concat(), 0),
        (message(&author, &signed("u"), b"hi"), 0),
        (truth.repeat(4), 0),
        (truth[..truth.len() - 1].to_vec(), 0),
        ([&truth[..truth.len() - 6], &[0xff; 4], &[1; 200_000]].concat(), 0),
        (vec![0xff; 3_000_000], 0),
    ];
    for (answer, believed) in answers {
        let mut node = keeping(Topic::default()).await;
        let mut liar = liar(answer);
        let (address, _) = liar.listen().with_memory_addr_external().await;
        node.swarm.dial(address).unwrap();
        tokio::spawn(async move { while liar.next().await.is_some() {} });
        let node = run(node);
        let _reads = node.subscribe("t").await.unwrap();
        subscribed(&node, "t", 1).await;
        let heard = soon(node.history("t", 3)).await.unwrap();
        assert_eq!(heard.len(), believed);
        assert!(
            heard
                .iter()
                .all(|message| message.from == author && &message.data[..] == b"hi")
        );
    }
}
