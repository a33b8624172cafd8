//! What an address says about where its peer is.
use std::net::IpAddr;

use cardume_behaviour::Scope;
use multiaddr::{Multiaddr, Protocol};
use serde::{Deserialize, Serialize};

/// A subnet that one party can easily own: /24 of IPv4, /48 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Subnet {
    V4([u8; 3]),
    V6([u16; 3]),
}

/// The subnet of a public IP address; local addresses and names have none.
pub(crate) fn subnet(address: &Multiaddr) -> Option<Subnet> {
    if Scope::of(address) != Scope::Public {
        return None;
    }
    let ip = match address.iter().next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
        _ => return None,
    };
    Some(match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Subnet::V4([a, b, c])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            Subnet::V6([a, b, c])
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn local_addresses_and_names_have_no_subnet() {
        for text in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.1.2.3/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/dns4/a.org/tcp/1",
        ] {
            assert_eq!(subnet(&address(text)), None, "{text}");
        }
    }

    #[test]
    fn public_addresses_have_a_subnet() {
        assert_eq!(
            subnet(&address("/ip4/198.51.100.7/tcp/1")),
            Some(Subnet::V4([198, 51, 100]))
        );
        assert_eq!(
            subnet(&address("/ip6/2001:db8:7:8::1/tcp/1")),
            Some(Subnet::V6([0x2001, 0xdb8, 7]))
        );
        assert_eq!(
            subnet(&address("/ip6/::ffff:198.51.100.7/tcp/1")),
            Some(Subnet::V4([198, 51, 100]))
        );
    }
}
