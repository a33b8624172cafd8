//! `cargo xtask alerts`: the alerts before Prometheus' own tools, and before Prometheus itself, scraping real nodes.

use std::process::Command;

use crate::{run, say};

const RULES: &str = "config/prometheus/alerts.yml";
/// Series written for each alert, with which it fires and stops.
const TESTS: &str = "config/prometheus/alerts.test.yml";

/// Checks the rules and has each of them fire and stop, or says loudly why it cannot.
pub(crate) fn run_all() -> anyhow::Result<()> {
    if Command::new("promtool").arg("--version").output().is_err() {
        say("alerts: SKIPPED: promtool is not installed (Debian has it in the package prometheus)");
        return Ok(());
    }
    run(Command::new("promtool").args(["check", "rules", RULES]))?;
    run(Command::new("promtool").args(["test", "rules", TESTS]))?;
    say("alerts: every one fired and stopped on series written for it");
    if Command::new("prometheus").arg("--version").output().is_err() {
        say("alerts: SKIPPED: prometheus is not installed");
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(["test", "--locked", "--package", "cardume", "--test", "prometheus"])
        .args(["--", "--include-ignored", "--nocapture"]))?;
    say(
        "alerts: every one fired from its cause on real nodes and stopped, but what is told above to be skipped",
    );
    Ok(())
}
