//! What `config plan` tells of a change in each section, asked of a daemon that runs.
use std::collections::BTreeSet;

use cardume_testkit::daemon::{error, status};
use serde_json::Value;

use super::{start, tables::QUIET, write};

/// A change, the key that it is of, and what it takes for it to apply.
const CHANGES: &[(&str, &str, &str)] = &[
    ("[node]\nname = \"attic\"", "node.name", "restart"),
    ("[identity]\nkey_file = \"/k\"", "identity.key_file", "restart"),
    ("[log]\nlevel = \"debug\"", "log.level", "live"),
    (
        "[listen]\nannounce = [\"/ip4/192.0.2.1/tcp/1\"]",
        "listen.announce",
        "restart",
    ),
    ("[connect]\nmax_inbound = 7", "connect.max_inbound", "live"),
    (
        "[connect]\ndial_timeout = \"7s\"",
        "connect.dial_timeout",
        "restart",
    ),
    (
        "[peer.nas]\nid = \"12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp\"",
        "peer.nas.id",
        "live",
    ),
    ("[network]\nid = \"yard\"", "network.id", "restart"),
    (
        "[network]\nauthorities = [\"ed25519:AUTHORITY\"]",
        "network.authorities",
        "live",
    ),
    ("[mdns]\ninterval = \"7s\"", "mdns.interval", "restart"),
    ("[nat]\nhole_punching = false", "nat.hole_punching", "restart"),
    ("[nat.relay_limits]\nallow = []", "nat.relay_limits.allow", "live"),
    ("[rendezvous]\nserver = true", "rendezvous.server", "restart"),
    ("[kad]\nmode = \"client\"", "kad.mode", "restart"),
    ("[kad]\nallow = []", "kad.allow", "live"),
    ("[gossipsub]\nmax_topics = 7", "gossipsub.max_topics", "live"),
    ("[gossipsub]\nenabled = false", "gossipsub.enabled", "restart"),
    ("[transfer]\nmax_serving = 7", "transfer.max_serving", "restart"),
    ("[rates.wan]\nupload = \"1MB/s\"", "rates.wan.upload", "live"),
    (
        "[rates.schedule.\"a b\"]\nfrom = \"08:00\"\nto = \"09:00\"",
        "rates.schedule.\"a b\".from",
        "live",
    ),
    ("[exchange]\nmax_fetches = 7", "exchange.max_fetches", "live"),
    ("[origin]\nenabled = false", "origin.enabled", "restart"),
    ("[store]\nin_place = false", "store.in_place", "restart"),
    ("[store]\nquota = \"7GiB\"", "store.quota", "live"),
    ("[share.a]\npath = \"/a\"", "share.a.path", "live"),
    (
        "[fetch.a]\nfrom = \"bafkr4iafcnjzu4tjzebrfv5brsdwewzbmfvx5gt5zrm4rqsgmy5gdt3tjq\"\nto = \"/a\"",
        "fetch.a.to",
        "live",
    ),
    ("[topic.a]\nhistory = 7", "topic.a.history", "live"),
    ("[topic.a]\nsubscribers = []", "topic.a.subscribers", "live"),
    (
        "[tunnel.a]\nrole = \"expose\"\ntarget = \"127.0.0.1:1\"\nallow = []",
        "tunnel.a.role",
        "live",
    ),
    ("[publish.a]\npath = \"/a\"", "publish.a.path", "live"),
    (
        "[follow.a]\nchannel = \"k51qzi5uqu5djmw2yvf8kk5cdjc1ddc00o4d5sjwi6f79xzcay9j3gkddw5uu4\"\nto = \"/a\"",
        "follow.a.channel",
        "live",
    ),
    ("[control]\nhosts = [\"a.example\"]", "control.hosts", "restart"),
    (
        "[metrics]\nlisten = \"127.0.0.1:9464\"",
        "metrics.listen",
        "restart",
    ),
    ("[trace]\nsample = 0.5", "trace.sample", "restart"),
    ("[shutdown]\ngrace = \"7s\"", "shutdown.grace", "restart"),
];

#[test]
fn a_change_in_each_section_is_told_with_what_it_takes() {
    let daemon = start(QUIET);
    let made = daemon
        .json(["key", "gen", "--authority", "-o", "authority.key"])
        .unwrap();
    let authority = made["authority"].as_str().unwrap();
    for (change, key, applies) in CHANGES {
        let change = change.replace("ed25519:AUTHORITY", authority);
        write(daemon.path(), &change);
        let planned = daemon.run(["config", "plan", "--exit-code", "--json"]).unwrap();
        assert_eq!(status(&planned), 10, "{change}: {}", error(&planned));
        let planned: Value = serde_json::from_slice(&planned.stdout).unwrap();
        let told = planned["changes"].as_array().unwrap();
        let found = told.iter().find(|told| told["key"] == *key);
        let found = found.unwrap_or_else(|| panic!("{key} is not told of: {planned}"));
        assert_eq!(found["applies"], *applies, "{key}");
        assert_ne!(found["old"], found["new"], "{key}");
        assert_eq!(planned["restart"], *applies == "restart", "{planned}");
    }
    write(daemon.path(), QUIET);
    let unchanged = daemon.run(["config", "plan", "--exit-code"]).unwrap();
    assert_eq!(status(&unchanged), 0, "a plan changes nothing");

    let schema = daemon.json(["config", "schema"]).unwrap();
    let sections: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().collect();
    let section = |key: &str| key.split('.').next().map(str::to_owned);
    let changed: BTreeSet<_> = CHANGES.iter().filter_map(|(_, key, _)| section(key)).collect();
    assert!(changed.iter().eq(sections), "{changed:?}");
}
