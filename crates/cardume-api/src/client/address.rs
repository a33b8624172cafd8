//! Where a daemon is.
use std::{fmt, path::PathBuf, str::FromStr};

use super::ClientError;

/// Where a daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket: `unix:///path` or `unix:/path`.
    Unix(PathBuf),
    /// A listener: `http://host:port`.
    Http(String),
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
            Some(("https", _)) => Err(bad("this program is built without TLS; use http:// or unix://")),
            _ => Err(bad("expected unix:///path or http://host:port")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Http(url) => f.write_str(url),
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
        for text in ["unix:run", "https://a", "/run/cardume.sock", "", "ftp://a"] {
            assert!(
                matches!(text.parse::<Address>(), Err(ClientError::Address { .. })),
                "{text}"
            );
        }
    }
}
