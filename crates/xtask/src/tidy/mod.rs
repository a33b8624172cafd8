//! The architecture as a check: `docs/architecture.md` gives the reasons.

mod dependencies;
mod licenses;
mod sources;
mod unused;
mod versions;

use std::path::PathBuf;

use anyhow::{Context, bail};
use cargo_metadata::MetadataCommand;

use crate::say;

/// Runs every check, reports all that is wrong, and fails if anything is.
pub(crate) fn run() -> anyhow::Result<()> {
    let metadata = MetadataCommand::new().exec().context("cargo metadata")?;
    let root = PathBuf::from(metadata.workspace_root.as_std_path());
    let mut wrong = Vec::new();
    wrong.extend(dependencies::check(&metadata, &root)?);
    wrong.extend(licenses::check(&metadata, &root)?);
    wrong.extend(sources::check(&root)?);
    wrong.extend(unused::check(&metadata, &root)?);
    wrong.extend(versions::check(&metadata));
    if wrong.is_empty() {
        say(&format!(
            "tidy: {} crates keep to the architecture",
            metadata.workspace_members.len()
        ));
        return Ok(());
    }
    for complaint in &wrong {
        say(&format!("tidy: {complaint}"));
    }
    bail!("{} things to tidy", wrong.len());
}
