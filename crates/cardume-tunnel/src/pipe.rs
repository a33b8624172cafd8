//! What passes between a stream with a peer and a socket of this host.
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use libp2p_swarm::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes, split},
    net::{TcpStream, UdpSocket, UnixStream},
    time::{Instant, timeout},
};
use tokio_util::{
    compat::Compat,
    either::Either,
    io::{InspectReader, InspectWriter},
};

use crate::{
    Place,
    board::Tally,
    queue::Queue,
    wire::{MAX_DATAGRAM, datagram},
};

/// A stream with a peer.
pub(crate) type Line = Compat<Stream>;
/// A connection within this host, or from it to one that the operator has named.
pub(crate) type Local = Either<TcpStream, UnixStream>;

/// Bytes that wait in each direction: what two hosts have under way that are 20 ms apart at 25 Mbit/s.
const BUFFER: usize = 64 * 1024;
/// Time for a service of this host to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a service.
pub(crate) async fn connect(place: &Place) -> io::Result<Local> {
    let connecting = async {
        Ok(match place {
            Place::Socket(socket) => {
                let stream = TcpStream::connect(socket).await?;
                prepare(&stream);
                Either::Left(stream)
            }
            Place::Unix(path) => Either::Right(UnixStream::connect(path).await?),
        })
    };
    timeout(CONNECT_TIMEOUT, connecting).await?
}

/// Sends what is small at once, and notices in the end when the other host has vanished.
pub(crate) fn prepare(stream: &TcpStream) {
    // What the system does not want is done without.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_socket_keepalive(stream, true);
}

/// Passes bytes on both ways until both sides have ended; what one side ends, the other sees ended.
pub(crate) async fn bytes(
    mut line: impl AsyncRead + AsyncWrite + Unpin,
    local: Local,
    tally: &Tally,
) -> io::Result<()> {
    let local = InspectWriter::new(local, |bytes| tally.received(bytes.len()));
    let mut local = InspectReader::new(local, |bytes| tally.sent(bytes.len()));
    copy_bidirectional_with_sizes(&mut line, &mut local, BUFFER, BUFFER)
        .await
        .map(drop)
}

/// Passes datagrams on both ways: those of `outgoing` to the peer, and the peer's to `incoming`. Until the peer ends it, or none
/// has passed for `idle`.
pub(crate) async fn datagrams<F: Future<Output = io::Result<()>>>(
    line: impl AsyncRead + AsyncWrite + Unpin,
    outgoing: &Queue,
    incoming: impl Fn(Bytes) -> F,
    tally: &Tally,
    idle: Duration,
) -> io::Result<()> {
    let (mut from_peer, mut to_peer) = split(line);
    let began = Instant::now();
    let active = AtomicU64::new(0);
    let passed = || active.store(began.elapsed().as_millis() as u64, Ordering::Relaxed);
    let sending = async {
        loop {
            let batch = outgoing.take().await;
            passed();
            tally.sent(batch.len());
            to_peer.write_all(&batch).await?;
            to_peer.flush().await?;
        }
    };
    let receiving = async {
        while let Some(datagram) = datagram(&mut from_peer).await? {
            passed();
            tally.received(datagram.len());
            // As on any line: a socket that does not take it loses it.
            if let Err(error) = incoming(datagram).await {
                tracing::debug!(%error, "a datagram is lost");
                tally.lost(1);
            }
        }
        Ok(())
    };
    let forgetting = async {
        loop {
            let last = began + Duration::from_millis(active.load(Ordering::Relaxed));
            if last.elapsed() >= idle {
                return;
            }
            tokio::time::sleep_until(last + idle).await;
        }
    };
    tokio::select! {
        ended = sending => ended,
        ended = receiving => ended,
        () = forgetting => Ok(()),
    }
}

/// A socket that speaks with a service alone.
pub(crate) async fn udp_to(service: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match service {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(service).await?;
    Ok(socket)
}

/// Reads datagrams of a socket that speaks with one other alone.
pub(crate) async fn read_all(socket: &UdpSocket, to: &Queue, tally: &Tally) -> io::Result<()> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => tally.lost(to.push(Bytes::copy_from_slice(&buffer[..length]))),
            // The service is not there now, as its host has said; it may come back.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
}
