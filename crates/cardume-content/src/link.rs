//! Links: what one user sends another.
//!
//! Written with the percent-encoding of RFC 3986, so that a link survives chats, mails and QR codes.
use std::{fmt, str::FromStr};

use multiaddr::{Multiaddr, Protocol};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::{Cid, Kind, cid::ParseCidError, manifest::Name};

/// What names are encoded to: the unreserved characters of RFC 3986, section 2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// What addresses are encoded to: `/` and `:` may stand in a query (section 3.4) and keep it readable.
const READABLE: &AsciiSet = &UNRESERVED.remove(b'/').remove(b':');

/// `cardume:<CID>[/path][?n=<name>&s=<bytes>&p=<multiaddr>&p=…&w=<https address>]`
///
/// What is displayed is at most [`Link::MAX_LEN`] characters long: addresses and origins that would make it
/// longer are left out, last first, since only the CID is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What is linked to, or the directory that `path` begins in.
    pub cid: Cid,
    /// Names below a directory, outermost first.
    pub path: Vec<String>,
    /// What to call it.
    pub name: Option<String>,
    /// Bytes of it: a hint, to be proven.
    pub size: Option<u64>,
    /// Where to ask first; each ends in `/p2p/<peer>`. At most 8.
    pub peers: Vec<Multiaddr>,
    /// Where it is on the web, as `https://` addresses: of a file, the file itself or, with a slash at the end or
    /// nothing after the host, what it is in under its name; of a directory, what its entries are in. At most 8.
    pub origins: Vec<String>,
}

impl Link {
    /// The scheme, before the colon.
    pub const SCHEME: &str = "cardume";
    /// Most characters of a link: what chats and QR codes carry.
    pub const MAX_LEN: usize = 2_000;
    /// Most addresses in a link.
    pub const MAX_PEERS: usize = 8;
    /// Most origins in a link.
    pub const MAX_ORIGINS: usize = 8;

    /// Makes a link to content, with nothing else known about it.
    pub fn new(cid: Cid) -> Self {
        Self {
            cid,
            path: Vec::new(),
            name: None,
            size: None,
            peers: Vec::new(),
            origins: Vec::new(),
        }
    }

    /// Adds where it is on the web.
    ///
    /// # Errors
    /// When that is no `https://` address, or the link has [`MAX_ORIGINS`](Self::MAX_ORIGINS) already.
    pub fn add_origin(&mut self, origin: &str) -> Result<(), ParseLinkError> {
        self.set("w", origin.to_owned())
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), ParseLinkError> {
        match key {
            "n" => set_once("n", &mut self.name, check_name(value).map_err(|r| bad("n", r))?),
            "s" => set_once("s", &mut self.size, parse_size(&value)?),
            "p" => push("p", &mut self.peers, parse_peer(&value)?, Self::MAX_PEERS),
            "w" => push("w", &mut self.origins, check_origin(value)?, Self::MAX_ORIGINS),
            _ if key.starts_with('!') => Err(ParseLinkError::Required(cut(key))),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}:{}", Self::SCHEME, self.cid);
        for name in &self.path {
            text.push('/');
            text.extend(utf8_percent_encode(name, UNRESERVED));
        }
        let mut parameters = Vec::new();
        if let Some(name) = &self.name {
            parameters.push(format!("n={}", utf8_percent_encode(name, UNRESERVED)));
        }
        if let Some(size) = self.size {
            parameters.push(format!("s={size}"));
        }
        for peer in self.peers.iter().take(Self::MAX_PEERS) {
            parameters.push(format!("p={}", utf8_percent_encode(&peer.to_string(), READABLE)));
        }
        for origin in self.origins.iter().take(Self::MAX_ORIGINS) {
            parameters.push(format!("w={}", utf8_percent_encode(origin, READABLE)));
        }
        let mut separator = '?';
        for parameter in parameters {
            if text.len() + 1 + parameter.len() > Self::MAX_LEN {
                break;
            }
            text.push(separator);
            text.push_str(&parameter);
            separator = '&';
        }
        f.pad(&text)
    }
}

/// Takes a link, a bare `CID[/path]`, or 64 hex digits of BLAKE3.
///
/// The path of a bare CID is taken as it is typed: nothing in it is percent-encoded, and it has no
/// parameters.
impl FromStr for Link {
    type Err = ParseLinkError;

    fn from_str(s: &str) -> Result<Self, ParseLinkError> {
        let length = s.chars().count();
        if length > Self::MAX_LEN {
            return Err(ParseLinkError::TooLong(length));
        }
        match s.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(Self::SCHEME) => parse_link(rest),
            Some((scheme, _)) if is_scheme(scheme) => Err(ParseLinkError::Scheme(cut(scheme))),
            _ => parse_target(s, |name| Ok(name.to_owned())),
        }
    }
}

