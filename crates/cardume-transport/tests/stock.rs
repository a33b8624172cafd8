//! Our transports and the stock libp2p stack understand each other, whoever dials.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _,
    future::{BoxFuture, poll_fn},
    stream::FuturesUnordered,
};
use libp2p_core::{
    Endpoint, Multiaddr, Transport as _,
    muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox},
    transport::{Boxed, DialOpts, ListenerId, PortUse, TransportEvent},
    upgrade::Version,
};
use libp2p_identity::{Keypair, PeerId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};

type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// Streams that each side opens.
const STREAMS: usize = 4;
/// Bytes sent on each stream, and echoed: more than any window, no multiple of any frame.
const LOAD: usize = 300_001;
/// Far more than any of these tests takes.
const GUARD: Duration = Duration::from_secs(60);

fn ours(key: &Keypair) -> Transport {
    let timeouts = cardume_transport::Timeouts {
        dial: GUARD,
        accept: GUARD,
    };
    cardume_transport::build(key, timeouts).unwrap()
}

fn stock_tls(key: &Keypair) -> Transport {
    tcp()
        .authenticate(libp2p_tls::Config::new(key).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed()
}

fn stock_noise(key: &Keypair) -> Transport {
    tcp()
        .authenticate(libp2p_noise::Config::new(key).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed()
}

fn tcp() -> libp2p_core::transport::upgrade::Builder<libp2p_tcp::tokio::Transport> {
    libp2p_tcp::tokio::Transport::default().upgrade(Version::V1)
}

fn stock_quic(key: &Keypair) -> Transport {
    libp2p_quic::tokio::Transport::new(libp2p_quic::Config::new(key))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed()
}

/// Listens, and tells where.
async fn listen(transport: &mut Transport, address: &str) -> Multiaddr {
    transport
        .listen_on(ListenerId::next(), address.parse().unwrap())
        .unwrap();
    match next(transport).await {
        TransportEvent::NewAddress { listen_addr, .. } => listen_addr,
        other => panic!("{other:?}"),
    }
}

async fn next(
    transport: &mut Transport,
) -> TransportEvent<BoxFuture<'static, std::io::Result<(PeerId, StreamMuxerBox)>>, std::io::Error> {
    poll_fn(|cx| Pin::new(&mut *transport).poll(cx))
        .await
        .map_upgrade(|upgrade| upgrade.boxed())
}

/// Waits for one connection, and secures it.
async fn accept(transport: &mut Transport) -> std::io::Result<(PeerId, StreamMuxerBox)> {
    loop {
        if let TransportEvent::Incoming { upgrade, .. } = next(transport).await {
            return upgrade.await;
        }
    }
}

fn dial(
    transport: &mut Transport,
    address: Multiaddr,
) -> BoxFuture<'static, std::io::Result<(PeerId, StreamMuxerBox)>> {
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    transport.dial(address, options).unwrap().boxed()
}

/// Connects the two, and lets each send to the other on several streams at once.
async fn talk(
    make_listener: fn(&Keypair) -> Transport,
    make_dialer: fn(&Keypair) -> Transport,
    address: &str,
) {
    let (listener_key, dialer_key) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let mut listener = make_listener(&listener_key);
    let address = listen(&mut listener, address).await;
    let mut dialer = make_dialer(&dialer_key);
    let mut dialling = dial(&mut dialer, address);
    let (done, mut reports) = mpsc::channel(2);
    let mut sides = JoinSet::new();
    let accepted = done.clone();
    sides.spawn(async move {
        let (peer, muxer) = accept(&mut listener).await.unwrap();
        assert_eq!(peer, dialer_key.public().to_peer_id());
        // The transports are polled on: QUIC needs it.
        tokio::join!(drive(listener), Side::new(muxer, accepted));
    });
    sides.spawn(async move {
        let (peer, muxer) = poll_fn(|cx| {
            let _ = Pin::new(&mut dialer).poll(cx);
            dialling.poll_unpin(cx)
        })
        .await
        .unwrap();
        assert_eq!(peer, listener_key.public().to_peer_id());
        tokio::join!(drive(dialer), Side::new(muxer, done));
    });
    for _ in 0..2 {
        let report = tokio::select! {
            report = timeout(GUARD, reports.recv()) => report.expect("the talk does not end"),
            Some(ended) = sides.join_next() => panic!("{ended:?}"),
        };
        report.unwrap();
    }
}

async fn drive(mut transport: Transport) {
    loop {
        next(&mut transport).await;
    }
}

/// One side of a connection: echoes what it gets, and checks the echo of what it sends.
struct Side {
    muxer: StreamMuxerBox,
    opened: usize,
    echoes: FuturesUnordered<BoxFuture<'static, ()>>,
    loads: FuturesUnordered<BoxFuture<'static, ()>>,
    done: Option<mpsc::Sender<()>>,
}

impl Side {
    fn new(muxer: StreamMuxerBox, done: mpsc::Sender<()>) -> Self {
        Self {
            muxer,
            opened: 0,
            echoes: FuturesUnordered::new(),
            loads: FuturesUnordered::new(),
            done: Some(done),
        }
    }
}

