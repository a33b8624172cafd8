//! Which addresses may be gone to: a web server's name or redirect must not lead into what only this host reaches.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why nobody is gone to at `ip`; with `may_be_private`, only what is never a web server is refused.
pub(crate) fn refusal(ip: IpAddr, may_be_private: bool) -> Option<&'static str> {
    let ip = ip.to_canonical();
    let (is_never, is_private) = match ip {
        IpAddr::V4(ip) => (is_never_v4(ip), is_private_v4(ip)),
        IpAddr::V6(ip) => (is_never_v6(ip), is_private_v6(ip)),
    };
    if is_never {
        return Some("link-local and multicast addresses are no web servers");
    }
    (is_private && !may_be_private)
        .then_some("it is a private address that the user did not name; add the host to origin.allow")
}

/// Whether only hosts near by reach it.
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_private_v4(ip),
        IpAddr::V6(ip) => is_private_v6(ip),
    }
}

/// Where clouds keep their secrets (169.254.169.254), among others.
fn is_never_v4(ip: Ipv4Addr) -> bool {
    ip.is_link_local() || ip.is_multicast() || ip.is_broadcast() || ip.octets()[0] == 0
}

fn is_private_v4(ip: Ipv4Addr) -> bool {
    // 100.64.0.0/10 is shared by customers of one provider (RFC 6598).
    let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
    ip.is_private() || ip.is_loopback() || is_shared
}

fn is_never_v6(ip: Ipv6Addr) -> bool {
    // fd00:ec2::254 is a cloud's as well.
    let is_metadata = ip.segments()[..2] == [0xfd00, 0x0ec2];
    ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified() || is_metadata
}

fn is_private_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(ip: &str, may_be_private: bool) -> bool {
        refusal(ip.parse().unwrap(), may_be_private).is_some()
    }

    #[test]
    fn what_no_web_server_has_is_refused_whoever_names_it() {
        for ip in [
            "169.254.169.254",
            "224.0.0.1",
            "0.0.0.0",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
        ] {
            assert!(is_refused(ip, true), "{ip}");
        }
    }

    #[test]
    fn private_addresses_are_for_those_whom_the_user_named() {
        for ip in [
            "10.0.0.1",
            "127.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fd12::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_refused(ip, false), "{ip}");
            assert!(!is_refused(ip, true), "{ip}");
        }
        for ip in ["192.0.2.1", "2001:db8::1"] {
            assert!(!is_refused(ip, false), "{ip}");
        }
    }
}
