//! Dependencies that nobody uses: each is code to fetch, to build and to trust for nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use cargo_metadata::{Metadata, Package};

use super::{sources::rust_files, versions};

/// Checks every crate's dependencies, and those that the workspace lists for its crates.
pub(super) fn check(metadata: &Metadata, root: &Path) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let folder = package
            .manifest_path
            .parent()
            .context("a manifest has a folder")?;
        let names = package.dependencies.iter().map(name_in_code);
        for name in unnamed(names, &sources(folder.as_std_path())?) {
            wrong.push(format!("{} depends on {name} and never names it", package.name));
        }
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml")?;
    for name in unclaimed(&manifest, &metadata.workspace_packages())? {
        wrong.push(format!("the workspace lists {name}, which no crate depends on"));
    }
    Ok(wrong)
}

/// What the sources call a dependency.
fn name_in_code(dependency: &cargo_metadata::Dependency) -> String {
    dependency
        .rename
        .as_ref()
        .unwrap_or(&dependency.name)
        .replace('-', "_")
}

/// Those of `names` that stand in none of the words of `sources`.
fn unnamed(names: impl Iterator<Item = String>, sources: &[String]) -> BTreeSet<String> {
    let words: BTreeSet<&str> = sources.iter().flat_map(|text| words(text)).collect();
    names.filter(|name| !words.contains(name.as_str())).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter != '_' && !letter.is_alphanumeric())
}

/// The code of a crate, without comment lines, which may well speak of what is not used.
fn sources(folder: &Path) -> anyhow::Result<Vec<String>> {
    let read = |file: PathBuf| -> anyhow::Result<String> {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        Ok(code.collect::<Vec<_>>().join("\n"))
    };
    rust_files(folder)?.into_iter().map(read).collect()
}

/// Entries of `[workspace.dependencies]` that no crate takes up.
///
/// Crates of our own may wait there for their first user, and those with a floor (see [`versions`]) may
/// stand there to be seen.
fn unclaimed(manifest: &str, packages: &[&Package]) -> anyhow::Result<Vec<String>> {
    let manifest: toml::Table = manifest.parse().context("Cargo.toml")?;
    let listed = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(|dependencies| dependencies.as_table())
        .context("[workspace.dependencies] is missing")?;
    let claimed: BTreeSet<&str> = packages
        .iter()
        .flat_map(|package| &package.dependencies)
        .map(|dependency| dependency.name.as_str())
        .collect();
    Ok(listed
        .iter()
        .filter(|(name, how)| {
            !claimed.contains(name.as_str()) && how.get("path").is_none() && !versions::has_floor(name)
        })
        .map(|(name, _)| name.clone())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_used_when_the_code_has_its_name_as_a_word() {
        let sources = ["use rand::Rng;\nlet strand = serde_json2;".to_owned()];
        let names = ["rand", "and", "serde_json"].map(str::to_owned);
        let unused = unnamed(names.into_iter(), &sources);
        assert_eq!(unused.into_iter().collect::<Vec<_>>(), ["and", "serde_json"]);
    }

    #[test]
    fn the_workspace_lists_what_is_claimed_or_has_a_floor() {
        let manifest =
            "[workspace.dependencies]\nbytesize = \"2\"\nours = { path = \"ours\" }\nyamux = \"0.14.1\"\n";
        assert_eq!(unclaimed(manifest, &[]).unwrap(), ["bytesize"]);
        unclaimed("[workspace]", &[]).unwrap_err();
    }
}
