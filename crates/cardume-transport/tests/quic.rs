//! Our QUIC beside libp2p's own: who is refused, who waits for whom, and what a listener says of itself.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::{collections::HashSet, io, pin::Pin, time::Duration};

use futures::{
    AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _,
    future::{BoxFuture, poll_fn},
};
use libp2p_core::{
    Endpoint, Multiaddr, Transport as _,
    muxing::{StreamMuxerBox, StreamMuxerExt as _},
    transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent},
};
use libp2p_identity::{Keypair, PeerId};
use tokio::{net::UdpSocket, time::timeout};

type Transport = Boxed<(PeerId, StreamMuxerBox)>;
type Upgrade = BoxFuture<'static, io::Result<(PeerId, StreamMuxerBox)>>;

/// Far more than any of these tests takes.
const GUARD: Duration = Duration::from_secs(60);
const LOOPBACK: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

fn ours(key: &Keypair) -> Transport {
    let timeouts = cardume_transport::Timeouts {
        dial: GUARD,
        accept: GUARD,
    };
    cardume_transport::build(key, timeouts).unwrap()
}

fn stock(key: &Keypair) -> Transport {
    libp2p_quic::tokio::Transport::new(libp2p_quic::Config::new(key))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

async fn next(transport: &mut Transport) -> TransportEvent<Upgrade, io::Error> {
    timeout(GUARD, poll_fn(|cx| Pin::new(&mut *transport).poll(cx)))
        .await
        .expect("the transport has something to say")
        .map_upgrade(|upgrade| upgrade.boxed())
}

async fn listen(transport: &mut Transport, address: &str) -> (ListenerId, Multiaddr) {
    let id = ListenerId::next();
    transport.listen_on(id, address.parse().unwrap()).unwrap();
    match next(transport).await {
        TransportEvent::NewAddress { listen_addr, .. } => (id, listen_addr),
        other => panic!("{other:?}"),
    }
}

async fn accept(transport: &mut Transport) -> (Upgrade, Multiaddr, Multiaddr) {
    loop {
        if let TransportEvent::Incoming {
            upgrade,
            local_addr,
            send_back_addr,
            ..
        } = next(transport).await
        {
            return (upgrade, local_addr, send_back_addr);
        }
    }
}

/// Keeps a transport going.
async fn turn(mut transport: Transport) {
    loop {
        poll_fn(|cx| Pin::new(&mut transport).poll(cx)).await;
    }
}

fn dial(transport: &mut Transport, address: Multiaddr, role: Endpoint, port_use: PortUse) -> Upgrade {
    transport
        .dial(address, DialOpts { role, port_use })
        .unwrap()
        .boxed()
}

fn key() -> (Keypair, PeerId) {
    let key = Keypair::generate_ed25519();
    let peer = key.public().to_peer_id();
    (key, peer)
}

#[tokio::test]
async fn another_peer_than_the_one_that_is_dialled_is_refused() {
    for make in [ours, stock] {
        let (mut listener, mut dialer) = (make(&key().0), ours(&key().0));
        let (_, address) = listen(&mut listener, LOOPBACK).await;
        let wrong = address.with_p2p(key().1).unwrap();
        let accepting = tokio::spawn(async move {
            let (upgrade, ..) = accept(&mut listener).await;
            let _ = upgrade.await;
            turn(listener).await;
        });
        let dialling = dial(&mut dialer, wrong, Endpoint::Dialer, PortUse::New);
        let error = timeout(GUARD, dialling).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("expected"), "{error}");
        accepting.abort();
    }
}

