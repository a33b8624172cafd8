//! Checks that no single key can fail alone.
mod control;
mod topics;
mod trace;
mod tunnels;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use cardume_access::Names;
use cardume_membership::Authority;
use cardume_node::{Config, config::Access};
use multiaddr::{Multiaddr, Protocol};

use super::{layer::Path, wording::suggest};

mod channels;

/// Something wrong with the whole.
pub(super) struct Problem {
    pub(super) path: Path,
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

/// Checks everything, and finds all problems.
pub(super) fn whole(config: &Config) -> Vec<Problem> {
    let mut found = Findings::default();
    network(config, &mut found);
    addresses(config, &mut found);
    peers(config, &mut found);
    limits(config, &mut found);
    rates(config, &mut found);
    nat(config, &mut found);
    topics::check(config, &mut found);
    tunnels::check(config, &mut found);
    shares(config, &mut found);
    allows(config, &mut found);
    channels::check(config, &mut found);
    places(config, &mut found);
    control::check(config, &mut found);
    trace::check(config, &mut found);
    found.0
}

#[derive(Default)]
struct Findings(Vec<Problem>);

impl Findings {
    fn add(&mut self, path: &[&str], reason: impl Into<String>, hint: Option<&str>) {
        self.0.push(Problem {
            path: path.iter().map(|name| (*name).to_owned()).collect(),
            reason: reason.into(),
            hint: hint.map(str::to_owned),
        });
    }

    /// Adds a mistake whose text may begin with the key, as it stands alone elsewhere.
    fn add_whole(&mut self, path: &[&str], text: &str) {
        let rest = text.strip_prefix(&path.join("."));
        let reason = rest.map_or(text, |rest| rest.trim_start_matches([':', ' ']));
        self.add(path, reason, None);
    }
}

fn network(config: &Config, found: &mut Findings) {
    let id = &config.network.id;
    if !config.network.has_id() {
        let reason = format!("{id:?} is no network id");
        found.add(&["network", "id"], reason, Some("1 to 32 of a-z, 0-9 and -"));
    }
    papers(config, found);
    if config.network.access == Access::Listed {
        let listed: BTreeSet<_> = config.peer.values().map(|peer| peer.id).collect();
        for address in &config.connect.bootstrap {
            if peer_of(address).is_some_and(|peer| !listed.contains(&peer)) {
                let reason = format!("{address} is in no [peer.*], and network.access is \"listed\"");
                found.add(
                    &["connect", "bootstrap"],
                    reason,
                    Some("give it a [peer.NAME] too"),
                );
            }
        }
    }
}

/// Keys and certificate of a closed network; what is in their files is looked at by `config check` and the daemon.
fn papers(config: &Config, found: &mut Findings) {
    let network = &config.network;
    for text in network.authorities.iter().filter(|text| !text.starts_with('/')) {
        if let Err(error) = text.parse::<Authority>() {
            let hint = "write the key that `cardume key gen --authority` has printed, or the absolute path of a file";
            found.add(
                &["network", "authorities"],
                format!("{text:?}: {error}"),
                Some(hint),
            );
        }
    }
    if let Some(path) = &network.certificate_file
        && !path.starts_with('/')
        && !path.starts_with("credential:")
    {
        let reason = format!("{path:?} is not absolute");
        let hint = Some("begin it with /, or write credential:NAME");
        found.add(&["network", "certificate_file"], reason, hint);
    }
    if let Some(path) = network
        .revocations_file
        .as_ref()
        .filter(|path| !path.is_absolute())
    {
        let reason = format!("{path:?} is not absolute");
        found.add(&["network", "revocations_file"], reason, Some("begin it with /"));
    }
    if network.access == Access::Certified {
        let reason = "is not set, and network.access is \"certified\"";
        if network.authorities.is_empty() {
            let hint = "name the key that `cardume key gen --authority` has printed";
            found.add(&["network", "authorities"], reason, Some(hint));
        }
        if network.certificate_file.is_none() {
            let hint = "set it to the file that `cardume member sign` has written";
            found.add(&["network", "certificate_file"], reason, Some(hint));
        }
    }
}

fn addresses(config: &Config, found: &mut Findings) {
    for address in &config.connect.bootstrap {
        if !matches!(address.iter().last(), Some(Protocol::P2p(_))) {
            let reason = format!("{address} does not say which peer is there");
            found.add(&["connect", "bootstrap"], reason, Some("end it in /p2p/PEER_ID"));
        }
    }
    for address in &config.listen.addresses {
        let parts: Vec<Protocol<'_>> = address.iter().collect();
        let known = match parts.as_slice() {
            [Protocol::Ip4(_) | Protocol::Ip6(_), rest @ ..] => match rest {
                [Protocol::Tcp(_)] | [Protocol::Udp(_), Protocol::QuicV1] => true,
                [Protocol::Tcp(_), Protocol::Ws(path)] => path == "/",
                _ => false,
            },
            _ => false,
        };
        let is_encrypted_web = parts
            .iter()
            .any(|part| matches!(part, Protocol::Tls | Protocol::Wss(_)));
        if !known {
            let reason = format!("nothing can listen at {address}");
            let hint = if is_encrypted_web {
                "write /ip4/ADDRESS/tcp/PORT/ws and let a web server with a certificate pass on to it; announce \
                 /dns/NAME/tcp/443/wss"
            } else {
                "write /ip4/ADDRESS/tcp/PORT, /ip4/ADDRESS/udp/PORT/quic-v1 or /ip4/ADDRESS/tcp/PORT/ws (or /ip6)"
            };
            found.add(&["listen", "addresses"], reason, Some(hint));
        }
    }
    let mut seen = BTreeSet::new();
    for address in &config.listen.addresses {
        let free = address
            .iter()
            .any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0)));
        // TCP with WebSocket on it is still TCP.
        let port: Multiaddr = address.iter().take(2).collect();
        if !free && !seen.insert(port.to_string()) {
            found.add(
                &["listen", "addresses"],
                format!("{address}: something listens on that port already"),
                None,
            );
        }
    }
    if let Some(metrics) = config.metrics.listen.filter(|metrics| metrics.port() != 0) {
        let overlaps = |ip: IpAddr| {
            ip.is_ipv4() == metrics.is_ipv4()
                && (ip == metrics.ip() || ip.is_unspecified() || metrics.ip().is_unspecified())
        };
        let taken = config.listen.addresses.iter().any(|address| {
            let mut parts = address.iter();
            let ip = match parts.next() {
                Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
                Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
                _ => return false,
            };
            parts.next() == Some(Protocol::Tcp(metrics.port())) && overlaps(ip)
        });
        if taken {
            let reason = format!("listen.addresses has TCP port {} already", metrics.port());
            found.add(
                &["metrics", "listen"],
                reason,
                Some("for example \"127.0.0.1:9464\""),
            );
        }
    }
}

