//! Floors under dependencies: below these, a stranger can crash or corrupt a node.

use cargo_metadata::{Metadata, semver::Version};

/// Crate, lowest version allowed, and what is wrong below it.
const FLOORS: &[(&str, Version, &str)] = &[
    (
        "bao-tree",
        Version::new(0, 17, 0),
        "keeps decoding after an error",
    ),
    ("h2", Version::new(0, 4, 16), "a peer can exhaust memory"),
    (
        "hickory-proto",
        Version::new(0, 26, 1),
        "a name server can exhaust the processor",
    ),
    (
        "libp2p-gossipsub",
        Version::new(0, 50, 1),
        "a peer can crash the node or grow its memory without end",
    ),
    ("libp2p-quic", Version::new(0, 13, 1), "a peer can crash the node"),
    (
        "quinn-proto",
        Version::new(0, 11, 15),
        "a peer can stop all connections",
    ),
    ("wasmtime", Version::new(47, 0, 3), "a job can leave its sandbox"),
    (
        "yamux",
        Version::new(0, 14, 1),
        "a peer can crash the node; streams can deadlock",
    ),
];

/// Whether `name` has a floor here.
pub(super) fn has_floor(name: &str) -> bool {
    FLOORS.iter().any(|(floored, _, _)| *floored == name)
}

/// Checks what the lock file resolved to.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    metadata
        .packages
        .iter()
        .filter_map(|package| {
            let (_, floor, danger) = FLOORS
                .iter()
                .find(|(name, _, _)| *name == package.name.as_str())?;
            (package.version < *floor)
                .then(|| format!("{} {} is below {floor}: {danger}", package.name, package.version))
        })
        .collect()
}
