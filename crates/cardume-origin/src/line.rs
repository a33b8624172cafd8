//! One connection to a host.
use std::{
    future::poll_fn,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::Poll,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{Address, OriginError, host::Hosts, reach};

/// Addresses of one host that are tried.
const MAX_TRIED: usize = 4;

/// A connection, and what drives it while somebody waits for an answer.
pub(crate) struct Line {
    sender: SendRequest<String>,
    /// None when the connection has ended.
    driver: Option<BoxFuture<'static, ()>>,
    /// Whether the host is near by.
    pub(crate) is_private: bool,
}

impl Line {
    /// Connects; an address that `may_be_private` forbids is not gone to.
    pub(crate) async fn open(
        hosts: &Hosts,
        address: &Address,
        may_be_private: bool,
    ) -> Result<Self, OriginError> {
        let connected = tokio::time::timeout(hosts.connect_timeout, connect(hosts, address, may_be_private));
        connected.await.unwrap_or_else(|_| {
            Err(OriginError::Unreachable {
                host: address.authority(),
                reason: format!("no connection within {} s", hosts.connect_timeout.as_secs()),
            })
        })
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<String>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let Self { sender, driver, .. } = self;
        drive(driver, async {
            sender.ready().await?;
            sender.send_request(request).await
        })
        .await
    }

    /// The next bytes of the answer; none at its end.
    pub(crate) async fn bytes(&mut self, body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
            match drive(&mut self.driver, frame).await? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    // Trailers say nothing that is of use here.
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Whether another request may follow.
    pub(crate) fn is_open(&self) -> bool {
        self.driver.is_some() && !self.sender.is_closed()
    }
}

/// Turns the connection while `work` waits for it.
async fn drive<T>(driver: &mut Option<BoxFuture<'static, ()>>, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| {
        if let Some(turning) = driver
            && turning.poll_unpin(cx).is_ready()
        {
            *driver = None;
        }
        match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(done),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn connect(hosts: &Hosts, address: &Address, may_be_private: bool) -> Result<Line, OriginError> {
    let (stream, ip) = dial(address, may_be_private).await?;
    // Answers are long and requests short: nothing to gain from waiting to fill a packet.
    stream.set_nodelay(true).ok();
    let host = address.host();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| OriginError::Unknown {
        host: host.to_owned(),
        reason: error.to_string(),
    })?;
    let secured = TlsConnector::from(hosts.tls.clone()).connect(name, stream).await;
    let stream = secured.map_err(|error| failed_tls(address, &error))?;
    let (sender, connection) = http1::Builder::new()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(address, &error))?;
    Ok(Line {
        sender,
        // How it ended is told to whoever waits for an answer on it.
        driver: Some(connection.map(|_| ()).boxed()),
        is_private: reach::is_private(ip),
    })
}

async fn dial(address: &Address, may_be_private: bool) -> Result<(TcpStream, IpAddr), OriginError> {
    let host = address.host();
    let found = tokio::net::lookup_host((host, address.port())).await;
    let found: Vec<SocketAddr> = found
        .map_err(|error| OriginError::Unknown {
            host: host.to_owned(),
            reason: error.to_string(),
        })?
        .collect();
    let mut last = OriginError::Unknown {
        host: host.to_owned(),
        reason: "it has no address".into(),
    };
    for at in found.into_iter().take(MAX_TRIED) {
        if let Some(reason) = reach::refusal(at.ip(), may_be_private) {
            last = OriginError::Refused {
                host: host.to_owned(),
                address: at.ip().to_string(),
                reason,
            };
            continue;
        }
        match TcpStream::connect(at).await {
            Ok(stream) => return Ok((stream, at.ip())),
            Err(error) => {
                last = OriginError::Unreachable {
                    host: address.authority(),
                    reason: error.to_string(),
                }
            }
        }
    }
    Err(last)
}

fn failed_tls(address: &Address, error: &std::io::Error) -> OriginError {
    let of_tls = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<rustls::Error>());
    match of_tls {
        Some(rustls::Error::InvalidCertificate(reason)) => OriginError::Certificate {
            host: address.authority(),
            reason: reason.to_string(),
        },
        _ => OriginError::Unreachable {
            host: address.authority(),
            reason: format!("no TLS 1.3: {error}"),
        },
    }
}

/// What is told of a connection that broke.
pub(crate) fn broken(address: &Address, error: &hyper::Error) -> OriginError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    OriginError::Broken {
        host: address.authority(),
        reason: format!("{error}{}", cause.unwrap_or_default()),
    }
}
