//! `control.listen`: the socket, and ports beside it.
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Places at most; more is a mistake.
const MAX_PLACES: usize = 8;

/// Where the control API listens: `unix:PATH` or `systemd:NAME`, at most one of them, and `ADDRESS:PORT`. In TOML one
/// string, or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listen(Vec<String>);

/// What is wrong with a place to listen at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// It is of a kind that is not offered.
    #[error(
        "nothing can listen at {0:?}: write unix:/absolute/path, systemd:NAME, or an IP address and a port such as \
         127.0.0.1:4080"
    )]
    Unknown(String),
    /// The API has one socket.
    #[error("there is one unix socket, and {0:?} is another")]
    Sockets(String),
    /// There are too many.
    #[error("at more than {MAX_PLACES} places")]
    Many,
}

/// A place, read.
enum Place<'a> {
    Unix(&'a Path),
    Inherited(&'a str),
    Port(SocketAddr),
}

impl Place<'_> {
    fn parse(text: &str) -> Option<Place<'_>> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            return path.is_absolute().then_some(Place::Unix(path));
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return (!name.is_empty()).then_some(Place::Inherited(name));
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            let port = port.parse().ok()?;
            return Some(Place::Port((IpAddr::V4(Ipv4Addr::LOCALHOST), port).into()));
        }
        text.parse().ok().map(Place::Port)
    }
}

impl Listen {
    /// A unix socket at `path`, and what else of `self` is no socket.
    #[must_use]
    pub fn at_socket(&self, path: &Path) -> Self {
        let ports = self
            .0
            .iter()
            .filter(|text| matches!(Place::parse(text), Some(Place::Port(_))));
        let socket = format!("unix:{}", path.display());
        Self([socket].into_iter().chain(ports.cloned()).collect())
    }

    /// The path of the socket, if it is said.
    pub fn socket(&self) -> Option<PathBuf> {
        self.places().find_map(|place| match place {
            Place::Unix(path) => Some(path.to_owned()),
            _ => None,
        })
    }

    /// The name that the service manager has for the socket, if it is said.
    pub fn inherited(&self) -> Option<&str> {
        self.places().find_map(|place| match place {
            Place::Inherited(name) => Some(name),
            _ => None,
        })
    }

    /// The ports.
    pub fn ports(&self) -> impl Iterator<Item = SocketAddr> {
        self.places().filter_map(|place| match place {
            Place::Port(address) => Some(address),
            _ => None,
        })
    }

    /// Makes sure that one can listen at all of them.
    ///
    /// # Errors
    /// [`ListenError`], for the first of which that is not so.
    pub fn check(&self) -> Result<(), ListenError> {
        if self.0.len() > MAX_PLACES {
            return Err(ListenError::Many);
        }
        let mut has_socket = false;
        for text in &self.0 {
            match Place::parse(text) {
                None => return Err(ListenError::Unknown(text.clone())),
                Some(Place::Port(_)) => {}
                Some(_) if has_socket => return Err(ListenError::Sockets(text.clone())),
                Some(_) => has_socket = true,
            }
        }
        Ok(())
    }

    fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.0.iter().filter_map(|text| Place::parse(text))
    }
}

impl<T: Into<String>> From<T> for Listen {
    fn from(text: T) -> Self {
        Self(vec![text.into()])
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            all => all.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Listen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place to listen at, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Listen, E> {
        Ok(text.into())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Listen, A::Error> {
        let mut all = Vec::new();
        while let Some(text) = seq.next_element()? {
            all.push(text);
        }
        Ok(Listen(all))
    }
}

impl JsonSchema for Listen {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ControlListen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "maxItems": MAX_PLACES },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(places: &[&str]) -> Listen {
        Listen(places.iter().map(|&place| place.to_owned()).collect())
    }

    #[test]
    fn a_socket_and_ports_are_told_apart() {
        let all = listen(&["127.0.0.1:4080", "unix:/run/c.sock", "[::1]:4080", "localhost:80"]);
        all.check().unwrap();
        assert_eq!(all.socket(), Some("/run/c.sock".into()));
        assert_eq!(all.inherited(), None);
        let ports: Vec<_> = all.ports().map(|port| port.to_string()).collect();
        assert_eq!(ports, ["127.0.0.1:4080", "[::1]:4080", "127.0.0.1:80"]);
        let moved = all.at_socket(Path::new("/other"));
        assert_eq!(moved.socket(), Some("/other".into()));
        assert_eq!(moved.ports().count(), 3);
        let named = listen(&["systemd:api", "0.0.0.0:1"]);
        assert_eq!((named.inherited(), named.socket()), (Some("api"), None));
    }

    #[test]
    fn what_is_no_place_is_named() {
        for text in [
            "unix:c.sock",
            "/run/c.sock",
            "systemd:",
            "4080",
            "host:80",
            ":80",
            "127.0.0.1:99999",
            "",
        ] {
            let error = listen(&["127.0.0.1:1", text]).check().unwrap_err();
            assert_eq!(error, ListenError::Unknown(text.into()));
        }
        let two = listen(&["unix:/a", "systemd:b"]).check().unwrap_err();
        assert_eq!(two, ListenError::Sockets("systemd:b".into()));
        assert_eq!(
            listen(&["127.0.0.1:1"; 9]).check().unwrap_err(),
            ListenError::Many
        );
    }

    #[test]
    fn one_is_a_string_and_many_are_a_list() {
        for text in [r#""unix:/a""#, r#"["unix:/a","127.0.0.1:1"]"#] {
            let read: Listen = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
        assert!(serde_json::from_str::<Listen>("7").is_err());
    }
}