/// Parses what comes after the scheme.
fn parse_link(rest: &str) -> Result<Link, ParseLinkError> {
    if rest.starts_with("//") {
        return Err(ParseLinkError::Slashes);
    }
    if rest.contains('#') {
        return Err(ParseLinkError::Fragment);
    }
    let (target, query) = match rest.split_once('?') {
        Some((target, query)) => (target, Some(query)),
        None => (rest, None),
    };
    let mut link = parse_target(target, |name| decode(name).map_err(ParseLinkError::Path))?;
    for parameter in query.into_iter().flat_map(|query| query.split('&')) {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let key = decode(key).map_err(|reason| bad("a parameter's name", reason))?;
        let value = decode(value).map_err(|reason| ParseLinkError::Parameter {
            parameter: known(&key),
            reason,
        })?;
        link.set(&key, value)?;
    }
    Ok(link)
}

/// Parses `CID[/path]`; one slash at the end is let pass.
fn parse_target(
    target: &str,
    decode: impl Fn(&str) -> Result<String, ParseLinkError>,
) -> Result<Link, ParseLinkError> {
    let target = target.strip_suffix('/').unwrap_or(target);
    let mut parts = target.split('/');
    let cid: Cid = parts.next().unwrap_or_default().parse()?;
    let path = parts
        .map(|part| check_name(decode(part)?).map_err(ParseLinkError::Path))
        .collect::<Result<Vec<_>, _>>()?;
    if cid.kind() == Kind::Blob && !path.is_empty() {
        return Err(ParseLinkError::Path(
            "the CID is that of a single file, with no names below".to_owned(),
        ));
    }
    Ok(Link {
        path,
        ..Link::new(cid)
    })
}

fn check_name(name: String) -> Result<String, String> {
    Name::new(name)
        .map(String::from)
        .map_err(|error| error.to_string())
}

fn parse_size(value: &str) -> Result<u64, ParseLinkError> {
    if !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("s", format!("{:?} is no number of bytes", cut(value))));
    }
    value
        .parse()
        .map_err(|error| bad("s", format!("{:?}: {error}", cut(value))))
}

fn parse_peer(value: &str) -> Result<Multiaddr, ParseLinkError> {
    let address: Multiaddr = value
        .parse()
        .map_err(|error| bad("p", format!("{:?} is no multiaddr: {error}", cut(value))))?;
    match address.iter().last() {
        Some(Protocol::P2p(_)) => Ok(address),
        _ => Err(bad(
            "p",
            format!("{:?} does not end in /p2p/ and a peer id", cut(value)),
        )),
    }
}

/// An origin is `https://host` or `https://host:port` (RFC 6454), with or without a path and a query.
fn check_origin(value: String) -> Result<String, ParseLinkError> {
    let rest = value.strip_prefix("https://").unwrap_or_default();
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '[' | ']');
    // What RFC 3986 lets stand in a path and a query.
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~:/?@!$&'()*+,;=%".contains(c);
    if host.is_empty() || !host.chars().all(plain) || !path.chars().all(legal) {
        return Err(bad(
            "w",
            format!(
                "{:?} is no origin; write it like https://example.org",
                cut(&value)
            ),
        ));
    }
    Ok(value)
}

fn set_once<T>(parameter: &'static str, slot: &mut Option<T>, value: T) -> Result<(), ParseLinkError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad(parameter, "it is given twice".to_owned())),
    }
}

fn push<T>(parameter: &'static str, list: &mut Vec<T>, value: T, most: usize) -> Result<(), ParseLinkError> {
    if list.len() == most {
        return Err(bad(parameter, format!("it is given more than {most} times")));
    }
    list.push(value);
    Ok(())
}

/// Undoes percent-encoding. A `+` is a plus.
fn decode(text: &str) -> Result<String, String> {
    let mut rest = text.split('%');
    rest.next();
    let complete = |hex: &str| hex.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !rest.all(complete) {
        return Err(format!("{:?} has a % without two hex digits after it", cut(text)));
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(format!("{:?} is not UTF-8", cut(text))),
    }
}

/// Whether what comes before a colon looks like the scheme of something else (RFC 3986, section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn known(key: &str) -> &'static str {
    ["n", "s", "p", "w"]
        .into_iter()
        .find(|name| *name == key)
        .unwrap_or("an unknown parameter")
}

fn bad(parameter: &'static str, reason: String) -> ParseLinkError {
    ParseLinkError::Parameter { parameter, reason }
}

/// Cuts a stranger's text for an error.
fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Why a text is no link.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseLinkError {
    /// What it links to has no CID of ours.
    #[error("{0}")]
    Cid(#[from] ParseCidError),
    /// It is too long.
    #[error("the link is {0} characters long; at most 2000 are allowed")]
    TooLong(usize),
    /// It is a link for another program.
    #[error("{0:?} is not a scheme of ours; a link begins with cardume:")]
    Scheme(String),
    /// It has two slashes after the scheme.
    #[error("a link has no // after cardume:; write cardume:<CID>")]
    Slashes,
    /// It has a fragment.
    #[error("a link has no #; in a name write %23")]
    Fragment,
    /// It cannot be followed without understanding a parameter that is not known here.
    #[error("the link needs the unknown parameter {0:?}; a newer cardume may understand it")]
    Required(String),
    /// A parameter has a value that it cannot have.
    #[error("bad value for {parameter}: {reason}")]
    Parameter {
        /// The parameter.
        parameter: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A name in the path is unsafe or unreadable.
    #[error("bad path in the link: {0}")]
    Path(String),
}
