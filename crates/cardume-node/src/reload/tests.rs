use super::*;

/// Every key that the schema of the configuration has, where `*` stands for a name.
fn of_schema() -> BTreeSet<String> {
    let root = serde_json::to_value(schemars::schema_for!(Config)).unwrap();
    let (mut found, mut waiting) = (BTreeSet::new(), vec![(String::new(), &root)]);
    while let Some((key, schema)) = waiting.pop() {
        let below = |name: &str| match key.as_str() {
            "" => name.to_owned(),
            key => format!("{key}.{name}"),
        };
        let is_table = table(&root, schema, &mut |name, inner| {
            waiting.push((below(name), inner))
        });
        if !is_table {
            found.insert(key);
        }
    }
    found
}

/// Hands over what is in a table; whether it is one.
fn table<'s>(root: &'s Value, schema: &'s Value, each: &mut impl FnMut(&str, &'s Value)) -> bool {
    if let Some(path) = schema["$ref"].as_str() {
        return table(root, root.pointer(&path[1..]).unwrap(), each);
    }
    // A table that may be left out is one of two.
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().any(|one| table(root, one, each));
    }
    if let Some(properties) = schema["properties"].as_object() {
        properties.iter().for_each(|(name, inner)| each(name, inner));
        return true;
    }
    if schema["additionalProperties"].is_object() {
        each("*", &schema["additionalProperties"]);
        return true;
    }
    false
}

#[test]
fn every_key_is_entered_once_and_none_that_is_not_there() {
    let entered: Vec<_> = KEYS.iter().map(|(key, _)| (*key).to_owned()).collect();
    let once: BTreeSet<_> = entered.iter().cloned().collect();
    assert_eq!(once.len(), entered.len(), "a key is in KEYS twice");
    let keys = of_schema();
    let missing: Vec<_> = keys.difference(&once).collect();
    assert!(
        missing.is_empty(),
        "enter in KEYS what applies live or needs a restart: {missing:#?}"
    );
    let gone: Vec<_> = once.difference(&keys).collect();
    assert!(gone.is_empty(), "these are no keys any more: {gone:#?}");
    assert!(HIDDEN.iter().all(|key| keys.contains(*key)));
}

fn config(value: Value) -> Config {
    serde_json::from_value(value).unwrap()
}

/// A change in each section: the configuration, and the key that the plan names.
fn changed() -> Vec<(Value, &'static str, Applies)> {
    use Applies::{Live, Restart};
    use serde_json::json;
    let channel = "k51qzi5uqu5djmw2yvf8kk5cdjc1ddc00o4d5sjwi6f79xzcay9j3gkddw5uu4";
    let peer = "12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8";
    vec![
        (json!({"node": {"name": "a"}}), "node.name", Restart),
        (
            json!({"identity": {"key_file": "/k"}}),
            "identity.key_file",
            Restart,
        ),
        (json!({"log": {"level": "debug"}}), "log.level", Live),
        (json!({"log": {"format": "json"}}), "log.format", Restart),
        (json!({"listen": {"addresses": []}}), "listen.addresses", Restart),
        (
            json!({"connect": {"max_inbound": 7}}),
            "connect.max_inbound",
            Live,
        ),
        (
            json!({"peer": {"nas": {"id": peer, "addresses": ["/ip4/192.0.2.1/tcp/1"]}}}),
            "peer.nas.id",
            Live,
        ),
        (json!({"network": {"id": "other"}}), "network.id", Restart),
        (json!({"mdns": {"enabled": false}}), "mdns.enabled", Restart),
        (
            json!({"nat": {"relay_limits": {"circuits": 7}}}),
            "nat.relay_limits.circuits",
            Restart,
        ),
        (
            json!({"rendezvous": {"server": true}}),
            "rendezvous.server",
            Restart,
        ),
        (json!({"kad": {"mode": "client"}}), "kad.mode", Restart),
        (json!({"kad": {"allow": ["nas"]}}), "kad.allow", Live),
        (
            json!({"nat": {"relay_limits": {"allow": []}}}),
            "nat.relay_limits.allow",
            Live,
        ),
        (
            json!({"gossipsub": {"max_topics": 7}}),
            "gossipsub.max_topics",
            Live,
        ),
        (
            json!({"gossipsub": {"max_queue": 7}}),
            "gossipsub.max_queue",
            Restart,
        ),
        (
            json!({"transfer": {"max_serving": 7}}),
            "transfer.max_serving",
            Restart,
        ),
        (json!({"rates": {"upload": "1MB/s"}}), "rates.upload", Live),
        (
            json!({"rates": {"wan": {"per_peer": "1MB/s"}}}),
            "rates.wan.per_peer",
            Live,
        ),
        (
            json!({"rates": {"schedule": {"a b": {"from": "08:00", "to": "09:00", "lan": {"upload": "1MB/s"}}}}}),
            "rates.schedule.\"a b\".lan.upload",
            Live,
        ),
        (json!({"exchange": {"max_reads": 7}}), "exchange.max_reads", Live),
        (json!({"origin": {"enabled": false}}), "origin.enabled", Restart),
        (json!({"store": {"in_place": false}}), "store.in_place", Restart),
        (json!({"store": {"quota": "1GiB"}}), "store.quota", Live),
        (
            json!({"network": {"authorities": ["/a"]}}),
            "network.authorities",
            Live,
        ),
        (json!({"share": {"a": {"path": "/a"}}}), "share.a.path", Live),
        (
            json!({"fetch": {"a": {"from": "bafkr4ibrmmnqqv4nvpmavr4ntssrzs4ts2bhsbwx5ec4mvlbdhlhdgvy5u", "to": "/a"}}}),
            "fetch.a.to",
            Live,
        ),
        (json!({"publish": {"a": {"path": "/a"}}}), "publish.a.path", Live),
        (
            json!({"follow": {"a": {"channel": channel, "to": "/a"}}}),
            "follow.a.channel",
            Live,
        ),
        (
            json!({"topic": {"a": {"subscribers": []}}}),
            "topic.a.subscribers",
            Live,
        ),
        (
            json!({"tunnel": {"a": {"role": "expose", "target": "127.0.0.1:22", "allow": []}}}),
            "tunnel.a.target",
            Live,
        ),
        (json!({"topic": {"a": {"history": 7}}}), "topic.a.history", Live),
        (
            json!({"metrics": {"listen": "127.0.0.1:1"}}),
            "metrics.listen",
            Restart,
        ),
        (json!({"control": {"group": "a"}}), "control.group", Restart),
        (
            json!({"metrics": {"listen": "127.0.0.1:9464"}}),
            "metrics.listen",
            Restart,
        ),
        (json!({"shutdown": {"grace": "7s"}}), "shutdown.grace", Restart),
    ]
}

