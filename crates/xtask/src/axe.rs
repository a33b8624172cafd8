//! `cargo xtask axe`: the page before axe-core, which knows what keeps people out of pages.
use std::{fs, path::PathBuf, process::Command};

use anyhow::Context;

use crate::{run, say};

/// Fetched, never kept in the repository.
const PACKAGE: &str = "axe-core@4";

/// Has axe-core look at the page as real browsers show it, or says loudly why it cannot.
pub(crate) fn run_all() -> anyhow::Result<()> {
    for program in ["npm", "chromium", "chromedriver"] {
        if Command::new(program).arg("--version").output().is_err() {
            say(&format!("axe: SKIPPED: {program} is not installed"));
            return Ok(());
        }
    }
    let directory = PathBuf::from("target/axe");
    fs::create_dir_all(&directory)?;
    run(Command::new("npm")
        .args(["install", "--no-save", "--silent", "--prefix"])
        .args([directory.as_os_str(), PACKAGE.as_ref()]))?;
    let script = directory.join("node_modules/axe-core/axe.min.js");
    let script = fs::canonicalize(&script).with_context(|| script.display().to_string())?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args([
            "test",
            "--locked",
            "--package",
            "cardume",
            "--test",
            "page",
            "looks::",
        ])
        .env("CARDUME_AXE", script))?;
    say("axe: it found nothing in light, in dark and on a phone");
    Ok(())
}
