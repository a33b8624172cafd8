//! The TLS 1.3 handshake of libp2p, with the cipher that this machine's processor is good at.
//!
//! libp2p's own implementation asks for ChaCha20 first, and a rustls server takes what its client asks for
//! first. Where the processor has instructions for AES, AES-GCM costs a third of it.
mod certificate;
mod ciphers;

use std::{io, net::Ipv4Addr, sync::Arc};

use futures::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsAcceptor, TlsConnector};
use libp2p_identity::{Keypair, PeerId};
use libp2p_tls::certificate as libp2p;
use rustls::{
    ClientConfig, CommonState, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, ServerName},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use self::certificate::Verifier;

/// Encrypts what is written, and decrypts what is read.
pub(crate) type Stream<C> = futures_rustls::TlsStream<C>;

/// The only application that a libp2p certificate is good for.
const ALPN: &[u8] = b"libp2p";
/// Encrypted bytes that wait for the socket; larger writes of the muxer go out in one call.
const WRITE_BUFFER: usize = 256 * 1024;

/// Why a key gives no certificate.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key does not sign.
    #[error(transparent)]
    Certificate(#[from] libp2p::GenError),
    /// The certificate does not fit the TLS library.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the peer sent no certificate that says who it is")]
    Nameless,
}

/// Handshakes of one node, as a client and as a server.
#[derive(Clone)]
pub(crate) struct Handshake {
    client: TlsConnector,
    server: TlsAcceptor,
}

impl Handshake {
    /// Makes one certificate, which lasts as long as the process.
    pub(crate) fn new(key: &Keypair) -> Result<Self, KeyError> {
        let (client, server) = configurations(key)?;
        Ok(Self {
            client: Arc::new(client).into(),
            server: Arc::new(server).into(),
        })
    }

    /// Answers a handshake.
    pub(crate) async fn accept<C>(self, socket: C) -> Result<(PeerId, Stream<C>), HandshakeError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stream = self.server.accept(socket).await?;
        let session = stream.get_mut().1;
        session.set_buffer_limit(Some(WRITE_BUFFER));
        let peer = peer(session)?;
        Ok((peer, stream.into()))
    }

    /// Begins a handshake.
    pub(crate) async fn connect<C>(self, socket: C) -> Result<(PeerId, Stream<C>), HandshakeError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        // With an address for a name the extension that carries names is not sent, as the specification wants.
        let nobody = ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED));
        let mut stream = self.client.connect(nobody, socket).await?;
        let session = stream.get_mut().1;
        session.set_buffer_limit(Some(WRITE_BUFFER));
        let peer = peer(session)?;
        Ok((peer, stream.into()))
    }
}

/// What to say to a web server when nobody is to be believed: handshakes fail, for want of an authority.
pub(crate) fn nobody() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder
        .with_protocol_versions(&[&TLS13])
        .expect("the provider knows TLS 1.3");
    Arc::new(
        builder
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth(),
    )
}

/// Makes the calling thread ready for handshakes: the random numbers of TLS come from a generator of each thread's own,
/// and gathering its seed takes some 30 ms of processor time, which the first handshake would else wait for.
pub fn warm_up() {
    // A generator that fails now fails the handshake later, which tells of it.
    let _ = aws_lc_rs::default_provider().secure_random.fill(&mut [0]);
}

/// What a client and a server of this node say in a handshake, on TCP as on QUIC; with a certificate of their own.
pub(crate) fn configurations(key: &Keypair) -> Result<(ClientConfig, ServerConfig), KeyError> {
    let (certificate, secret) = libp2p::generate(key)?;
    let secret = aws_lc_rs::sign::any_ecdsa_type(&secret)?;
    let identity = Arc::new(SingleCertAndKey::from(CertifiedKey::new(
        vec![certificate],
        secret,
    )));
    let provider = Arc::new(CryptoProvider {
        cipher_suites: ciphers::by_speed(),
        ..aws_lc_rs::default_provider()
    });
    let verifier = Arc::new(Verifier(provider.signature_verification_algorithms));

    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_cert_resolver(identity.clone());
    client.alpn_protocols = vec![ALPN.to_vec()];
    // Sessions are long, and all peers have the same (empty) name to remember them by.
    client.resumption = Resumption::disabled();

    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(identity);
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.ignore_client_order = true;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok((client, server))
}

