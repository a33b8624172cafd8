//! Where a service is, or where programs of this host reach one.
use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An IP address with a port, or the path of a unix socket. Never a name: what that leads to may be another place by the time
/// it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `192.0.2.1:22`, `[2001:db8::1]:22`.
    Socket(SocketAddr),
    /// `unix:/run/service.sock`.
    Unix(PathBuf),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            return match path.is_absolute() {
                true => Ok(Self::Unix(path)),
                false => Err(format!("{text:?}: the path of a unix socket must be absolute")),
            };
        }
        let socket = text.parse().map(Self::Socket);
        socket.map_err(|_| {
            format!("{text:?} is no place: an IP address and a port, as in \"127.0.0.1:22\", or unix:/PATH")
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(socket) => socket.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl schemars::JsonSchema for Place {
    fn schema_name() -> Cow<'static, str> {
        "Place".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "examples": ["127.0.0.1:22", "[::1]:22", "unix:/run/service.sock"]})
    }
}

impl Place {
    /// Why nothing there may be exposed; none if it may.
    ///
    /// Link-local addresses are where clouds hand out their credentials, and the others are no single host.
    pub(crate) fn objection(&self) -> Option<&'static str> {
        let Self::Socket(socket) = self else { return None };
        let ip = socket.ip().to_canonical();
        let is_link_local = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        match () {
            () if socket.port() == 0 => Some("port 0 is none"),
            () if ip.is_unspecified() => Some("is no host; for this one write 127.0.0.1 or [::1]"),
            () if is_link_local => Some("is a link-local address, which no service is exposed at"),
            () if ip.is_multicast() || is_broadcast => Some("is no single host"),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_with_a_port_or_an_absolute_path() {
        for text in [
            "127.0.0.1:22",
            "[::1]:22",
            "[2001:db8::1]:65535",
            "unix:/run/a.sock",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        assert_eq!("unix:///run/a".parse(), Ok(Place::Unix("/run/a".into())));
        for text in [
            "",
            "22",
            "localhost:22",
            "127.0.0.1",
            "::1:22:",
            "unix:a",
            "/run/a",
            "127.0.0.1:65536",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_single_host_of_the_operators_is_not_exposed() {
        for text in [
            "127.0.0.1:0",
            "0.0.0.0:22",
            "[::]:22",
            "169.254.169.254:80",
            "[fe80::1]:22",
            "[::ffff:169.254.169.254]:80",
            "224.0.0.1:22",
            "255.255.255.255:22",
            "[ff02::1]:22",
        ] {
            assert!(text.parse::<Place>().unwrap().objection().is_some(), "{text}");
        }
        for text in ["127.0.0.1:22", "10.0.0.1:22", "[::1]:22", "unix:/a"] {
            assert_eq!(text.parse::<Place>().unwrap().objection(), None, "{text}");
        }
    }
}
