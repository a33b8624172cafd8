//! Who may import whom: floors from `[workspace.metadata.floors]`, reserved crates from `deny.toml`.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail};
use cargo_metadata::{DependencyKind, Metadata, Package};

/// Crates of this workspace by name, each with its floor.
type Floors = BTreeMap<String, usize>;

/// Checks both rules for every crate of the workspace.
pub(super) fn check(metadata: &Metadata, root: &Path) -> anyhow::Result<Vec<String>> {
    let floors = floors(metadata)?;
    let reserved = reserved(root)?;
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        if !floors.contains_key(package.name.as_str()) && !beside(metadata, &package.name) {
            wrong.push(format!(
                "{} stands on no floor; give it one in [workspace.metadata.floors]",
                package.name
            ));
        }
        wrong.extend(downwards_only(package, &floors));
        wrong.extend(reserved_only(package, &reserved));
    }
    Ok(wrong)
}

/// A crate imports lower floors only, and no sibling.
fn downwards_only(package: &Package, floors: &Floors) -> Vec<String> {
    let Some(own) = floors.get(package.name.as_str()) else {
        return Vec::new();
    };
    normal(package)
        .filter_map(|name| Some((name, floors.get(name)?)))
        .filter(|(_, other)| *other >= own)
        .map(|(name, other)| {
            format!(
                "{} (floor {own}) imports {name} (floor {other}); imports go down only",
                package.name
            )
        })
        .collect()
}

/// A reserved crate is imported by those named in its entry only.
fn reserved_only(package: &Package, reserved: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    normal(package)
        .filter_map(|name| Some((name, reserved.get(name)?)))
        .filter(|(_, allowed)| !allowed.iter().any(|allowed| *allowed == *package.name))
        .map(|(name, allowed)| {
            format!(
                "{} imports {name}, which deny.toml reserves for {}",
                package.name,
                allowed.join(", ")
            )
        })
        .collect()
}

fn normal(package: &Package) -> impl Iterator<Item = &str> {
    package
        .dependencies
        .iter()
        .filter(|d| d.kind == DependencyKind::Normal)
        .map(|d| d.name.as_str())
}

fn floors(metadata: &Metadata) -> anyhow::Result<Floors> {
    let listed = metadata.workspace_metadata["floors"]["from-the-ground"]
        .as_array()
        .context("[workspace.metadata.floors] from-the-ground is missing")?;
    let mut floors = Floors::new();
    for (floor, crates) in listed.iter().enumerate() {
        for name in crates
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| name.as_str())
        {
            if floors.insert(name.to_owned(), floor).is_some() {
                bail!("{name} stands on two floors");
            }
        }
    }
    Ok(floors)
}

fn beside(metadata: &Metadata, name: &str) -> bool {
    metadata.workspace_metadata["floors"]["beside"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|other| other.as_str() == Some(name))
}

/// The `[bans] deny` entries that have wrappers: crate to who may import it.
fn reserved(root: &Path) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
    let deny: toml::Table = text.parse().context("deny.toml")?;
    let entries = deny
        .get("bans")
        .and_then(|bans| bans.get("deny"))
        .and_then(|deny| deny.as_array());
    Ok(entries
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let name = entry.get("crate")?.as_str()?.to_owned();
            let wrappers = entry.get("wrappers")?.as_array()?;
            Some((
                name,
                wrappers
                    .iter()
                    .filter_map(|w| w.as_str())
                    .map(str::to_owned)
                    .collect(),
            ))
        })
        .collect())
}
