//! TLS 1.3 or, with a peer that has none, Noise.
use std::array;

use futures::{
    AsyncRead, AsyncWrite, FutureExt, TryFutureExt,
    future::{BoxFuture, Either},
};
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p_identity::{Keypair, PeerId};
use libp2p_noise as noise;

use crate::{buffered::Buffered, tls, watched::Watched};

/// The name of the TLS handshake on the wire.
const TLS: &str = "/tls/1.0.0";
/// The name of the Noise handshake on the wire.
const NOISE: &str = "/noise";

/// Why the transports cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// TLS does not accept the node's key.
    #[error("no TLS certificate can be made for this key: {0}")]
    Tls(#[from] tls::KeyError),
    /// Noise does not accept the node's key.
    #[error("no Noise identity can be made for this key: {0}")]
    Noise(#[from] noise::Error),
}

/// Why a connection was not secured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecurityError {
    #[error("TLS: {0}")]
    Tls(#[from] tls::HandshakeError),
    #[error("Noise: {0}")]
    Noise(#[from] noise::Error),
}

/// Proves who we are, learns who the peer is, and encrypts.
#[derive(Clone)]
pub(crate) struct Security {
    tls: tls::Handshake,
    noise: noise::Config,
}

/// What lies below the encryption.
type Socket<C> = Buffered<Watched<C>>;

/// What is written to it arrives encrypted at a peer that is known.
pub(crate) type Secured<C> = Either<tls::Stream<Socket<C>>, noise::Output<Socket<C>>>;

impl Security {
    pub(crate) fn new(key: &Keypair) -> Result<Self, BuildError> {
        Ok(Self {
            tls: tls::Handshake::new(key)?,
            noise: noise::Config::new(key)?,
        })
    }
}

impl UpgradeInfo for Security {
    type Info = &'static str;
    type InfoIter = array::IntoIter<&'static str, 2>;

    /// TLS first: its ciphers run in hardware, and its records are read without another copy.
    fn protocol_info(&self) -> Self::InfoIter {
        [TLS, NOISE].into_iter()
    }
}

impl<C> InboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = SecurityError;
    type Future = BoxFuture<'static, Result<Self::Output, SecurityError>>;

    fn upgrade_inbound(self, socket: C, chosen: &'static str) -> Self::Future {
        let socket = Buffered::new(Watched::new(socket));
        if chosen == TLS {
            async move { Ok(tls(self.tls.accept(socket).await?)) }.boxed()
        } else {
            self.noise
                .upgrade_inbound(socket, chosen)
                .map_ok(noise)
                .err_into()
                .boxed()
        }
    }
}

impl<C> OutboundConnectionUpgrade<C> for Security
where
    C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Output = (PeerId, Secured<C>);
    type Error = SecurityError;
    type Future = BoxFuture<'static, Result<Self::Output, SecurityError>>;

    fn upgrade_outbound(self, socket: C, chosen: &'static str) -> Self::Future {
        let socket = Buffered::new(Watched::new(socket));
        if chosen == TLS {
            async move { Ok(tls(self.tls.connect(socket).await?)) }.boxed()
        } else {
            self.noise
                .upgrade_outbound(socket, chosen)
                .map_ok(noise)
                .err_into()
                .boxed()
        }
    }
}

fn tls<C>((peer, stream): (PeerId, tls::Stream<Socket<C>>)) -> (PeerId, Secured<C>) {
    (peer, Either::Left(stream))
}

fn noise<C>((peer, stream): (PeerId, noise::Output<Socket<C>>)) -> (PeerId, Secured<C>) {
    (peer, Either::Right(stream))
}
