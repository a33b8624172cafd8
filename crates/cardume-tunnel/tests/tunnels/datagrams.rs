//! Datagrams, and peers that speak the protocol as they like.
use std::time::Duration;

use cardume_tunnel::{Behaviour, Config, Place, Protocol};
use cardume_units::Duration as Time;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p_identity::Keypair;
use libp2p_swarm::{StreamProtocol, Swarm};
use libp2p_swarm_test::SwarmExt as _;
use tokio::net::UdpSocket;

use super::pair::{PATIENCE, echo, pair, udp_echo, until};

/// Sends a datagram until its answer comes: any may be lost.
async fn ask(socket: &UdpSocket, text: &[u8]) {
    let mut buffer = vec![0; 65_535];
    let asking = async {
        loop {
            socket.send(text).await.unwrap();
            let answer = tokio::time::timeout(Duration::from_millis(500), socket.recv(&mut buffer)).await;
            match answer {
                Ok(Ok(length)) if buffer[..length] == *text => return,
                _ => {}
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("an answer");
}

#[tokio::test]
async fn datagrams_pass_each_to_the_sender_it_answers() {
    let pair = pair().await;
    pair.there
        .expose("dns", Protocol::Udp, udp_echo().await, &["here"])
        .await;
    let at = pair.here.forward("dns", Protocol::Udp).await;
    for text in [&b"one"[..], b"another", &[7; 60_000]] {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(at).await.unwrap();
        ask(&socket, text).await;
        ask(&socket, b"and again").await;
    }
    let status = pair.here.status("dns");
    assert_eq!((status.connections, status.opened), (3, 3));
}

#[tokio::test]
async fn a_sender_that_is_silent_is_forgotten_and_may_come_back() {
    let pair = pair().await;
    pair.there
        .expose("dns", Protocol::Udp, udp_echo().await, &["here"])
        .await;
    let config = Config {
        idle_timeout: Time::from_secs(1),
        max_connections: 1,
        ..Config::forward(
            Protocol::Udp,
            "127.0.0.1:0".parse().unwrap(),
            "there".into(),
            None,
        )
    };
    let status = pair.here.tunnels.open("dns", config).await.unwrap();
    let cardume_tunnel::State::Ready(Some(Place::Socket(at))) = status.state else {
        panic!("{status:?}")
    };
    let [one, other] = [UdpSocket::bind("127.0.0.1:0"), UdpSocket::bind("127.0.0.1:0")];
    let (one, other) = (one.await.unwrap(), other.await.unwrap());
    one.connect(at).await.unwrap();
    ask(&one, b"one").await;
    // The other is served once the first is forgotten, on both sides.
    other.connect(at).await.unwrap();
    ask(&other, b"other").await;
    assert_eq!(pair.here.status("dns").opened, 2);
    until("both are forgotten", || {
        pair.here.status("dns").connections == 0 && pair.there.status("dns").connections == 0
    })
    .await;
    ask(&one, b"one again").await;
}

#[tokio::test]
async fn a_peer_that_speaks_nonsense_gets_nothing_and_disturbs_nobody() {
    let pair = pair().await;
    pair.there
        .expose("echo", Protocol::Tcp, echo().await, &["here"])
        .await;
    // Nothing but a stranger's streams: it says what it likes.
    let behaviour = Behaviour::new();
    let mut control = behaviour.new_control();
    let mut stranger = Swarm::new_ephemeral_tokio(|_: Keypair| behaviour);
    stranger.dial(pair.address.clone()).unwrap();
    tokio::spawn(async move {
        loop {
            stranger.next().await;
        }
    });
    let there = pair.there.peer;
    let protocol = StreamProtocol::new("/cardume/test/tunnel/1");
    let mut open = async || {
        let opening = async {
            loop {
                if let Ok(stream) = control.open_stream(there, protocol.clone()).await {
                    return stream;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, opening).await.unwrap()
    };
    for (words, answer) in [
        (&b"\x00\x04echo"[..], &b"\x01"[..]),
        (b"\x00\x05nobody", b"\x01"),
        (b"\x09\x04echo", b""),
        (b"\x00\x00", b""),
    ] {
        let mut stream = open().await;
        stream.write_all(words).await.unwrap();
        stream.close().await.unwrap();
        let mut got = Vec::new();
        // A stream that is dropped over there ends with an error, or without a word.
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut got))
            .await
            .unwrap();
        assert_eq!(got, answer, "{words:?}");
    }
    let at = pair.here.forward("echo", Protocol::Tcp).await;
    assert_eq!(super::ask(at, b"hello").await, b"hello");
}
