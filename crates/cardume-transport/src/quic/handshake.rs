//! From the first packet to a peer that is known.
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use libp2p_identity::PeerId;
use quinn::{Connecting, ConnectionError, Incoming, ServerConfig, TransportErrorCode};
use rustls::pki_types::CertificateDer;

use super::{Error, connection::Connection};
use crate::tls::{self, HandshakeError};

/// Whom we are connected to, and how.
pub(super) type Connected = (PeerId, Connection);

/// A peer that has begun, and whom nobody has answered yet. Dropped, it is refused, and has cost no handshake.
pub(super) struct Knock {
    pub(super) incoming: Incoming,
    pub(super) config: Arc<ServerConfig>,
}

impl Knock {
    pub(super) fn from(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Answers, and waits for the end of the handshake; with anybody, or with `expected`.
    pub(super) async fn answer(self, expected: Option<PeerId>) -> Result<Connected, Error> {
        let connecting = self.incoming.accept_with(self.config).map_err(told)?;
        finish(connecting, expected).await
    }
}

/// Waits for the end of a handshake; with anybody, or with `expected`.
pub(super) async fn finish(connecting: Connecting, expected: Option<PeerId>) -> Result<Connected, Error> {
    let connection = connecting.await.map_err(told)?;
    let found = peer(&connection)?;
    if let Some(expected) = expected
        && expected != found
    {
        return Err(Error::OtherPeer {
            expected: Box::new(expected),
            found: Box::new(found),
        });
    }
    Ok((found, Connection::new(connection)))
}

/// The error in words of the standard library, in which a peer that refuses resets the connection, as over TCP.
fn told(error: ConnectionError) -> io::Error {
    match &error {
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            io::Error::new(io::ErrorKind::ConnectionReset, error)
        }
        _ => error.into(),
    }
}

fn peer(connection: &quinn::Connection) -> Result<PeerId, HandshakeError> {
    let certificates = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    tls::peer_of(&certificates.unwrap_or_default())
}

/// How many handshakes peers have under way with us.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<AtomicUsize>);

/// One of them; free again when dropped.
pub(super) struct Place(Arc<AtomicUsize>);

impl Places {
    pub(super) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> Place {
        self.0.fetch_add(1, Ordering::Relaxed);
        Place(self.0.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
