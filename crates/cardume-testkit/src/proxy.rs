//! A proxy with TLS and a certificate of its own, as an operator puts one before a port that speaks plain HTTP.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    },
};

/// The proxy; it ends when this is dropped.
pub struct Proxy {
    authority: PathBuf,
    port: u16,
    _dir: tempfile::TempDir,
    _stop: oneshot::Sender<()>,
}

impl Proxy {
    /// Starts one before `behind`, on a free port.
    ///
    /// # Errors
    /// What the system says.
    pub fn before(behind: SocketAddr) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (authority, tls) = certified(dir.path())?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new().name("proxy".into()).spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    () = accept(listener, tls, behind) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self {
            authority,
            port,
            _dir: dir,
            _stop: stop,
        })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The file with its certificate, to be trusted.
    pub fn authority(&self) -> &Path {
        &self.authority
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, behind: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        tokio::spawn(async move {
            // A client that does not like the certificate goes away in the middle.
            let (mut front, mut back) = (tls.accept(stream).await?, TcpStream::connect(behind).await?);
            copy_bidirectional(&mut front, &mut back).await
        });
    }
}

/// Makes a certificate of this host, whose file it puts into `dir`, and what takes connections with it.
pub(crate) fn certified(dir: &Path) -> anyhow::Result<(PathBuf, TlsAcceptor)> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    let authority = dir.join("ca.pem");
    std::fs::write(&authority, made.cert.pem())?;
    let key = PrivatePkcs8KeyDer::from(made.key_pair.serialize_der());
    let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
    let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
    let tls = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&tokio_rustls::rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key.into())?;
    Ok((authority, TlsAcceptor::from(Arc::new(tls))))
}
