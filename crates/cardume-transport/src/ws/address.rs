//! Addresses of WebSocket: `/ip4/192.0.2.1/tcp/4080/ws`, `/dns/example.org/tcp/443/tls/ws`, and `/wss` for the latter.
use std::net::{IpAddr, Ipv6Addr};

use futures_rustls::pki_types::ServerName;
use libp2p_core::{Multiaddr, multiaddr::Protocol};

/// Bytes of a path in a request, at most.
const MAX_PATH: usize = 256;

/// Where a WebSocket is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Web {
    /// The web server's address, as TCP knows it.
    pub(super) tcp: Multiaddr,
    /// Who the request says that it is for.
    pub(super) host: String,
    pub(super) path: String,
    /// Whom the certificate has to be of; without TLS none is asked for.
    pub(super) name: Option<ServerName<'static>>,
}

/// Reads an address that is to be dialled, perhaps with `/p2p/` and a peer at the end; `None` when it is of another
/// transport, or says what no request can.
///
/// It may come from a stranger and goes into a request to whomever it names, so it has to be plain.
pub(super) fn parse(address: &Multiaddr) -> Option<Web> {
    let mut parts = address.iter();
    let (place, tcp) = (parts.next()?, parts.next()?);
    let Protocol::Tcp(port @ 1..) = tcp else {
        return None;
    };
    let (host, name) = match &place {
        Protocol::Ip4(ip) => (ip.to_string(), ServerName::from(IpAddr::from(*ip))),
        Protocol::Ip6(ip) => (bracketed(*ip), ServerName::from(IpAddr::from(*ip))),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
            (name.to_string(), name_of(name)?)
        }
        _ => return None,
    };
    let (path, name) = match parts.next()? {
        Protocol::Ws(path) => (path, None),
        Protocol::Wss(path) => (path, Some(name)),
        Protocol::Tls => match parts.next()? {
            Protocol::Ws(path) => (path, Some(name)),
            Protocol::Sni(other) => match parts.next()? {
                Protocol::Ws(path) => (path, Some(name_of(&other)?)),
                _ => return None,
            },
            _ => return None,
        },
        _ => return None,
    };
    let is_last = match parts.next() {
        None => true,
        Some(Protocol::P2p(_)) => parts.next().is_none(),
        Some(_) => false,
    };
    let web = Web {
        tcp: Multiaddr::empty().with(place.clone()).with(Protocol::Tcp(port)),
        host: format!("{host}:{port}"),
        path: path.into_owned(),
        name,
    };
    (is_last && is_plain(&web.path)).then_some(web)
}

/// Reads an address that is to be listened on; what is left for TCP.
pub(super) fn parse_listen(address: &Multiaddr) -> Option<Multiaddr> {
    let mut tcp = address.clone();
    match tcp.pop()? {
        Protocol::Ws(path) if path == "/" => {}
        _ => return None,
    }
    matches!(tcp.iter().last(), Some(Protocol::Tcp(_))).then_some(tcp)
}

/// The WebSocket address of what TCP calls `tcp`.
pub(super) fn of(tcp: Multiaddr) -> Multiaddr {
    tcp.with(Protocol::Ws("/".into()))
}

fn bracketed(ip: Ipv6Addr) -> String {
    format!("[{ip}]")
}

fn name_of(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).ok()
}

fn is_plain(path: &str) -> bool {
    path.len() <= MAX_PATH && path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooW9xk7Zp1gejwfwNpfm6L9zH5NL4Bx5rm94LRYJJHJuARZ";

    fn web(text: &str) -> Option<(String, String, Option<String>, String)> {
        let web = parse(&text.parse().unwrap())?;
        let name = web.name.map(|name| name.to_str().into_owned());
        Some((web.host, web.path, name, web.tcp.to_string()))
    }

    #[test]
    fn every_way_of_writing_it_is_read() {
        let named = format!("/dns/example.org/tcp/443/tls/ws/p2p/{PEER}");
        for (text, host, name, tcp) in [
            (
                "/ip4/192.0.2.1/tcp/80/ws",
                "192.0.2.1:80",
                None,
                "/ip4/192.0.2.1/tcp/80",
            ),
            ("/ip6/::1/tcp/80/ws", "[::1]:80", None, "/ip6/::1/tcp/80"),
            (
                &named,
                "example.org:443",
                Some("example.org"),
                "/dns/example.org/tcp/443",
            ),
            (
                "/dns4/example.org/tcp/443/wss",
                "example.org:443",
                Some("example.org"),
                "/dns4/example.org/tcp/443",
            ),
            (
                "/ip4/192.0.2.1/tcp/443/tls/sni/example.org/ws",
                "192.0.2.1:443",
                Some("example.org"),
                "/ip4/192.0.2.1/tcp/443",
            ),
        ] {
            let expected = (host.into(), "/".into(), name.map(Into::into), tcp.into());
            assert_eq!(web(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_of_another_transport_or_steers_a_request_is_not() {
        let mut steering: Vec<Multiaddr> = ["/x HTTP/1.1\r\nHost: a\r\n\r\n", "x", "/\u{fc}"]
            .into_iter()
            .map(|path| {
                let tcp: Multiaddr = "/ip4/192.0.2.1/tcp/80".parse().unwrap();
                tcp.with(Protocol::Ws(path.into()))
            })
            .collect();
        let name: Multiaddr = Protocol::Dns("a\r\nb".into()).into();
        steering.push(name.with(Protocol::Tcp(80)).with(Protocol::Ws("/".into())));
        for text in [
            "/ip4/192.0.2.1/tcp/80",
            "/ip4/192.0.2.1/udp/80/quic-v1",
            "/ip4/192.0.2.1/tcp/0/ws",
            "/ip4/192.0.2.1/tcp/80/tls",
            "/dnsaddr/example.org/tcp/80/ws",
            &format!("/ip4/192.0.2.1/tcp/80/ws/p2p/{PEER}/p2p-circuit"),
        ] {
            steering.push(text.parse().unwrap());
        }
        for address in steering {
            assert_eq!(parse(&address), None, "{address:?}");
        }
    }

    #[test]
    fn only_plain_web_sockets_are_listened_for() {
        let tcp = |text: &str| parse_listen(&text.parse().unwrap()).map(|tcp| tcp.to_string());
        assert_eq!(
            tcp("/ip4/0.0.0.0/tcp/4080/ws").as_deref(),
            Some("/ip4/0.0.0.0/tcp/4080")
        );
        assert_eq!(tcp("/ip4/0.0.0.0/tcp/4080/tls/ws"), None);
        assert_eq!(tcp("/ip4/0.0.0.0/tcp/4080/wss"), None);
        assert_eq!(tcp("/ip4/0.0.0.0/tcp/4080"), None);
    }
}
