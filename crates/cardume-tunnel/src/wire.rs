//! What is said on a stream before the service's own bytes, and datagrams on it; see `docs/protocols/tunnel.md`.
use std::io;

use bytes::{BufMut as _, Bytes, BytesMut};
use libp2p_swarm::StreamProtocol;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{Protocol, config::is_name};

/// Bytes of a datagram: what IPv4 and its length can hold.
pub(crate) const MAX_DATAGRAM: usize = 65_507;

/// The name of the protocol in a network.
pub(crate) fn protocol(network: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/cardume/{network}/tunnel/1")).expect("it begins with a slash")
}

/// What is wanted of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) protocol: Protocol,
    pub(crate) service: String,
}

/// What the other side says to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// From now on the service's own bytes pass.
    Open,
    /// There is no such service for who asks.
    Unknown,
    /// There are as many connections as there may be.
    Busy,
    /// The service does not answer.
    Dead,
}

impl Request {
    pub(crate) async fn send(&self, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let length = u8::try_from(self.service.len()).map_err(io::Error::other)?;
        let mut out = vec![self.protocol as u8, length];
        out.extend_from_slice(self.service.as_bytes());
        io.write_all(&out).await?;
        io.flush().await
    }

    /// # Errors
    /// When it is not whole, or makes no sense.
    pub(crate) async fn receive(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let protocol = match io.read_u8().await? {
            0 => Protocol::Tcp,
            1 => Protocol::Udp,
            _ => return Err(malformed("no protocol")),
        };
        let mut name = vec![0; usize::from(io.read_u8().await?)];
        io.read_exact(&mut name).await?;
        let service = String::from_utf8(name).map_err(|_| malformed("no name"))?;
        match is_name(&service) {
            true => Ok(Self { protocol, service }),
            false => Err(malformed("no name")),
        }
    }
}

impl Answer {
    const ALL: [Self; 4] = [Self::Open, Self::Unknown, Self::Busy, Self::Dead];

    pub(crate) async fn send(self, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        io.write_all(&[self as u8]).await?;
        io.flush().await
    }

    /// # Errors
    /// When there is none, or it makes no sense.
    pub(crate) async fn receive(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let answer = Self::ALL.get(usize::from(io.read_u8().await?));
        answer.copied().ok_or_else(|| malformed("no answer"))
    }

    /// What is wrong, for whoever asked.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Open => "nothing",
            Self::Unknown => "the peer has no such service for this node",
            Self::Busy => "the peer has as many connections with it as it may",
            Self::Dead => "the service does not answer there",
        }
    }
}

/// Puts a datagram behind what is to be written.
pub(crate) fn put_datagram(out: &mut BytesMut, datagram: &[u8]) {
    let length = u16::try_from(datagram.len()).expect("a datagram has at most 65,507 bytes");
    out.put_u16(length);
    out.put_slice(datagram);
}

/// The next datagram; none at the end.
///
/// # Errors
/// When it is not whole, or larger than any is.
pub(crate) async fn datagram(io: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
    let length = match io.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > MAX_DATAGRAM {
        return Err(malformed("a datagram is too long"));
    }
    let mut datagram = vec![0; length];
    io.read_exact(&mut datagram).await?;
    Ok(Some(datagram.into()))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_received() {
        let request = Request {
            protocol: Protocol::Udp,
            service: "dns".into(),
        };
        let mut line = Vec::new();
        request.send(&mut line).await.unwrap();
        assert_eq!(line, b"\x01\x03dns");
        assert_eq!(Request::receive(&mut &line[..]).await.unwrap(), request);
        for answer in Answer::ALL {
            let mut line = Vec::new();
            answer.send(&mut line).await.unwrap();
            assert_eq!(Answer::receive(&mut &line[..]).await.unwrap(), answer);
        }
        let mut out = BytesMut::new();
        for datagram in [&b"one"[..], b"", &[7; MAX_DATAGRAM]] {
            put_datagram(&mut out, datagram);
        }
        let mut line = &out[..];
        assert_eq!(datagram(&mut line).await.unwrap().unwrap(), "one");
        assert_eq!(datagram(&mut line).await.unwrap().unwrap(), "");
        assert_eq!(datagram(&mut line).await.unwrap().unwrap().len(), MAX_DATAGRAM);
        assert_eq!(datagram(&mut line).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_an_error() {
        for line in [
            &b""[..],
            b"\x02\x03dns",
            b"\x00\x00",
            b"\x00\x03dn",
            b"\x00\x03d\nx",
            b"\x00\x02\xff\xfe",
        ] {
            assert!(Request::receive(&mut &line[..]).await.is_err(), "{line:?}");
        }
        let long = [&[65][..], &[b'a'; 65]].concat();
        let long = [&[0][..], &long].concat();
        assert!(Request::receive(&mut &long[..]).await.is_err());
        assert!(Answer::receive(&mut &b"\x04"[..]).await.is_err());
        for line in [&b"\xff\xff"[..], b"\x00\x05abc"] {
            assert!(datagram(&mut &line[..]).await.is_err(), "{line:?}");
        }
    }
}
