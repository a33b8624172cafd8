//! The tests that need hosts of their own.
use std::process::Command;

use anyhow::{Context, bail};

/// Test binaries whose tests are of hosts, routers and what lies between them.
const TESTS: [(&str, &[&str]); 2] = [
    ("cardume-testkit", &["--lib"]),
    ("cardume", &["--test", "hosts", "--test", "nat"]),
];

/// Runs them one after the other, so that none has to share the machine; what is skipped says so.
pub(crate) fn run() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    for (package, which) in TESTS {
        let status = Command::new(&cargo)
            .args(["test", "--locked", "--package", package])
            .args(which)
            .args(["--", "--include-ignored", "--nocapture", "--test-threads", "1"])
            .status()
            .context("cargo test")?;
        if !status.success() {
            bail!("the tests of networks in {package} have failed");
        }
    }
    Ok(())
}
