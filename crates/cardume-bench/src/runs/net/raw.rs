//! What the crypto alone allows: one stream of TLS, and one of QUIC.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Context;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use super::{Brings, CHUNK, certificate, parts};

/// Bytes read at once.
const READ: usize = 256 << 10;

pub(super) struct Rustls(TlsStream<TcpStream>);

/// Connects over TCP and TLS; the other end sends as much as it is asked for.
pub(super) async fn rustls() -> anyhow::Result<Rustls> {
    let (server, client) = configurations(&[])?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await?;
        let (reader, writer) = tokio::io::split(stream);
        give(reader, writer).await
    });
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connector = TlsConnector::from(Arc::new(client));
    Ok(Rustls(connector.connect("localhost".try_into()?, stream).await?))
}

impl Brings for Rustls {
    async fn bring(self, bytes: u64) -> anyhow::Result<u64> {
        let (reader, writer) = tokio::io::split(self.0);
        take(reader, writer, bytes).await
    }
}

pub(super) struct Quinn {
    connection: quinn::Connection,
    _endpoint: quinn::Endpoint,
}

/// Connects over QUIC; the other end sends as much as it is asked for.
pub(super) async fn quinn() -> anyhow::Result<Quinn> {
    let (server, client) = configurations(&[b"bench"])?;
    let any = (Ipv4Addr::LOCALHOST, 0).into();
    let server = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server)?));
    let server = quinn::Endpoint::server(server, any)?;
    let address = server.local_addr()?;
    tokio::spawn(async move {
        let connection = server.accept().await.context("a connection")?.await?;
        let (writer, reader) = connection.accept_bi().await?;
        give(reader, writer).await?;
        connection.closed().await;
        anyhow::Ok(())
    });
    let mut endpoint = quinn::Endpoint::client(any)?;
    let client = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(client)?));
    endpoint.set_default_client_config(client);
    let connection = endpoint.connect(address, "localhost")?.await?;
    Ok(Quinn {
        connection,
        _endpoint: endpoint,
    })
}

impl Brings for Quinn {
    async fn bring(self, bytes: u64) -> anyhow::Result<u64> {
        let (writer, reader) = self.connection.open_bi().await?;
        take(reader, writer, bytes).await
    }
}

fn configurations(protocols: &[&[u8]]) -> anyhow::Result<(ServerConfig, ClientConfig)> {
    let (certificate, key) = certificate()?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone())?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let protocols: Vec<Vec<u8>> = protocols.iter().map(|name| name.to_vec()).collect();
    server.alpn_protocols.clone_from(&protocols);
    client.alpn_protocols = protocols;
    Ok((server, client))
}

/// Reads how many bytes are wanted, and sends them.
async fn give(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) -> anyhow::Result<()> {
    let piece = vec![7; CHUNK];
    for part in parts(reader.read_u64().await?) {
        writer.write_all(&piece[..usize::try_from(part)?]).await?;
    }
    writer.shutdown().await?;
    Ok(())
}

async fn take(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    bytes: u64,
) -> anyhow::Result<u64> {
    writer.write_u64(bytes).await?;
    writer.flush().await?;
    let (mut buffer, mut brought) = (vec![0; READ], 0);
    while brought < bytes {
        match reader.read(&mut buffer).await? {
            0 => break,
            length => brought += length as u64,
        }
    }
    Ok(brought)
}
