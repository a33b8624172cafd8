//! The licences of everything in the program, as those licences ask for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::Context;
use cargo_metadata::{DependencyKind, Metadata, PackageId};

/// How licence files begin.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// One text with the program's own licences first, then each other text once, after the crates that it is of.
pub(super) fn text(metadata: &Metadata, root: &Path) -> anyhow::Result<String> {
    let mut text =
        String::from("cardume is licensed under either of MIT and Apache-2.0, at your choice.\n\n");
    text.push_str(&fs::read_to_string(root.join("LICENSE-MIT"))?);
    text.push_str(
        "\nThe Apache License 2.0 is in LICENSE-APACHE beside this file. Linked into the program are:\n\n",
    );
    let linked = linked(metadata)?;
    let mut notices: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata
        .packages
        .iter()
        .filter(|package| linked.contains(&package.id))
    {
        let name = format!("{} {}", package.name, package.version);
        writeln!(
            text,
            "  {name}: {}",
            package.license.as_deref().unwrap_or("see below")
        )?;
        let folder = package
            .manifest_path
            .parent()
            .context("a manifest has a folder")?;
        for notice in notices_in(folder.as_std_path())? {
            notices.entry(notice).or_default().push(name.clone());
        }
    }
    for (notice, names) in notices {
        write!(text, "\n---- {}\n\n{}\n", names.join(", "), notice.trim_end())?;
    }
    Ok(text)
}

/// The packages from elsewhere that the program is linked with.
fn linked(metadata: &Metadata) -> anyhow::Result<BTreeSet<PackageId>> {
    let nodes = &metadata
        .resolve
        .as_ref()
        .context("cargo metadata resolves")?
        .nodes;
    let nodes: BTreeMap<_, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    let own = |id: &PackageId| metadata.workspace_members.contains(id);
    let start = metadata.workspace_packages().into_iter();
    let mut waiting: Vec<_> = start
        .filter(|package| package.name.as_str() == "cardume")
        .map(|p| &p.id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let node = nodes.get(id).context("every package is resolved")?;
        let linked = |dependency: &&cargo_metadata::NodeDep| {
            let kinds = &dependency.dep_kinds;
            kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
        };
        waiting.extend(node.deps.iter().filter(linked).map(|dependency| &dependency.pkg));
    }
    Ok(seen.into_iter().filter(|id| !own(id)).collect())
}

fn notices_in(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut texts = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if NAMES.iter().any(|known| name.starts_with(known)) && entry.file_type()?.is_file() {
            texts.insert(String::from_utf8_lossy(&fs::read(entry.path())?).replace('\r', ""));
        }
    }
    Ok(texts)
}