impl Future for Side {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        loop {
            while let Poll::Ready(Some(())) = this.echoes.poll_next_unpin(cx) {}
            while let Poll::Ready(Some(())) = this.loads.poll_next_unpin(cx) {}
            if this.opened == STREAMS
                && this.loads.is_empty()
                && let Some(done) = this.done.take()
            {
                done.try_send(()).unwrap();
            }
            if let Poll::Ready(Err(error)) = this.muxer.poll_unpin(cx) {
                panic!("{error}");
            }
            let mut moved = false;
            if this.opened < STREAMS
                && let Poll::Ready(stream) = this.muxer.poll_outbound_unpin(cx)
            {
                this.opened += 1;
                this.loads.push(load(stream.unwrap(), this.opened).boxed());
                moved = true;
            }
            if let Poll::Ready(stream) = this.muxer.poll_inbound_unpin(cx) {
                this.echoes.push(echo(stream.unwrap()).boxed());
                moved = true;
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }
}

async fn echo(stream: SubstreamBox) {
    let (mut from, mut to) = stream.split();
    futures::io::copy(&mut from, &mut to).await.unwrap();
    to.close().await.unwrap();
}

async fn load(stream: SubstreamBox, seed: usize) {
    let sent: Vec<u8> = (0..LOAD).map(|at| ((at * seed) >> 3) as u8).collect();
    let (mut from, mut to) = stream.split();
    let write = async {
        to.write_all(&sent).await.unwrap();
        to.close().await.unwrap();
    };
    let mut got = Vec::new();
    let (_, read) = futures::join!(write, from.read_to_end(&mut got));
    read.unwrap();
    assert!(got == sent, "{} bytes came back", got.len());
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

#[tokio::test]
async fn two_of_ours_talk_over_tcp() {
    talk(ours, ours, TCP).await;
}

#[tokio::test]
async fn two_of_ours_talk_over_quic() {
    talk(ours, ours, QUIC).await;
}

#[tokio::test]
async fn the_stock_stack_dials_us_with_tls() {
    talk(ours, stock_tls, TCP).await;
}

#[tokio::test]
async fn we_dial_the_stock_stack_with_tls() {
    talk(stock_tls, ours, TCP).await;
}

#[tokio::test]
async fn the_stock_stack_dials_us_with_noise() {
    talk(ours, stock_noise, TCP).await;
}

#[tokio::test]
async fn we_fall_back_to_noise_where_there_is_no_tls() {
    talk(stock_noise, ours, TCP).await;
}

#[tokio::test]
async fn the_stock_stack_dials_us_over_quic() {
    talk(ours, stock_quic, QUIC).await;
}

#[tokio::test]
async fn we_dial_the_stock_stack_over_quic() {
    talk(stock_quic, ours, QUIC).await;
}

/// What a stranger may send first, and whether it then waits or hangs up.
fn garbage() -> Vec<Vec<u8>> {
    let select_tls = b"\x13/multistream/1.0.0\n\x0b/tls/1.0.0\n";
    let select_noise = b"\x13/multistream/1.0.0\n\x07/noise\n";
    let record = |kind: u8, len: u16, body: &[u8]| {
        let len = len.to_be_bytes();
        [&select_tls[..], &[kind, 3, 3, len[0], len[1]], body].concat()
    };
    vec![
        vec![0xff; 70_000],
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"\x13/multistream/1.0.0\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        record(22, 0xffff, &[1; 70_000]),
        record(22, 4, &[1, 0xff, 0xff, 0xff]),
        record(23, 100, &[0; 100]),
        record(21, 2, &[2, 40]),
        record(99, 10, &[9; 10]),
        [&select_noise[..], &[0xff; 70_000]].concat(),
        [&select_noise[..], &[0, 32], &[7; 32]].concat(),
    ]
}

#[tokio::test]
async fn garbage_in_a_handshake_ends_that_connection_and_no_other() {
    let key = Keypair::generate_ed25519();
    let mut listener = ours(&key);
    let address = listen(&mut listener, TCP).await;
    let port = address
        .to_string()
        .rsplit('/')
        .next()
        .unwrap()
        .parse::<u16>()
        .unwrap();
    for bytes in garbage() {
        let mut stranger = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // It may be hung up on before it has said everything.
        let _ = stranger.write_all(&bytes).await;
        let _ = stranger.shutdown().await;
        let refused = timeout(GUARD, accept(&mut listener))
            .await
            .expect("the handshake ends");
        assert!(refused.is_err(), "{:?}", &bytes[..bytes.len().min(40)]);
        let mut rest = Vec::new();
        let _ = timeout(GUARD, stranger.read_to_end(&mut rest))
            .await
            .expect("the stranger is hung up on");
    }
    let mut dialer = ours(&Keypair::generate_ed25519());
    let dialling = dial(&mut dialer, address);
    let stays = async {
        let (_, mut muxer) = dialling.await.unwrap();
        poll_fn(|cx| muxer.poll_unpin(cx)).await
    };
    tokio::select! {
        accepted = timeout(GUARD, accept(&mut listener)) => accepted.unwrap().unwrap(),
        ended = stays => panic!("{ended:?}"),
    };
}
