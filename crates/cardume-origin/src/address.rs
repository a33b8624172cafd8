//! Where a file is on the web.
use std::{fmt, str::FromStr};

use hyper::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What names are encoded to: the unreserved characters of RFC 3986, section 2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// Characters of an address, at most.
const MAX_LEN: usize = 2_000;

/// An `https://` address. What is displayed leaves the query out: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: String,
    port: u16,
    /// Begins with a slash.
    path: String,
    query: Option<String>,
}

/// Why a text is no address of a web origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no web origin ({reason}); write it like https://example.org/file")]
pub struct ParseAddressError {
    text: String,
    reason: &'static str,
}

impl Address {
    /// The host, in lower case; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address of a file below this one: names are encoded, outermost first.
    #[must_use]
    pub fn below<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut address = self.clone();
        for name in names {
            if !address.path.ends_with('/') {
                address.path.push('/');
            }
            address.path.extend(utf8_percent_encode(name, UNRESERVED));
        }
        address
    }

    /// Whether it names a place for files, not a file: it ends in a slash.
    pub fn is_directory(&self) -> bool {
        self.path.ends_with('/')
    }

    /// All of it, with the query, which may be a secret.
    pub fn to_text(&self) -> String {
        format!("https://{}{}", self.authority(), self.target())
    }

    /// Where a redirect to `location` leads; `None` when that is not HTTPS.
    pub(crate) fn redirected(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        if location.starts_with("//") {
            return format!("https:{location}").parse().ok();
        }
        if location.starts_with('/') {
            return format!("https://{}{location}", self.authority()).parse().ok();
        }
        location.parse().ok()
    }

    /// Host and port as they stand in an address and in the `Host` field.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match self.port {
            443 => host,
            port => format!("{host}:{port}"),
        }
    }

    /// What is asked for.
    pub(crate) fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let failed = |reason| ParseAddressError {
            text: text.chars().take(80).collect(),
            reason,
        };
        if text.len() > MAX_LEN {
            return Err(failed("it is too long"));
        }
        let uri: Uri = text.parse().map_err(|_| failed("it cannot be read"))?;
        if uri.scheme_str() != Some("https") {
            return Err(failed("it does not begin with https://"));
        }
        let authority = uri.authority().ok_or_else(|| failed("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(failed("it has a user name in it"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(failed("it has no host"));
        }
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => {
                port.parse().map_err(|_| failed("its port is no number"))?
            }
            _ => 443,
        };
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
            path: path.to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_https_with_a_host_and_nobody_s_name() {
        for bad in [
            "http://example.org/a",
            "https:///a",
            "https://a@example.org/",
            "https://example.org:x/",
            "example.org",
            "",
            "https://[::1",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        assert_eq!(address("https://EXAMPLE.org").to_string(), "https://example.org/");
        assert_eq!(
            address("https://example.org:8443/a%20b?key=1").target(),
            "/a%20b?key=1"
        );
        let ip = address("https://[::1]:44/x");
        assert_eq!((ip.host(), ip.port()), ("::1", 44));
        assert_eq!(ip.to_string(), "https://[::1]:44/x");
    }

    #[test]
    fn a_secret_in_the_query_is_not_displayed() {
        assert_eq!(
            address("https://example.org/a?token=s").to_string(),
            "https://example.org/a"
        );
    }

    #[test]
    fn names_below_are_encoded() {
        let base = address("https://example.org/pub");
        assert_eq!(
            base.below(["a b", "ü?#"]).to_string(),
            "https://example.org/pub/a%20b/%C3%BC%3F%23"
        );
        assert_eq!(address("https://h/").below(["x"]).to_string(), "https://h/x");
        assert!(address("https://h").is_directory());
    }

    #[test]
    fn a_redirect_leads_only_to_https() {
        let base = address("https://a.example/x?y");
        let to = |location: &str| base.redirected(location).map(|address| address.to_string());
        assert_eq!(to("/z").unwrap(), "https://a.example/z");
        assert_eq!(to("//b.example/z").unwrap(), "https://b.example/z");
        assert_eq!(to("https://b.example/z#f").unwrap(), "https://b.example/z");
        assert_eq!(to("http://b.example/z"), None);
        assert_eq!(to("file:///etc/passwd"), None);
    }
}