/// Who the other side has proven to be.
fn peer(session: &CommonState) -> Result<PeerId, HandshakeError> {
    peer_of(session.peer_certificates().unwrap_or_default())
}

/// Whose certificates these are, which a handshake has accepted.
pub(crate) fn peer_of(certificates: &[CertificateDer<'_>]) -> Result<PeerId, HandshakeError> {
    match certificates {
        [certificate] => certificate::peer(certificate).ok_or(HandshakeError::Nameless),
        _ => Err(HandshakeError::Nameless),
    }
}

#[cfg(test)]
mod tests {
    use libp2p_core::upgrade::OutboundConnectionUpgrade as _;
    use rustls::CipherSuite;
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;

    fn pipe() -> (
        impl AsyncRead + AsyncWrite + Send + Unpin,
        impl AsyncRead + AsyncWrite + Send + Unpin,
    ) {
        let (a, b) = tokio::io::duplex(64 * 1024);
        (a.compat(), b.compat())
    }

    fn first() -> CipherSuite {
        ciphers::by_speed()[0].suite()
    }

    #[tokio::test]
    async fn two_of_ours_take_the_fastest_cipher_and_know_each_other() {
        let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (one, other) = pipe();
        let (accepted, connected) = futures::join!(
            Handshake::new(&a).unwrap().accept(one),
            Handshake::new(&b).unwrap().connect(other)
        );
        let ((client, accepted), (server, _)) = (accepted.unwrap(), connected.unwrap());
        assert_eq!(
            (client, server),
            (b.public().to_peer_id(), a.public().to_peer_id())
        );
        assert_eq!(
            accepted.get_ref().1.negotiated_cipher_suite().unwrap().suite(),
            first()
        );
    }

    /// What whoever has `key` says in a handshake, with the certificate of `other`.
    fn thief(key: &Keypair, other: &Keypair) -> (ClientConfig, ServerConfig) {
        let (mut client, mut server) = configurations(key).unwrap();
        let ((_, secret), (certificate, _)) =
            (libp2p::generate(key).unwrap(), libp2p::generate(other).unwrap());
        let secret = aws_lc_rs::sign::any_ecdsa_type(&secret).unwrap();
        let identity = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], secret));
        let identity = Arc::new(identity);
        (client.client_auth_cert_resolver, server.cert_resolver) = (identity.clone(), identity);
        (client, server)
    }

    #[tokio::test]
    async fn a_certificate_is_of_no_use_without_its_key() {
        let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let honest = Handshake::new(&a).unwrap();
        let (client, server) = thief(&b, &a);
        let thief = Handshake {
            client: Arc::new(client).into(),
            server: Arc::new(server).into(),
        };
        let (one, other) = pipe();
        let (accepted, _) = futures::join!(honest.clone().accept(one), thief.clone().connect(other));
        accepted.map(|(peer, _)| peer).unwrap_err();
        let (one, other) = pipe();
        let (_, connected) = futures::join!(thief.accept(one), honest.connect(other));
        connected.map(|(peer, _)| peer).unwrap_err();
    }

    #[tokio::test]
    async fn whoever_dials_us_gets_the_cipher_that_is_fast_here() {
        let (a, b) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (one, other) = pipe();
        let stock = libp2p_tls::Config::new(&b).unwrap();
        let (accepted, connected) = futures::join!(
            Handshake::new(&a).unwrap().accept(one),
            stock.upgrade_outbound(other, "/tls/1.0.0")
        );
        connected.unwrap();
        let (_, accepted) = accepted.unwrap();
        assert_eq!(
            accepted.get_ref().1.negotiated_cipher_suite().unwrap().suite(),
            first()
        );
    }
}
