//! The whole configuration of a node, as data. Nothing here reads files or the environment.
use std::{collections::BTreeMap, path::PathBuf};

use cardume_access::{NameError, Names};
pub use cardume_membership::Access;
use libp2p::Multiaddr;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::StartError;

/// Everything that one TOML file can say. An empty one is a working node on the local network.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the node is called, and where it keeps its state.
    pub node: Node,
    /// Its private key.
    pub identity: Identity,
    /// What is logged, and how.
    pub log: Log,
    /// Where it listens.
    pub listen: Listen,
    /// Whom it dials, and how many connections it has.
    pub connect: cardume_connect::Config,
    /// Peers by name.
    pub peer: BTreeMap<String, cardume_connect::Peer>,
    /// Which network it belongs to, and who else does.
    pub network: cardume_membership::Config,
    /// Peers on the local network.
    pub mdns: cardume_mdns::Config,
    /// Ways to this node, and ways to others.
    pub nat: cardume_nat::Config,
    /// Points where peers of the network register and find each other.
    pub rendezvous: cardume_rendezvous::Config,
    /// The distributed hash table.
    pub kad: cardume_kad::Config,
    /// Topics that peers publish to and subscribe to.
    pub gossipsub: cardume_gossipsub::Config,
    /// The transfer protocol.
    pub transfer: cardume_transfer::Config,
    /// How fast content may go.
    pub rates: cardume_transfer::rates::Config,
    /// Fetches, and answers to peers.
    pub exchange: cardume_exchange::Config,
    /// Web servers that content may also come from.
    pub origin: cardume_origin::Config,
    /// Content on disk.
    pub store: cardume_store::Config,
    /// Files and directories shared from the start, by name.
    pub share: BTreeMap<String, cardume_share::Config>,
    /// Content that is to be at some place, by name.
    pub fetch: BTreeMap<String, Fetch>,
    /// Topics, by name: what holds for them, and what their messages are handed to.
    pub topic: BTreeMap<String, cardume_topic::Config>,
    /// Services of this host for peers, and of peers for this host, by name.
    pub tunnel: BTreeMap<String, cardume_tunnel::Config>,
    /// Files and directories published under a channel whenever they change, by the channel's name.
    pub publish: BTreeMap<String, cardume_channel::Publish>,
    /// Places that are kept at the newest version of a channel, by name.
    pub follow: BTreeMap<String, cardume_channel::Follow>,
    /// The control API.
    pub control: cardume_control::Config,
    /// Where Prometheus may ask.
    pub metrics: cardume_control::Metrics,
    /// Where traces are sent.
    pub trace: Trace,
    /// How it stops.
    pub shutdown: Shutdown,
}

impl Config {
    /// The names of peers and groups that `allow` lists speak of.
    ///
    /// # Errors
    /// When a name could mean two things, or nothing.
    pub fn names(&self) -> Result<Names, NameError> {
        let peers = self.peer.iter();
        let names = Names::new(peers.map(|(name, peer)| {
            let groups = peer.groups.iter().map(String::as_str);
            (name.as_str(), peer.id, groups)
        }))?;
        Ok(match self.network.access {
            Access::Certified => names.with_certified_groups(),
            _ => names,
        })
    }
}

/// `[node]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// What this node calls itself to its operator; the host name when not set.
    pub name: Option<String>,
    /// Where identity, store and address book live.
    pub data_dir: Option<PathBuf>,
}

/// `[identity]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Private key: a path, or `credential:NAME` for a systemd credential. Default: `identity.key` in
    /// the data directory, made on the first start.
    pub key_file: Option<String>,
}

/// `[log]`: read by the program that runs the node; the node itself sets up no logger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,cardume_exchange=debug`; of
    /// libp2p, `info` means warnings unless a directive names it.
    pub level: String,
    /// How a line of the log looks.
    pub format: LogFormat,
}
impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Auto,
        }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Pretty on a terminal, the journal's own under systemd, JSON otherwise.
    Auto,
    /// For the eye.
    Pretty,
    /// One object a line.
    Json,
    /// Fields for systemd's journal.
    Journald,
}

/// `[trace]`: read by the program that runs the node; the node itself has spans, and sends none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    /// URL that a collector takes OTLP at, over HTTP with protobuf, such as `http://127.0.0.1:4318/v1/traces`; nothing is
    /// sent if not set. Only a build with the feature `opentelemetry` can send.
    pub endpoint: Option<String>,
    /// The part of all traces that is sent, from 0 to 1.
    pub sample: f64,
}
impl Default for Trace {
    fn default() -> Self {
        Self {
            endpoint: None,
            sample: 1.0,
        }
    }
}