fn peers(config: &Config, found: &mut Findings) {
    let mut names = BTreeMap::new();
    for (name, peer) in &config.peer {
        let mut check = |word: &str, path: &[&str]| {
            if let Err(error) = Names::check(word) {
                found.add(
                    path,
                    error.to_string(),
                    Some("letters, digits and - are always right"),
                );
            }
        };
        check(name, &["peer", name]);
        for group in &peer.groups {
            check(group, &["peer", name, "groups"]);
        }
        if let Some(other) = names.insert(peer.id, name) {
            let reason = format!("is the same peer as [peer.{other}]");
            found.add(&["peer", name, "id"], reason, Some("give each peer one name"));
        }
        for address in &peer.addresses {
            if let Some(id) = peer_of(address)
                && id != peer.id
            {
                let reason = format!("{address} is an address of another peer");
                found.add(&["peer", name, "addresses"], reason, None);
            }
        }
    }
}

fn peer_of(address: &Multiaddr) -> Option<multiaddr::PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(id)) => Some(id),
        _ => None,
    }
}

fn limits(config: &Config, found: &mut Findings) {
    let connect = &config.connect;
    let numbers: [(&[&str], u64); 18] = [
        (&["connect", "max_connections"], connect.max_connections.into()),
        (&["connect", "max_outbound"], connect.max_outbound.into()),
        (
            &["connect", "max_pending_outbound"],
            connect.max_pending_outbound.into(),
        ),
        (&["connect", "max_per_peer"], connect.max_per_peer.into()),
        (&["connect", "max_per_address"], connect.max_per_address.into()),
        (&["mdns", "max_peers"], config.mdns.max_peers as u64),
        (
            &["rendezvous", "max_connections"],
            config.rendezvous.max_connections as u64,
        ),
        (
            &["rendezvous", "limits", "registrations"],
            config.rendezvous.limits.registrations as u64,
        ),
        (
            &["rendezvous", "limits", "per_peer"],
            config.rendezvous.limits.per_peer as u64,
        ),
        (
            &["rendezvous", "limits", "per_address"],
            config.rendezvous.limits.per_address as u64,
        ),
        (&["kad", "parallel_queries"], config.kad.parallel_queries as u64),
        (&["kad", "max_records"], config.kad.max_records as u64),
        (
            &["transfer", "max_in_flight"],
            config.transfer.max_in_flight as u64,
        ),
        (&["transfer", "max_serving"], config.transfer.max_serving as u64),
        (
            &["transfer", "max_serving_per_peer"],
            config.transfer.max_serving_per_peer as u64,
        ),
        (&["exchange", "max_fetches"], config.exchange.max_fetches as u64),
        (&["exchange", "max_peers"], config.exchange.max_peers as u64),
        (&["exchange", "max_window"], config.exchange.max_window as u64),
    ];
    for (path, value) in numbers {
        if !(1..=1 << 24).contains(&value) {
            found.add(
                path,
                format!("{value} is out of range"),
                Some("from 1 to 16777216"),
            );
        }
    }
    let durations: [(&[&str], cardume_units::Duration); 8] = [
        (&["connect", "idle_timeout"], connect.idle_timeout),
        (&["connect", "dial_timeout"], connect.dial_timeout),
        (&["connect", "accept_timeout"], connect.accept_timeout),
        (&["mdns", "interval"], config.mdns.interval),
        (&["rendezvous", "interval"], config.rendezvous.interval),
        (&["kad", "query_timeout"], config.kad.query_timeout),
        (&["kad", "provider_interval"], config.kad.provider_interval),
        (&["transfer", "request_timeout"], config.transfer.request_timeout),
    ];
    for (path, value) in durations {
        if value.get().is_zero() {
            found.add(path, "must be longer than nothing", Some("for example \"30s\""));
        }
    }
    if connect.memory_ceiling < cardume_units::Size::mib(64) {
        let reason = format!("{} is too little to run in", connect.memory_ceiling);
        found.add(&["connect", "memory_ceiling"], reason, Some("at least \"64MiB\""));
    }
}

