//! `[tunnel.NAME]`.
use cardume_units::Duration;
use serde::{Deserialize, Serialize};

use crate::Place;

/// Bytes of a service's name: as many as one byte counts, and what no line of a log suffers from.
const MAX_NAME: usize = 64;
/// Connections of one tunnel at once, at most.
const MOST_CONNECTIONS: usize = 4096;

/// One tunnel: a service of this host that peers may use, or one of a peer's that programs of this host do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which end of it this node is.
    pub role: Role,
    /// What passes through it.
    #[serde(default)]
    pub protocol: Protocol,
    /// `expose`: where the service is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Place>,
    /// `expose`: who may use it: names of peers, `group:NAME` and peer ids; nobody, if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// `forward`: where programs of this host reach the service; port 0 is any free one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<Place>,
    /// `forward`: whose the service is: the name of a peer, or a peer id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// `forward`: what the service is called there; the name of this tunnel if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Connections at once, or with UDP senders; more wait, or are refused.
    #[serde(default = "Config::connections")]
    pub max_connections: usize,
    /// UDP: time without a datagram after which a sender is forgotten.
    #[serde(default = "Config::idle")]
    pub idle_timeout: Duration,
}

/// Which end of a tunnel a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The one beside the service.
    Expose,
    /// The one beside those who use it.
    Forward,
}

/// What passes through a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections, each byte in order.
    #[default]
    Tcp,
    /// Datagrams, late ones lost.
    Udp,
}

/// Something wrong with a `[tunnel.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key below `tunnel.NAME`; none where it is the name, or the whole.
    pub key: Option<&'static str>,
    /// What is wrong.
    pub reason: String,
    /// What would be right.
    pub hint: &'static str,
}

impl Role {
    /// What configuration calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expose => "expose",
            Self::Forward => "forward",
        }
    }
}

impl Protocol {
    /// What configuration calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl Config {
    /// A service at `target` that those on the list may use.
    pub fn expose(protocol: Protocol, target: Place, allow: Vec<String>) -> Self {
        Self {
            target: Some(target),
            allow: Some(allow),
            ..Self::new(Role::Expose, protocol)
        }
    }

    /// A service of `peer`, reached at `listen`.
    pub fn forward(protocol: Protocol, listen: Place, peer: String, service: Option<String>) -> Self {
        Self {
            listen: Some(listen),
            peer: Some(peer),
            service,
            ..Self::new(Role::Forward, protocol)
        }
    }

    /// One that says nothing but this yet.
    pub fn new(role: Role, protocol: Protocol) -> Self {
        Self {
            role,
            protocol,
            target: None,
            allow: None,
            listen: None,
            peer: None,
            service: None,
            max_connections: Self::connections(),
            idle_timeout: Self::idle(),
        }
    }

    const fn connections() -> usize {
        64
    }

    const fn idle() -> Duration {
        Duration::from_secs(120)
    }

    /// Finds everything that is wrong with it, but for names of peers in it.
    pub fn mistakes(&self, name: &str) -> Vec<Mistake> {
        let mut found = Vec::new();
        let mut add = |key, reason: String, hint| found.push(Mistake { key, reason, hint });
        if !is_name(name) {
            add(
                None,
                format!("{name:?} is no name of a tunnel"),
                "1 to 64 of letters, digits, - and _",
            );
        }
        let given = [
            ("target", self.target.is_some(), Role::Expose, true),
            ("allow", self.allow.is_some(), Role::Expose, true),
            ("listen", self.listen.is_some(), Role::Forward, true),
            ("peer", self.peer.is_some(), Role::Forward, true),
            ("service", self.service.is_some(), Role::Forward, false),
        ];
        for (key, is_given, role, is_needed) in given {
            match role == self.role {
                true if is_needed && !is_given => add(
                    Some(key),
                    format!("is missing, and role is {:?}", self.role.name()),
                    "see `cardume config example`",
                ),
                false if is_given => add(
                    Some(key),
                    format!("makes no sense while role is {:?}", self.role.name()),
                    "take it away, or change role",
                ),
                _ => {}
            }
        }
        if let Some(target) = &self.target
            && let Some(objection) = target.objection()
        {
            add(
                Some("target"),
                format!("{target} {objection}"),
                "as in \"127.0.0.1:22\" or \"unix:/run/service.sock\"",
            );
        }
        for (key, place) in [("target", &self.target), ("listen", &self.listen)] {
            if self.protocol == Protocol::Udp && matches!(place, Some(Place::Unix(_))) {
                add(
                    Some(key),
                    "a unix socket takes no datagrams here".into(),
                    "an IP address and a port, or protocol = \"tcp\"",
                );
            }
        }
        if let Some(service) = self.service.as_deref().filter(|service| !is_name(service)) {
            add(
                Some("service"),
                format!("{service:?} is no name of a tunnel"),
                "1 to 64 of letters, digits, - and _",
            );
        }
        if !(1..=MOST_CONNECTIONS).contains(&self.max_connections) {
            add(
                Some("max_connections"),
                format!("{} is out of range", self.max_connections),
                "from 1 to 4096",
            );
        }
        if self.idle_timeout.get() < std::time::Duration::from_secs(1) {
            add(
                Some("idle_timeout"),
                format!("{} is too short", self.idle_timeout),
                "at least \"1s\"",
            );
        }
        found
    }
}

/// Whether a text can be the name of a service.
pub(crate) fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed() -> Config {
        Config::expose(Protocol::Tcp, "127.0.0.1:22".parse().unwrap(), vec!["nas".into()])
    }

    fn forwarded() -> Config {
        let listen = "127.0.0.1:0".parse().unwrap();
        Config::forward(Protocol::Udp, listen, "nas".into(), None)
    }

    #[test]
    fn what_a_role_needs_has_to_be_there_and_nothing_else() {
        assert_eq!(exposed().mistakes("ssh"), []);
        assert_eq!(forwarded().mistakes("dns"), []);
        let keys = |config: Config, name: &str| {
            let mistakes = config.mistakes(name).into_iter();
            mistakes.map(|mistake| mistake.key).collect::<Vec<_>>()
        };
        let turned = Config {
            role: Role::Forward,
            ..exposed()
        };
        let all = [Some("target"), Some("allow"), Some("listen"), Some("peer")];
        assert_eq!(keys(turned, "ssh"), all);
        let open = Config {
            allow: None,
            ..exposed()
        };
        assert_eq!(
            keys(open, "ssh"),
            [Some("allow")],
            "nothing is for everybody unless somebody says so"
        );
        let socket = Config {
            protocol: Protocol::Udp,
            target: Some(Place::Unix("/a".into())),
            ..exposed()
        };
        assert_eq!(keys(socket, "a b"), [None, Some("target")]);
        let odd = Config {
            service: Some("ä".into()),
            max_connections: 0,
            idle_timeout: Duration::from_millis(1),
            ..forwarded()
        };
        let all = [Some("service"), Some("max_connections"), Some("idle_timeout")];
        assert_eq!(keys(odd, "dns"), all);
    }
}
