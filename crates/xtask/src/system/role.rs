//! The Ansible role, played on a host of its own against itself.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};

use super::host::Host;
use crate::{run, say};

/// What the play and its role are called on the host.
const PLACE: &str = "root/ansible";

/// Plays the role with one configuration after the other. Skipped, loudly, on a host without Ansible.
pub(super) fn plays(host: &Host, package: &Path) -> anyhow::Result<()> {
    if !host.root.join("usr/bin/ansible-playbook").exists() {
        say("system: SKIPPED: the Ansible role; the Debian that --base names has no ansible-core");
        return Ok(());
    }
    run(Command::new("cp")
        .arg("-a")
        .arg("config/ansible")
        .arg(host.root.join(PLACE)))?;
    fs::copy(package, host.root.join("root/cardume_0.0.2.deb"))?;

    let first = play(host, "[rates]\nupload = \"20MB/s\"\n")?.well("installs")?;
    ensure!(first.changed > 0, "the first play has changed nothing");
    ensure!(upload(host)? == 20_000_000, "the configuration is not in force");
    let process = host.daemon()?;
    let again = play(host, "[rates]\nupload = \"20MB/s\"\n")?.well("once more")?;
    ensure!(again.changed == 0, "the same play changes {}", again.changed);
    ensure!(host.daemon()? == process, "the same play starts another daemon");

    let reloaded = play(host, "[rates]\nupload = \"30MB/s\"\n")?.well("another rate")?;
    ensure!(
        reloaded.changed > 0 && upload(host)? == 30_000_000,
        "no other rate"
    );
    ensure!(host.daemon()? == process, "a rate needs no restart");

    let broken = play(host, "[rates]\nuplaod = \"40MB/s\"\n")?;
    ensure!(
        !broken.success && broken.told.contains("uplaod"),
        "a mistake is played: {}",
        broken.told
    );
    let file = fs::read_to_string(host.root.join("etc/cardume/conf.d/50-fleet.toml"))?;
    ensure!(file.contains("30MB/s"), "a mistake is on the host: {file}");
    ensure!(
        host.daemon()? == process && upload(host)? == 30_000_000,
        "a mistake has reached the daemon"
    );

    play(host, "[store]\nin_place = false\n[rates]\nupload = \"30MB/s\"\n")?.well("what needs a restart")?;
    ensure!(
        host.daemon()? != process,
        "what needs a restart was not restarted for"
    );
    let waiting = host.json(&["status"])?["config"]["waiting"].to_string();
    ensure!(waiting == "[]", "{waiting} waits for a restart still");
    say("system: the Ansible role installed, changed nothing twice, reloaded, refused a mistake, restarted");
    Ok(())
}

/// How a play has ended.
struct Played {
    success: bool,
    changed: u32,
    told: String,
}

impl Played {
    fn well(self, what: &str) -> anyhow::Result<Self> {
        ensure!(self.success, "{what}: {}", self.told);
        Ok(self)
    }
}

fn play(host: &Host, config: &str) -> anyhow::Result<Played> {
    let variables = serde_json::json!({
        "cardume_package": "/root/cardume_0.0.2.deb",
        "cardume_config": config,
    });
    fs::write(
        host.root.join(PLACE).join("variables.json"),
        variables.to_string(),
    )?;
    fs::write(
        host.root.join(PLACE).join("here.yml"),
        "- hosts: localhost\n  connection: local\n  roles: [cardume]\n",
    )?;
    let told = host.attempt(&[
        "sh",
        "-c",
        "cd /root/ansible && ansible-playbook -i localhost, -e @variables.json here.yml 2>&1; echo \"status=$?\"",
    ])?;
    let changed = told.split("changed=").nth(1).context("no recap");
    let changed = changed.with_context(|| told.clone())?;
    let digits: String = changed.chars().take_while(char::is_ascii_digit).collect();
    Ok(Played {
        success: told.trim_end().ends_with("status=0"),
        changed: digits.parse()?,
        told,
    })
}

fn upload(host: &Host) -> anyhow::Result<u64> {
    let limits = host.json(&["net", "rates"])?;
    limits["limits"]["upload"].as_u64().context("a rate")
}
