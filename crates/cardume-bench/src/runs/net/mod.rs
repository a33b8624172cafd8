//! The network path alone: bytes from memory to memory, no disk, no hash.
//!
//! Both ends run in this process, on a runtime with two threads, and so does what they are held against.

mod raw;
mod swarm;

use std::{net::Ipv4Addr, time::Instant};

use anyhow::Context;
use tokio::runtime::Runtime;

use super::Setting;
use crate::{figures::Measured, watch::Watch};

/// Bytes given out or taken in at once, the size of a piece.
const CHUNK: usize = 1 << 20;

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// TLS 1.3 on TCP, and nothing else.
    Rustls,
    /// One QUIC stream, and nothing else.
    Quinn,
    /// Requests and answers of two nodes on TCP.
    Tcp,
    /// Requests and answers of two nodes on QUIC.
    Quic,
}

/// Moves as many bytes as the content has.
pub(super) fn run(setting: &Setting<'_>, path: Path) -> anyhow::Result<Measured> {
    let bytes = setting.content.shape().bytes();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match path {
        Path::Rustls => timed(&runtime, bytes, raw::rustls()),
        Path::Quinn => timed(&runtime, bytes, raw::quinn()),
        Path::Tcp => timed(
            &runtime,
            bytes,
            swarm::connected(&format!("/ip4/{}/tcp/0", Ipv4Addr::LOCALHOST)),
        ),
        Path::Quic => {
            let address = format!("/ip4/{}/udp/0/quic-v1", Ipv4Addr::LOCALHOST);
            timed(&runtime, bytes, swarm::connected(&address))
        }
    }
}

/// A connection, ready to bring bytes.
trait Brings {
    /// Brings so many bytes, and says how many came.
    fn bring(self, bytes: u64) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

fn timed<B: Brings + Send + 'static>(
    runtime: &Runtime,
    bytes: u64,
    connect: impl Future<Output = anyhow::Result<B>>,
) -> anyhow::Result<Measured> {
    let connection = runtime.block_on(connect)?;
    let watch = Watch::begin(&[], &[std::process::id()])?;
    let began = Instant::now();
    let brought = runtime.block_on(runtime.spawn(connection.bring(bytes)))??;
    let seconds = began.elapsed().as_secs_f64();
    let (_, used) = watch.end()?;
    anyhow::ensure!(brought == bytes, "{brought} of {bytes} bytes came");
    Ok(Measured {
        bytes,
        seconds,
        fetcher: Some(used),
        ..Measured::default()
    })
}

/// Fewer bytes than are left are never asked for.
fn parts(bytes: u64) -> impl Iterator<Item = u64> {
    let chunk = CHUNK as u64;
    (0..bytes.div_ceil(chunk)).map(move |index| chunk.min(bytes - index * chunk))
}

/// A certificate for loopback, and its key.
fn certificate() -> anyhow::Result<(
    rustls::pki_types::CertificateDer<'static>,
    rustls::pki_types::PrivateKeyDer<'static>,
)> {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.key_pair.serialize_der());
    let key = key.ok().context("a private key")?;
    Ok((pair.cert.der().clone(), key))
}
