//! Names by which a browser may know this host.
use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Uri, header};

/// Names that lead here, besides `localhost` and addresses.
///
/// A page elsewhere whose own name is made to lead here (DNS rebinding) is of the same origin as we are, for a browser;
/// but it names itself in `Host`. An address or `localhost` cannot be anybody's name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a request says that it is for this host, once.
    pub(crate) fn are_named_by(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let in_line = uri.authority().is_none_or(|named| self.admit(named.as_str()));
        in_line && host.to_str().is_ok_and(|host| self.admit(host))
    }

    /// Whether `authority`, a host with or without a port, is this host.
    fn admit(&self, authority: &str) -> bool {
        if authority.parse::<SocketAddr>().is_ok() {
            return true;
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') && !authority.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        };
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return false;
        }
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        if in_brackets.unwrap_or(host).parse::<IpAddr>().is_ok() {
            return true;
        }
        let host = host.to_ascii_lowercase();
        host == "localhost" || self.0.contains(&host)
    }
}

/// Whether a request was sent by a page of the very host and port that it is sent to; false when it does not say.
pub(crate) fn is_of_own_page(headers: &HeaderMap) -> bool {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    let site = text(header::HeaderName::from_static("sec-fetch-site"));
    if site.is_some_and(|site| site != "same-origin") {
        return false;
    }
    match (text(header::ORIGIN), text(header::HOST)) {
        (Some(origin), Some(host)) => is_origin_of(origin, host),
        (None, _) => site.is_some(),
        _ => false,
    }
}

/// Whether a browser says that a page elsewhere has it send this.
pub(crate) fn is_of_foreign_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    !matches!(site, None | Some(b"none" | b"same-origin"))
        || (headers.contains_key(header::ORIGIN) && !is_of_own_page(headers))
}

/// Whether `origin` is of `host`. Behind a proxy the page is of HTTPS, and we are not.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let rest = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            let value = header::HeaderValue::from_str(value).unwrap();
            (header::HeaderName::from_static(name), value)
        };
        let mut all = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            all.append(name, value);
        }
        all
    }

    #[test]
    fn another_name_for_this_host_is_noticed() {
        let hosts = Hosts::new(&["node.example".into()]);
        let named = |host: &str| hosts.are_named_by(&Uri::from_static("/"), &headers(&[("host", host)]));
        for host in [
            "127.0.0.1:9411",
            "127.0.0.1",
            "[::1]:9411",
            "[::1]",
            "localhost",
            "localhost:9411",
            "LocalHost:9411",
            "node.example",
            "Node.example:443",
        ] {
            assert!(named(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9411",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.evil.example",
            "evil.node.example",
            "node.example.evil",
            "localhost:evil",
            "localhost:1@evil.example",
            "[evil.example]",
        ] {
            assert!(!named(host), "{host}");
        }
    }

    #[test]
    fn a_request_names_one_host_and_no_other() {
        let hosts = Hosts::default();
        let path = Uri::from_static("/");
        assert!(!hosts.are_named_by(&path, &HeaderMap::new()));
        let two = headers(&[("host", "localhost"), ("host", "evil.example")]);
        assert!(!hosts.are_named_by(&path, &two));
        let line = Uri::from_static("http://evil.example/");
        assert!(!hosts.are_named_by(&line, &headers(&[("host", "localhost")])));
    }

    #[test]
    fn a_page_is_told_by_its_headers() {
        let own = |fields: &[_]| is_of_own_page(&headers(fields));
        let foreign = |fields: &[_]| is_of_foreign_page(&headers(fields));
        let host = ("host", "localhost:1");
        for fields in [
            vec![host, ("origin", "http://localhost:1")],
            vec![
                host,
                ("origin", "https://localhost:1"),
                ("sec-fetch-site", "same-origin"),
            ],
            vec![host, ("sec-fetch-site", "same-origin")],
        ] {
            assert!(own(&fields) && !foreign(&fields), "{fields:?}");
        }
        for fields in [
            vec![host, ("origin", "null")],
            vec![host, ("origin", "http://localhost:2")],
            vec![host, ("origin", "http://evil.example")],
            vec![host, ("origin", "http://localhost:1.evil.example")],
            vec![
                host,
                ("origin", "http://localhost:1"),
                ("sec-fetch-site", "cross-site"),
            ],
            vec![host, ("sec-fetch-site", "same-site")],
            vec![("origin", "http://localhost:1")],
        ] {
            assert!(!own(&fields) && foreign(&fields), "{fields:?}");
        }
        // A program, or an address that somebody has typed.
        for fields in [vec![host], vec![host, ("sec-fetch-site", "none")]] {
            assert!(!own(&fields) && !foreign(&fields), "{fields:?}");
        }
    }
}