/// `[listen]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Multiaddrs to listen on; QUIC and TCP on all interfaces by default.
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<Multiaddr>,
    /// Addresses to tell others besides those found out, such as a forwarded port.
    #[schemars(with = "Vec<String>")]
    pub announce: Vec<Multiaddr>,
}
impl Default for Listen {
    fn default() -> Self {
        let addresses = [
            "/ip4/0.0.0.0/udp/4011/quic-v1",
            "/ip6/::/udp/4011/quic-v1",
            "/ip4/0.0.0.0/tcp/4011",
            "/ip6/::/tcp/4011",
        ];
        Self {
            addresses: addresses
                .map(|a| a.parse().expect("a literal multiaddr"))
                .to_vec(),
            announce: Vec::new(),
        }
    }
}

/// `[fetch.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// A link, a CID with or without a path below it, or a channel, which is followed as by `[follow.NAME]`.
    pub from: String,
    /// The file or directory that it is to be; absolute, in a directory that is there.
    pub to: PathBuf,
    /// Who may have what it brings: names of peers, `group:NAME` and peer ids. Everybody who can connect, if not given;
    /// nobody, if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
}

impl Fetch {
    /// The channel that is wanted, if it is one.
    pub fn channel(&self) -> Option<cardume_channel::Id> {
        self.from.parse().ok()
    }
}

impl Config {
    /// Every list of who may have some content, with the keys that it is under.
    pub fn allows(&self) -> impl Iterator<Item = ([&str; 3], &[String])> {
        let shares = self
            .share
            .iter()
            .map(|(name, share)| ("share", name, &share.allow));
        let fetches = self
            .fetch
            .iter()
            .map(|(name, fetch)| ("fetch", name, &fetch.allow));
        let follows = self
            .follow
            .iter()
            .map(|(name, follow)| ("follow", name, &follow.allow));
        let all = shares.chain(fetches).chain(follows);
        all.filter_map(|(table, name, allow)| Some(([table, name.as_str(), "allow"], allow.as_deref()?)))
    }

    /// Everything that is shared: by `[share.*]`, and for a channel by `[publish.*]`.
    pub fn shares(&self) -> BTreeMap<String, cardume_share::Config> {
        let published = self.publish.iter().map(|(name, publish)| {
            let share = cardume_share::Config {
                settle: publish.settle,
                ..cardume_share::Config::new(&publish.path)
            };
            (cardume_channel::share_name(name), share)
        });
        published.chain(self.share.clone()).collect()
    }

    /// Finds the first mistake that no key alone has: in names, in lists of them, in rates and topics.
    pub(crate) fn check(&self) -> Result<Names, StartError> {
        let bad = |key, reason| Err(StartError::Config { key, reason });
        let names = match self.names() {
            Ok(names) => names,
            Err(error) => return bad("peer", error.to_string()),
        };
        for (path, allow) in self.allows() {
            if let Err(error) = names.rules(allow) {
                return bad("allow", format!("{}: {error}", path.join(".")));
            }
        }
        let relay = &self.nat.relay_limits.allow;
        for (key, allow) in [("kad.allow", &self.kad.allow), ("nat.relay_limits.allow", relay)] {
            if let Err(error) = names.rules(allow.iter().flatten()) {
                return bad(key, error.to_string());
            }
        }
        crate::wanted::wants(&self.fetch)?;
        for (name, topic) in &self.topic {
            if let Some(mistake) = topic.mistakes(name).into_iter().next() {
                let key = mistake.path.join(".");
                return bad("topic", format!("{name}.{key}: {}", mistake.reason));
            }
            let lists = [&topic.publishers, &topic.subscribers];
            for words in lists.into_iter().flatten() {
                if let Err(error) = names.rules(words) {
                    return bad("topic", format!("{name}: {error}"));
                }
            }
        }
        crate::tunnels::check(self, &names)?;
        if let Some(mistake) = self.rates.mistakes().into_iter().next() {
            return bad("rates", format!("{} {}", mistake.path.join("."), mistake.reason));
        }
        Ok(names)
    }

    /// Every place that follows a channel: of `[follow.*]`, and of `[fetch.*]` that name one.
    pub fn follows(&self) -> BTreeMap<String, cardume_channel::Follow> {
        let of_fetch = self.fetch.iter().filter_map(|(name, fetch)| {
            let follow = cardume_channel::Follow {
                allow: fetch.allow.clone(),
                ..cardume_channel::Follow::new(fetch.channel()?, &fetch.to)
            };
            Some((name.clone(), follow))
        });
        of_fetch.chain(self.follow.clone()).collect()
    }
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// Time for running answers and writes to end after a stop signal.
    pub grace: cardume_units::Duration,
}
impl Default for Shutdown {
    fn default() -> Self {
        Self {
            grace: cardume_units::Duration::from_secs(10),
        }
    }
}
