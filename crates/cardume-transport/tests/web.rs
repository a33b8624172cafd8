//! Peers behind a web server that terminates TLS, and what strangers send to a WebSocket listener.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod talk;

use std::{net::SocketAddr, sync::Arc};

use futures_rustls::rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::Keypair;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::compat::{FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};

use self::talk::{GUARD, Transport, accept, dial, listen, ours, stay, talk_through};

const NAME: &str = "node.example";
const WEB: &str = "/ip4/127.0.0.1/tcp/0/ws";

fn port(address: &Multiaddr) -> u16 {
    let ports = address.iter().filter_map(|part| match part {
        Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    ports.last().unwrap()
}

/// A web server that passes every connection on to a port; the certificate of who vouches for it.
async fn web_server() -> (TcpListener, ServerConfig, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.key_pair.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        config,
        certificate,
    )
}

fn provider() -> futures_rustls::rustls::crypto::CryptoProvider {
    futures_rustls::rustls::crypto::aws_lc_rs::default_provider()
}

async fn pass_on(listener: TcpListener, config: ServerConfig, to: SocketAddr) {
    let tls = futures_rustls::TlsAcceptor::from(Arc::new(config));
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let Ok(stream) = tls.accept(socket.compat()).await else {
            continue;
        };
        tokio::spawn(async move {
            let mut node = TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream.compat(), &mut node).await;
        });
    }
}

fn believing(certificate: Option<CertificateDer<'static>>) -> impl FnOnce(&Keypair) -> Transport {
    let mut roots = RootCertStore::empty();
    if let Some(certificate) = certificate {
        roots.add(certificate).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    move |key| {
        let timeouts = cardume_transport::Timeouts {
            dial: GUARD,
            accept: GUARD,
        };
        let options = cardume_transport::Options {
            trust: Some(Arc::new(config)),
            ..timeouts.into()
        };
        cardume_transport::build(key, options).unwrap()
    }
}

#[tokio::test]
async fn a_peer_behind_a_web_server_is_reached_by_its_name() {
    let (listener, config, certificate) = web_server().await;
    let server = listener.local_addr().unwrap().port();
    let way = |address: Multiaddr| {
        tokio::spawn(pass_on(listener, config, ([127, 0, 0, 1], port(&address)).into()));
        format!("/ip4/127.0.0.1/tcp/{server}/tls/sni/{NAME}/ws")
            .parse()
            .unwrap()
    };
    talk_through(ours, believing(Some(certificate)), WEB, way).await;
}

#[tokio::test]
async fn a_web_server_that_nobody_vouches_for_is_not_believed() {
    let (listener, config, _) = web_server().await;
    let server = listener.local_addr().unwrap();
    // It would pass on to itself; nothing gets so far.
    tokio::spawn(pass_on(listener, config, server));
    let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}/tls/sni/{NAME}/ws", server.port())
        .parse()
        .unwrap();
    let key = Keypair::generate_ed25519();
    let error = dial(&mut believing(None)(&key), address.clone())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("TLS with the web server"), "{error}");
    let error = dial(&mut ours(&key), address).await.unwrap_err();
    assert!(error.to_string().contains("TLS with the web server"), "{error}");
}

#[tokio::test]
async fn a_web_server_that_passes_nothing_on_is_named_with_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}/ws", listener.local_addr().unwrap().port());
    let answer = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let len = socket.read(&mut request).await.unwrap();
        socket
            .write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8_lossy(&request[..len]).into_owned()
    };
    let mut dialer = ours(&Keypair::generate_ed25519());
    let dialling = dial(&mut dialer, address.parse().unwrap());
    let (request, refused) = tokio::join!(answer, dialling);
    assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
    assert!(refused.unwrap_err().to_string().contains("502"));
}

#[tokio::test]
async fn strangers_at_a_web_socket_end_their_own_connection_only() {
    let key = Keypair::generate_ed25519();
    let mut listener = ours(&key);
    let address = listen(&mut listener, WEB).await;
    let upgrade = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    for bytes in [
        &[0xff; 70_000][..],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        &b"GET / HTTP/1.1\r\nX: y".repeat(1000),
        upgrade,
        &[&upgrade[..], &[0x82, 0x7f, 0xff, 0, 0, 0, 0, 0, 0, 0]].concat(),
        &[&upgrade[..], &[0x89, 0x80, 0, 0, 0, 0].repeat(1000)].concat(),
    ] {
        let mut stranger = TcpStream::connect(("127.0.0.1", port(&address))).await.unwrap();
        let _ = stranger.write_all(bytes).await;
        let _ = stranger.shutdown().await;
        let refused = timeout(GUARD, accept(&mut listener)).await.expect("it ends");
        assert!(refused.is_err(), "{:?}", &bytes[..bytes.len().min(40)]);
    }
    let mut dialer = ours(&Keypair::generate_ed25519());
    let dialling = dial(&mut dialer, address);
    tokio::select! {
        accepted = timeout(GUARD, accept(&mut listener)) => accepted.unwrap().unwrap(),
        ended = stay(dialling) => panic!("{ended:?}"),
    };
}
