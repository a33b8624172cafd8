//! Every dependency may be shipped: its license is one that `deny.toml` allows.

use std::path::Path;

use anyhow::Context;
use cargo_metadata::Metadata;
use spdx::{Expression, LicenseItem, ParseMode};

/// Checks what the lock file resolved to, tests and tools included.
pub(super) fn check(metadata: &Metadata, root: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(root.join("deny.toml")).context("deny.toml")?;
    let deny: toml::Table = text.parse().context("deny.toml")?;
    let allowed = deny
        .get("licenses")
        .and_then(|licenses| licenses.get("allow"))
        .and_then(|allow| allow.as_array());
    let allowed: Vec<&str> = allowed
        .into_iter()
        .flatten()
        .filter_map(|license| license.as_str())
        .collect();
    Ok(metadata
        .packages
        .iter()
        .filter_map(|package| {
            let license = package.license.as_deref().unwrap_or("no license");
            (!satisfied(license, &allowed)).then(|| {
                format!(
                    "{} {} has {license}, which deny.toml does not allow",
                    package.name, package.version
                )
            })
        })
        .collect())
}

/// Whether one of the alternatives that `expression` offers is allowed whole.
fn satisfied(expression: &str, allowed: &[&str]) -> bool {
    let Ok(expression) = Expression::parse_mode(expression, ParseMode::LAX) else {
        return false;
    };
    expression.evaluate(|requirement| {
        let id = match &requirement.license {
            LicenseItem::Spdx { id, .. } => id.name,
            _ => return false,
        };
        let whole = match &requirement.addition {
            Some(addition) => format!("{id} WITH {addition}"),
            None => id.to_owned(),
        };
        allowed.contains(&whole.as_str()) || allowed.contains(&id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_allowed_alternative_is_enough_and_every_part_of_it_is_needed() {
        let allowed = ["MIT", "Apache-2.0"];
        assert!(satisfied("GPL-3.0-only OR MIT", &allowed));
        assert!(satisfied("MIT/Apache-2.0", &allowed));
        assert!(!satisfied("MIT AND GPL-3.0-only", &allowed));
        assert!(!satisfied("no license", &allowed));
    }
}
