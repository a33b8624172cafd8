//! `[tunnel.*]`.
use std::collections::BTreeMap;

use cardume_node::Config;
use libp2p_identity::PeerId;

use super::Findings;

pub(super) fn check(config: &Config, found: &mut Findings) {
    // Names that make no sense are told where they stand.
    let names = config.names().unwrap_or_default();
    let mut places = BTreeMap::new();
    for (name, tunnel) in &config.tunnel {
        let mut add = |key: Option<&str>, reason: String, hint: &str| {
            let path: Vec<&str> = ["tunnel", name].into_iter().chain(key).collect();
            found.add(&path, reason, Some(hint));
        };
        for mistake in tunnel.mistakes(name) {
            add(mistake.key, mistake.reason, mistake.hint);
        }
        for word in tunnel.allow.iter().flatten() {
            if let Err(error) = names.rule(word) {
                add(
                    Some("allow"),
                    error.to_string(),
                    "a [peer.NAME], group:NAME or a peer id",
                );
            }
        }
        if let Some(word) = &tunnel.peer
            && names.peer(word).is_none()
            && word.parse::<PeerId>().is_err()
        {
            add(
                Some("peer"),
                format!("{word:?} names no peer"),
                "a [peer.NAME] or a peer id",
            );
        }
        let Some(listen) = &tunnel.listen else { continue };
        let place = (tunnel.protocol.name(), listen.to_string());
        let is_any = place.1.ends_with(":0");
        if let Some(other) = places.insert(place, name)
            && !is_any
        {
            add(
                Some("listen"),
                format!("[tunnel.{other}] listens there too"),
                "another port",
            );
        }
    }
}