/// One side waits for the other as DCUtR has it, and says something on the connection that comes of it.
async fn wait_for_a_peer(make_waiting: fn(&Keypair) -> Transport, make_coming: fn(&Keypair) -> Transport) {
    let ((waiting_key, waiting_peer), (coming_key, coming_peer)) = (key(), key());
    let (mut waiting, mut coming) = (make_waiting(&waiting_key), make_coming(&coming_key));
    let (_, to) = listen(&mut waiting, LOOPBACK).await;
    let (_, from) = listen(&mut coming, LOOPBACK).await;
    let wait = dial(
        &mut waiting,
        from.with_p2p(coming_peer).unwrap(),
        Endpoint::Listener,
        PortUse::New,
    );
    let come = dial(&mut coming, to, Endpoint::Dialer, PortUse::Reuse);
    let turning = [tokio::spawn(turn(waiting)), tokio::spawn(turn(coming))];
    let both = timeout(GUARD, futures::future::join(wait, come));
    let (waited, came) = both.await.unwrap();
    let ((found, mut here), (other, mut there)) = (waited.unwrap(), came.unwrap());
    assert_eq!((found, other), (coming_peer, waiting_peer));

    let mut stream = poll_fn(|cx| here.poll_outbound_unpin(cx)).await.unwrap();
    stream.write_all(b"through the hole").await.unwrap();
    stream.close().await.unwrap();
    let mut stream = poll_fn(|cx| there.poll_inbound_unpin(cx)).await.unwrap();
    let mut said = Vec::new();
    let read = timeout(GUARD, stream.read_to_end(&mut said));
    read.await.unwrap().unwrap();
    assert_eq!(said, b"through the hole");
    turning.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn who_waits_for_a_peer_gets_the_connection_that_the_peer_makes() {
    wait_for_a_peer(ours, ours).await;
}

#[tokio::test]
async fn the_stock_stack_comes_to_us_who_wait() {
    wait_for_a_peer(ours, stock).await;
}

#[tokio::test]
async fn we_come_to_the_stock_stack_that_waits() {
    wait_for_a_peer(stock, ours).await;
}

#[tokio::test]
async fn who_waits_for_a_peer_sends_it_packets_from_where_it_listens() {
    let mut waiting = ours(&key().0);
    let (_, address) = listen(&mut waiting, LOOPBACK).await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = peer.local_addr().unwrap().port();
    let there: Multiaddr = format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().unwrap();
    let waits = dial(&mut waiting, there, Endpoint::Listener, PortUse::Reuse);
    let mut packet = [0; 1500];
    let (_, from) = tokio::select! {
        came = timeout(GUARD, peer.recv_from(&mut packet)) => came.unwrap().unwrap(),
        ended = waits => panic!("{:?}", ended.map(|(peer, _)| peer)),
    };
    let at = format!("/ip4/127.0.0.1/udp/{}/quic-v1", from.port());
    assert_eq!(address.to_string(), at);
}

#[tokio::test]
async fn a_dialer_that_listens_is_seen_where_it_listens_or_on_a_new_port_if_it_wants() {
    let (mut listener, mut dialer) = (ours(&key().0), ours(&key().0));
    let (_, to) = listen(&mut listener, LOOPBACK).await;
    let (_, from) = listen(&mut dialer, LOOPBACK).await;
    for (port_use, reused) in [(PortUse::Reuse, true), (PortUse::New, false)] {
        let dialling = tokio::spawn(dial(&mut dialer, to.clone(), Endpoint::Dialer, port_use));
        let (upgrade, local, back) = accept(&mut listener).await;
        assert_eq!(local, to);
        assert_eq!(back == from, reused);
        let (accepted, dialled) = timeout(GUARD, futures::future::join(upgrade, dialling))
            .await
            .unwrap();
        accepted.unwrap();
        dialled.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_listener_on_every_interface_names_them_and_both_families_share_a_port() {
    let mut transport = ours(&key().0);
    let (id, address) = listen(&mut transport, "/ip4/0.0.0.0/udp/0/quic-v1").await;
    let mut addresses = HashSet::from([address.to_string()]);
    while !addresses.iter().any(|one| one.starts_with("/ip4/127.0.0.1/udp/")) {
        match next(&mut transport).await {
            TransportEvent::NewAddress { listen_addr, .. } => addresses.insert(listen_addr.to_string()),
            other => panic!("{other:?}"),
        };
    }
    assert!(addresses.iter().all(|one| !one.contains("/ip4/0.0.0.0/")));
    let port = address.to_string().split('/').nth(4).unwrap().to_owned();
    let other = format!("/ip6/::/udp/{port}/quic-v1");
    // A host without IPv6 cannot; no other reason counts.
    let other = transport.listen_on(ListenerId::next(), other.parse().unwrap());
    if let Err(error) = other {
        assert!(!format!("{error:?}").contains("AddrInUse"), "{error:?}");
    }
    assert!(transport.remove_listener(id));
    loop {
        if let TransportEvent::ListenerClosed { listener_id, reason } = next(&mut transport).await {
            assert_eq!(listener_id, id);
            break reason.unwrap();
        }
    }
    assert!(!transport.remove_listener(id));
}

#[tokio::test]
async fn a_crowd_of_strangers_has_to_prove_where_it_is_and_gets_in() {
    let mut listener = ours(&key().0);
    let (_, to) = listen(&mut listener, LOOPBACK).await;
    let mut dialer = ours(&key().0);
    const CROWD: usize = 18;
    let dials: Vec<_> = (0..CROWD)
        .map(|_| dial(&mut dialer, to.clone(), Endpoint::Dialer, PortUse::Reuse))
        .collect();
    let dialling = tokio::spawn(futures::future::try_join_all(dials));
    // None of them is let through its handshake before all have come.
    let mut upgrades = Vec::new();
    while upgrades.len() < CROWD {
        upgrades.push(accept(&mut listener).await.0);
    }
    let accepted = timeout(GUARD, futures::future::try_join_all(upgrades));
    assert_eq!(accepted.await.unwrap().unwrap().len(), CROWD);
    let dialled = timeout(GUARD, dialling).await.unwrap().unwrap();
    assert_eq!(dialled.unwrap().len(), CROWD);
}

#[tokio::test]
async fn whom_nobody_has_a_place_for_is_refused_before_a_handshake() {
    let (mut listener, mut dialer) = (ours(&key().0), ours(&key().0));
    let (_, to) = listen(&mut listener, LOOPBACK).await;
    let dialling = tokio::spawn(dial(&mut dialer, to, Endpoint::Dialer, PortUse::New));
    drop(accept(&mut listener).await);
    // A handshake that is under way is closed by an application; this is the server's own word.
    let error = timeout(GUARD, dialling).await.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn packets_that_are_none_end_nothing() {
    let mut listener = ours(&key().0);
    let (_, to) = listen(&mut listener, LOOPBACK).await;
    let port = to.to_string().split('/').nth(4).unwrap().to_owned();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let initial = |version: [u8; 4], rest: usize| [&[0xc3][..], &version, &vec![8; rest]].concat();
    for bytes in [
        vec![],
        vec![0; 1],
        vec![0xff; 1200],
        vec![0x40; 1400],
        initial([0, 0, 0, 1], 1200),
        initial([0, 0, 0, 0], 100),
        initial([0x1a; 4], 1200),
    ] {
        let sent = stranger.send_to(&bytes, format!("127.0.0.1:{port}")).await;
        assert_eq!(sent.unwrap(), bytes.len());
    }
    let mut dialer = ours(&key().0);
    let dialling = tokio::spawn(dial(&mut dialer, to, Endpoint::Dialer, PortUse::New));
    let (upgrade, ..) = accept(&mut listener).await;
    let (accepted, dialled) = timeout(GUARD, futures::future::join(upgrade, dialling))
        .await
        .unwrap();
    accepted.unwrap();
    dialled.unwrap().unwrap();
}