#[test]
fn a_change_of_each_section_is_planned_and_taken_over_if_it_applies_live() {
    for (value, key, applies) in changed() {
        let running = Config::default();
        let new = config(value);
        let plan = plan(&running, &new);
        let change = plan.changes.iter().find(|change| change.key == key);
        let change = change.unwrap_or_else(|| panic!("{key} is not in {plan:?}"));
        assert_eq!(change.applies, applies, "{key}");
        assert_ne!(change.old, change.new, "{key}");
        let back = super::plan(&new, &running);
        assert_eq!(
            back.changes.len(),
            plan.changes.len(),
            "{key}: what goes is a change too"
        );
        let left = super::plan(&merged(&running, &new), &new);
        assert_eq!(left.changed, applies == Applies::Restart, "{key}");
        assert_eq!(left.waiting(), plan.waiting(), "{key}");
    }
}

#[test]
fn nothing_is_planned_where_nothing_is_another() {
    let plan = plan(&Config::default(), &Config::default());
    assert_eq!(plan, Plan::default());
}

#[test]
fn what_may_hold_a_secret_is_named_and_not_shown() {
    let hook =
        |url: &str| config(serde_json::json!({"topic": {"a": {"deliver": {"webhook": {"url": url}}}}}));
    let plan = plan(
        &hook("https://a.example/first"),
        &hook("https://a.example/second"),
    );
    assert_eq!(plan.changes.len(), 1);
    assert_eq!(plan.changes[0].key, "topic.a.deliver.webhook.url");
    let told = serde_json::to_string(&plan).unwrap();
    assert!(!told.contains("first") && !told.contains("second"), "{told}");
}

#[test]
fn the_nixos_module_only_reloads_for_tables_that_apply_live() {
    let module = include_str!("../../../../config/nix/module.nix");
    let tables = module.split("liveTables = [").nth(1).unwrap();
    let tables: Vec<_> = tables.split(']').next().unwrap().split('"').collect();
    for table in tables.chunks_exact(2).map(|pair| pair[1]) {
        let of_table = |key: &&str| key.split('.').next() == Some(table);
        let keys = KEYS.iter().filter(|(key, _)| of_table(key));
        let slow: Vec<_> = keys.filter(|(_, applies)| *applies == Applies::Restart).collect();
        assert!(slow.is_empty(), "liveTables in config/nix/module.nix: {slow:?}");
        assert!(KEYS.iter().any(|(key, _)| of_table(key)), "there is no [{table}]");
    }
}
