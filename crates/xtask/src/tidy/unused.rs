//! Dependencies that nobody uses: each is code to fetch, to build and to trust for nothing.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use cargo_metadata::{Dependency, Metadata};

use super::sources::rust_files;

/// Checks that every crate names what it depends on.
pub(super) fn check(metadata: &Metadata) -> anyhow::Result<Vec<String>> {
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
    Ok(wrong)
}

/// What the sources call a dependency.
fn name_in_code(dependency: &Dependency) -> String {
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
}
