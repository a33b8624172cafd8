//! TCP's listeners and dials, with the handshakes of the web on them.
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, FutureExt as _, TryFutureExt as _, future::BoxFuture};
use futures_rustls::{TlsConnector, client::TlsStream, rustls::ClientConfig};
use libp2p_core::{
    Multiaddr, Transport as Inner,
    transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};
use soketto::handshake::{self, ServerResponse, server::Response};

use super::{
    Error,
    address::{self, Web},
    frames::{Frames, Side},
};
use crate::buffered::Buffered;

/// What lies below the messages: read in large pieces, since headers of messages are small.
type Socket<C> = Buffered<futures::future::Either<TlsStream<C>, C>>;

type Upgrade<C> = BoxFuture<'static, Result<Frames<Socket<C>>, Error>>;

/// The WebSocket transport on `T`, which is TCP with names.
pub(super) struct Transport<T> {
    tcp: T,
    tls: TlsConnector,
}

impl<T> Transport<T> {
    pub(super) fn new(tcp: T, trust: Arc<ClientConfig>) -> Self {
        let tls = trust.into();
        Self { tcp, tls }
    }
}

impl<T> Inner for Transport<T>
where
    T: Inner<Error = libp2p_dns::Error<io::Error>> + Send + Unpin,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    type Output = Frames<Socket<T::Output>>;
    type Error = Error;
    type ListenerUpgrade = Upgrade<T::Output>;
    type Dial = Upgrade<T::Output>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Error>> {
        let Some(tcp) = address::parse_listen(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        self.tcp
            .listen_on(id, tcp)
            .map_err(|error| error.map(Error::from))
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.tcp.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Self::Dial, TransportError<Error>> {
        let Some(web) = address::parse(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let dialling = self.tcp.dial(web.tcp.clone(), options);
        let dialling = dialling.map_err(|error| error.map(Error::from))?;
        let tls = self.tls.clone();
        Ok(async move { ask(dialling.await?, tls, web).await }.boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Error>> {
        Pin::new(&mut self.tcp).poll(cx).map(|event| {
            let event = event.map_upgrade(|accepting| accepting.err_into().and_then(answer).boxed());
            renamed(event.map_err(Error::from))
        })
    }
}

/// The event with addresses of WebSocket instead of those of TCP.
fn renamed<U>(event: TransportEvent<U, Error>) -> TransportEvent<U, Error> {
    match event {
        TransportEvent::NewAddress {
            listener_id,
            listen_addr,
        } => TransportEvent::NewAddress {
            listener_id,
            listen_addr: address::of(listen_addr),
        },
        TransportEvent::AddressExpired {
            listener_id,
            listen_addr,
        } => TransportEvent::AddressExpired {
            listener_id,
            listen_addr: address::of(listen_addr),
        },
        TransportEvent::Incoming {
            listener_id,
            upgrade,
            local_addr,
            send_back_addr,
        } => TransportEvent::Incoming {
            listener_id,
            upgrade,
            local_addr: address::of(local_addr),
            send_back_addr: address::of(send_back_addr),
        },
        event => event,
    }
}

/// Answers a request for a WebSocket, whatever its path: a web server may have put one there.
async fn answer<C>(socket: C) -> Result<Frames<Socket<C>>, Error>
where
    C: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut server = handshake::Server::new(socket);
    let key = server.receive_request().await?.key();
    let response = Response::Accept { key, protocol: None };
    server.send_response(&response).await?;
    let socket = futures::future::Either::Right(server.into_inner());
    Ok(Frames::new(Buffered::new(socket), Side::Server, &[]))
}

/// Asks a web server for a WebSocket.
async fn ask<C>(socket: C, tls: TlsConnector, web: Web) -> Result<Frames<Socket<C>>, Error>
where
    C: AsyncRead + AsyncWrite + Send + Unpin,
{
    let socket = match web.name {
        Some(name) => futures::future::Either::Left(tls.connect(name, socket).await?),
        None => futures::future::Either::Right(socket),
    };
    let mut client = handshake::Client::new(socket, &web.host, &web.path);
    match client.handshake().await? {
        ServerResponse::Accepted { .. } => {}
        ServerResponse::Redirect { status_code, .. } | ServerResponse::Rejected { status_code } => {
            return Err(Error::Refused(status_code));
        }
    }
    // The server may have said more than its answer.
    let early = client.take_buffer();
    Ok(Frames::new(
        Buffered::new(client.into_inner()),
        Side::Client,
        &early,
    ))
}
