//! Two transports that connect, and talk on several streams at once.
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
};
use libp2p_identity::{Keypair, PeerId};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

pub(crate) type Transport = Boxed<(PeerId, StreamMuxerBox)>;

/// Streams that each side opens.
const STREAMS: usize = 4;
/// Bytes sent on each stream, and echoed: more than any window, no multiple of any frame.
const LOAD: usize = 300_001;
/// Far more than any of these tests takes.
pub(crate) const GUARD: Duration = Duration::from_secs(60);

pub(crate) fn ours(key: &Keypair) -> Transport {
    let timeouts = cardume_transport::Timeouts {
        dial: GUARD,
        accept: GUARD,
    };
    cardume_transport::build(key, timeouts).unwrap()
}

/// Listens, and tells where.
pub(crate) async fn listen(transport: &mut Transport, address: &str) -> Multiaddr {
    transport
        .listen_on(ListenerId::next(), address.parse().unwrap())
        .unwrap();
    match next(transport).await {
        TransportEvent::NewAddress { listen_addr, .. } => listen_addr,
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn next(
    transport: &mut Transport,
) -> TransportEvent<BoxFuture<'static, std::io::Result<(PeerId, StreamMuxerBox)>>, std::io::Error> {
    poll_fn(|cx| Pin::new(&mut *transport).poll(cx))
        .await
        .map_upgrade(|upgrade| upgrade.boxed())
}

/// Waits for one connection, and secures it.
pub(crate) async fn accept(transport: &mut Transport) -> std::io::Result<(PeerId, StreamMuxerBox)> {
    loop {
        if let TransportEvent::Incoming { upgrade, .. } = next(transport).await {
            return upgrade.await;
        }
    }
}

pub(crate) fn dial(
    transport: &mut Transport,
    address: Multiaddr,
) -> BoxFuture<'static, std::io::Result<(PeerId, StreamMuxerBox)>> {
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    transport.dial(address, options).unwrap().boxed()
}

/// Connects the two, and lets each send to the other on several streams at once; the dialer dials what `way` makes of the
/// address that is listened on.
pub(crate) async fn talk_through(
    make_listener: impl FnOnce(&Keypair) -> Transport,
    make_dialer: impl FnOnce(&Keypair) -> Transport,
    address: &str,
    way: impl FnOnce(Multiaddr) -> Multiaddr,
) {
    let (listener_key, dialer_key) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let mut listener = make_listener(&listener_key);
    let address = way(listen(&mut listener, address).await);
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

/// Makes a connection, and keeps it until it ends.
pub(crate) async fn stay(
    dialling: BoxFuture<'static, std::io::Result<(PeerId, StreamMuxerBox)>>,
) -> std::io::Error {
    let (_, mut muxer) = dialling.await.unwrap();
    poll_fn(|cx| muxer.poll_unpin(cx)).await.unwrap_err()
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