fn nat(config: &Config, found: &mut Findings) {
    for mistake in config.nat.mistakes() {
        found.add_whole(&mistake.path(), &mistake.to_string());
    }
    for mistake in config.rendezvous.mistakes() {
        found.add_whole(&mistake.path(), &mistake.to_string());
    }
}

fn rates(config: &Config, found: &mut Findings) {
    for mistake in config.rates.mistakes() {
        let path: Vec<&str> = std::iter::once("rates")
            .chain(mistake.path.iter().map(String::as_str))
            .collect();
        found.add(
            &path,
            mistake.reason,
            Some("for example \"1MB/s\", or \"unlimited\""),
        );
    }
}

fn shares(config: &Config, found: &mut Findings) {
    let mut paths = BTreeMap::new();
    for (name, share) in &config.share {
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            let reason = format!("{name:?} is no name for a share");
            found.add(&["share", name], reason, Some("as in [share.films]"));
        }
        if !share.path.is_absolute() {
            let reason = format!("{:?} is not absolute", share.path);
            found.add(&["share", name, "path"], reason, Some("begin it with /"));
        }
        // Compared part by part, so that a slash at the end makes no difference.
        let parts: Vec<_> = share.path.components().collect();
        if let Some(other) = paths.insert(parts, name) {
            let reason = format!("[share.{other}] shares {:?} already", share.path);
            found.add(&["share", name, "path"], reason, Some("share a path once"));
        }
    }
}

/// Checks every list of who may do what.
fn allows(config: &Config, found: &mut Findings) {
    // What is wrong with the names themselves is told where they are.
    let Ok(names) = config.names() else { return };
    let words: Vec<String> = names.words().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut check = |path: &[&str], allow: &[String]| {
        for word in allow {
            if let Err(error) = names.rule(word) {
                found.add(path, error.to_string(), suggest(word, &words).as_deref());
            }
        }
    };
    for (path, allow) in config.allows() {
        check(&path, allow);
    }
    check(&["kad", "allow"], config.kad.allow.as_deref().unwrap_or_default());
    let relay = config.nat.relay_limits.allow.as_deref().unwrap_or_default();
    check(&["nat", "relay_limits", "allow"], relay);
}

fn places(config: &Config, found: &mut Findings) {
    if let Some(path) = config.node.data_dir.as_ref().filter(|path| !path.is_absolute()) {
        // The same file must not mean another directory wherever the daemon is started.
        let reason = format!("{path:?} is not absolute");
        found.add(&["node", "data_dir"], reason, Some("begin it with /"));
    }
    if let Some(path) = &config.identity.key_file
        && !path.starts_with('/')
        && !path.starts_with("credential:")
    {
        let reason = format!("{path:?} is not absolute");
        let hint = Some("begin it with /, or write credential:NAME");
        found.add(&["identity", "key_file"], reason, hint);
    }
    let mut places = BTreeMap::new();
    for (name, fetch) in &config.fetch {
        if let Err(error) = fetch.from.parse::<cardume_content::Link>()
            && fetch.channel().is_none()
        {
            let reason = format!("{:?} is no link, no CID and no channel: {error}", fetch.from);
            found.add(&["fetch", name, "from"], reason, None);
        }
        if !fetch.to.is_absolute() || fetch.to.file_name().is_none() {
            let reason = format!("{:?} is not absolute, or has no name", fetch.to);
            found.add(&["fetch", name, "to"], reason, Some("write /directory/name"));
        }
        if let Some(other) = places.insert(&fetch.to, name) {
            let reason = format!("[fetch.{other}] goes there too");
            found.add(
                &["fetch", name, "to"],
                reason,
                Some("give each a place of its own"),
            );
        }
    }
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&config.log.level) {
        let hint = "error, warn, info, debug, trace, or directives such as info,cardume_exchange=debug";
        found.add(&["log", "level"], error.to_string(), Some(hint));
    }
}
