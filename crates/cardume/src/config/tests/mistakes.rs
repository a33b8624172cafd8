//! Files with one mistake each, and what is said of it.
/// What a file says, and how the one mistake in it is told.
pub(super) const BAD_FILES: &[(&str, &str)] = &[
    (
        "[listen]\nadresses = []",
        "2:1: unknown key \"adresses\" in [listen]; did you mean \"addresses\"?",
    ),
    (
        "[listen]\naddresses = [\"foo\"]",
        "2:14: no multiaddr: it does not begin with /ip4",
    ),
    (
        "[listen]\naddresses = [\"/ip4/0.0.0.0/tcp/70000\"]",
        "2:14: no multiaddr: a number in it is too large (ports end at 65535); write it like /ip4/",
    ),
    (
        "[listen]\naddresses = [\"/ip4/0.0.0.0/tcp/x\"]",
        "2:14: no multiaddr: there is no number where one should be",
    ),
    (
        "[connect]\nbootstrap = [\"/ip4/1.2.3.4/tcp/1/p2p/12D3\"]",
        "2:14: no multiaddr: what follows /p2p/ is no peer id",
    ),
    (
        "[listen]\naddresses = [4011]",
        "2:14: wrong type: integer `4011`, expected a multiaddr in quotes",
    ),
    ("[peer.nas]\nid = \"12D3KooWbad\"", "2:6: no peer id: "),
    ("[peer.nas]\nid = \"0OIl\"", "2:6: no peer id: "),
    ("[log]\nlevel = info", "2:9: a text must stand in quotes"),
    ("[node]\nname = b", "2:8: a text must stand in quotes"),
    ("[kad]\nmode = 3", "2:8: wrong type: expected a word in quotes"),
    (
        "[share.a]\npath = \"/f\"\n[share.b]\npath = \"/f/\"",
        "4:1: share.b.path: [share.a] shares \"/f/\" already",
    ),
    (
        "[share.\" \"]\npath = \"/f\"",
        "1:8: share. : \" \" is no name for a share",
    ),
    (
        "[node]\ndata_dir = \"state\"",
        "2:1: node.data_dir: \"state\" is not absolute; begin it with /",
    ),
    (
        "[identity]\nkey_file = \"my.key\"",
        "2:1: identity.key_file: \"my.key\" is not absolute",
    ),
    ("[shutdown]\ngrace = \"-5s\"", "2:9: \"-5s\" is no duration"),
    ("[connect]\nmax_connections = 99999999999", "2:19: invalid value"),
    ("[kad]\nquery_timeout = \"30x\"", "2:17: \"30x\" is no duration"),
    ("[kad]\nquery_timeout = 30", "2:17: 30 has no unit"),
    ("[kad]\nenabled = \"yes\"", "2:11: wrong type"),
    ("[kad]\nmax_records = -1", "2:15: invalid value"),
    ("[connect]\nmemory_ceiling = \"1XB\"", "2:18: \"1XB\" is no size"),
    ("[peer.nas]\nid = \"12D3\"", "2:6: "),
    ("[peer.nas]\nid = 1", "2:6: wrong type"),
    ("[[share]]\npath = \"/a\"", "1:1: wrong type: a list"),
    ("kad = 1", "1:7: wrong type"),
    ("[kad]\n[kad]", "2:2: duplicate key"),
    ("[kad]\nenabled = true\nenabled = false", "3:1: duplicate key"),
    ("[kad", "1:5: "),
    ("[log]\nlevel = \"info", "2:14: "),
    ("[log]\nlevel = \"info,,=x=\"", "2:1: log.level: "),
    ("[network]\nid = \"\"", "2:1: network.id: \"\" is no network id"),
    ("[network]\nid = \"UPPER\"", "2:1: network.id: "),
    (
        "[connect]\nbootstrap = [\"/ip4/1.2.3.4/tcp/1\"]",
        "2:1: connect.bootstrap: /ip4/1.2.3.4/tcp/1 does not say which peer",
    ),
    (
        "[network]\naccess = \"listed\"\n[connect]\nbootstrap = [\"/ip4/1.2.3.4/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp\"]",
        "4:1: connect.bootstrap: /ip4/1.2.3.4/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp is in no [peer.*]",
    ),
    (
        "[listen]\naddresses = [\"/dns/a/tcp/1\"]",
        "2:1: listen.addresses: nothing can listen at",
    ),
    (
        "[listen]\naddresses = [\"/ip4/0.0.0.0/tcp/443/wss\"]",
        "2:1: listen.addresses: nothing can listen at",
    ),
    (
        "[listen]\naddresses = [\"/ip4/0.0.0.0/tcp/4011\", \"/ip4/0.0.0.0/tcp/4011/ws\"]",
        "2:1: listen.addresses: /ip4/0.0.0.0/tcp/4011/ws: something listens on that port already",
    ),
    (
        "[rendezvous]\npoints = [\"/ip4/1.2.3.4/tcp/1\"]",
        "2:1: rendezvous.points: /ip4/1.2.3.4/tcp/1 does not end in /p2p/",
    ),
    (
        "[rendezvous.limits]\nttl = \"1s\"",
        "2:1: rendezvous.limits.ttl: is to be from 1m to 72h",
    ),
    (
        "[share.a]\npath = \"films\"",
        "2:1: share.a.path: \"films\" is not absolute",
    ),
    (
        "[connect]\nmax_per_peer = 0",
        "2:1: connect.max_per_peer: 0 is out of range",
    ),
    (
        "[mdns]\ninterval = \"0s\"",
        "2:1: mdns.interval: must be longer than nothing",
    ),
    (
        "[control]\nlisten = \"0.0.0.0\"",
        "2:1: control.listen: nothing can listen at",
    ),
    (
        "[control]\nlisten = [\"unix:/a\", \"systemd:b\"]",
        "2:1: control.listen: there is one unix socket",
    ),
    (
        "[control]\nhosts = [\"http://node.example\"]",
        "2:1: control.hosts: \"http://node.example\" is no name of a host",
    ),
    (
        "[trace]\nsample = 2",
        "2:1: trace.sample: 2 is out of range; from 0.0 to 1.0",
    ),
    ("[trace]\nsample = nan", "2:1: trace.sample: NaN is out of range"),
    #[cfg(not(feature = "opentelemetry"))]
    (
        "[trace]\nendpoint = \"http://127.0.0.1:4318/v1/traces\"",
        "2:1: trace.endpoint: built without the feature `opentelemetry`; build with --features opentelemetry, or remove the key",
    ),
    #[cfg(feature = "opentelemetry")]
    (
        "[trace]\nendpoint = \"127.0.0.1:4318\"",
        "2:1: trace.endpoint: \"127.0.0.1:4318\" is no ",
    ),
];
