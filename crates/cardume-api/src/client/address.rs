//! Where a daemon is.
use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use super::ClientError;

/// Where a daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket: `unix:///path` or `unix:/path`.
    Unix(PathBuf),
    /// A listener: `http://host:port`.
    Http(String),
    /// A proxy with TLS before a listener: `https://host` or `https://host:port`.
    Https(String),
}

impl Address {
    /// Whether others on the way can read what is said: plain HTTP, and not within this host.
    pub fn is_open(&self) -> bool {
        let Self::Http(url) = self else { return false };
        let url = reqwest::Url::parse(url).ok();
        let host = url.as_ref().and_then(reqwest::Url::host_str).unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse();
        host != "localhost" && !address.is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

impl FromStr for Address {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let bad = |reason: &str| ClientError::Address {
            address: text.to_owned(),
            reason: reason.to_owned(),
        };
        if let Some(rest) = text.strip_prefix("unix:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(bad(
                    "the path of the socket must be absolute: unix:///path/to/socket",
                ))
            };
        }
        match text.split_once("://") {
            Some(("http", _)) => Ok(Self::Http(text.to_owned())),
            Some(("https", _)) => Ok(Self::Https(text.to_owned())),
            _ => Err(bad("expected unix:///path, http://host:port or https://host")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Http(url) | Self::Https(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_or_a_listener() {
        for text in ["unix:///run/cardume.sock", "unix:/run/cardume.sock"] {
            assert_eq!(
                text.parse::<Address>().unwrap(),
                Address::Unix("/run/cardume.sock".into())
            );
        }
        assert_eq!(
            "http://localhost:1".parse::<Address>().unwrap(),
            Address::Http("http://localhost:1".into())
        );
        assert_eq!(
            "https://node.example".parse::<Address>().unwrap(),
            Address::Https("https://node.example".into())
        );
        for text in ["unix:run", "/run/cardume.sock", "", "ftp://a"] {
            assert!(
                matches!(text.parse::<Address>(), Err(ClientError::Address { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn only_plain_http_to_another_host_can_be_read_on_the_way() {
        let open = |text: &str| text.parse::<Address>().unwrap().is_open();
        for text in [
            "http://192.0.2.1:4080",
            "http://node.example",
            "http://[2001:db8::1]:1",
        ] {
            assert!(open(text), "{text}");
        }
        for text in [
            "http://localhost:4080",
            "http://127.0.0.1:4080",
            "http://[::1]:4080",
            "https://node.example",
            "unix:///run/s",
        ] {
            assert!(!open(text), "{text}");
        }
    }
}
