//! A host with systemd of its own: a container that boots a Debian from a directory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use crate::{dist::output_of, run};

/// Longer than anything takes here on a slow machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(50);

/// Runs a command in control groups of its own, called as it is: two systemds in one would take each other's processes.
const APART: &str = r#"
for tree in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    [ -e "$tree/cgroup.procs" ] || continue
    mkdir -p "$tree/cardume-$0" && echo $$ > "$tree/cardume-$0/cgroup.procs"
done
exec "$@"
"#;

/// The network between the hosts: a bridge that goes when this is dropped.
pub(super) struct Bridge(pub(super) &'static str);

impl Bridge {
    pub(super) fn new(name: &'static str) -> anyhow::Result<Self> {
        run(Command::new("ip").args(["link", "add", name, "type", "bridge"]))?;
        let bridge = Self(name);
        run(Command::new("ip").args(["link", "set", name, "up"]))?;
        Ok(bridge)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", self.0]).status();
    }
}

/// A host that runs until this is dropped.
pub(super) struct Host {
    pub(super) root: PathBuf,
    container: Child,
    /// Its first process, as it is called here.
    leader: u32,
}

impl Host {
    /// Boots a copy of `base` with an address on `bridge`.
    pub(super) fn boot(base: &Path, root: PathBuf, bridge: &Bridge, address: &str) -> anyhow::Result<Self> {
        let name = root
            .file_name()
            .context("a host has a name")?
            .to_string_lossy()
            .into_owned();
        run(Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .arg(base)
            .arg(&root))?;
        fs::write(root.join("etc/hostname"), format!("{name}\n"))?;
        fs::write(
            root.join("etc/systemd/network/10-host0.network"),
            format!("[Match]\nName=host0\n[Network]\nAddress={address}\nLinkLocalAddressing=ipv6\n"),
        )?;
        run(Command::new("systemctl").arg("--root").arg(&root).args([
            "--quiet",
            "enable",
            "systemd-networkd.service",
        ]))?;
        let container = Command::new("sh")
            .args(["-c", APART, &name, "systemd-nspawn"])
            .args([
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--boot",
                "--console=pipe",
            ])
            .arg(format!("--machine={name}"))
            .arg(format!("--network-bridge={}", bridge.0))
            .arg("--directory")
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("systemd-nspawn")?;
        let mut host = Self {
            root,
            container,
            leader: 0,
        };
        until("the host has booted", || {
            let ended = host.container.try_wait()?;
            ensure!(ended.is_none(), "systemd-nspawn has ended: {ended:?}");
            // The first child only sets up the one that stays.
            let Some(leader) = host.first_process()? else {
                return Ok(None);
            };
            host.leader = leader;
            let state = host.attempt(&["systemctl", "is-system-running"])?;
            Ok(matches!(state.trim(), "running" | "degraded").then_some(()))
        })?;
        Ok(host)
    }

    fn first_process(&self) -> anyhow::Result<Option<u32>> {
        let id = self.container.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        Ok(children
            .split_whitespace()
            .next()
            .and_then(|child| child.parse().ok()))
    }

    fn command(&self, command: &[&str]) -> Command {
        let mut enter = Command::new("nsenter");
        enter
            .args(["--all", "--root", "--wd", "--target"])
            .arg(self.leader.to_string())
            .arg("--")
            .args(command)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive");
        enter
    }

    /// Runs a command there and gives what it prints.
    pub(super) fn run(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = output_of(&mut self.command(command))?;
        Ok(String::from_utf8(output)?.trim().to_owned())
    }

    /// Asks the daemon there, as root.
    pub(super) fn json(&self, command: &[&str]) -> anyhow::Result<serde_json::Value> {
        let text = self.run(&[&["cardume", "--json"], command].concat())?;
        serde_json::from_str(&text).with_context(|| format!("{command:?} says {text:?}"))
    }

    /// What a command there prints, however it ends.
    pub(super) fn attempt(&self, command: &[&str]) -> anyhow::Result<String> {
        let output = self.command(command).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A property of the service.
    pub(super) fn property(&self, name: &str) -> anyhow::Result<String> {
        self.run(&[
            "systemctl",
            "show",
            "--value",
            "--property",
            name,
            "cardume.service",
        ])
    }

    /// The daemon's process there; none while there is none.
    pub(super) fn daemon(&self) -> anyhow::Result<Option<u32>> {
        let id: u32 = self.property("MainPID")?.parse()?;
        Ok((id != 0).then_some(id))
    }

    /// Waits for the service to be active with another process than `before`, and tells how long that took.
    pub(super) fn active_after(&self, before: Option<u32>) -> anyhow::Result<Duration> {
        let began = Instant::now();
        until("the service is active", || {
            let (state, now) = (self.property("ActiveState")?, self.daemon()?);
            ensure!(state != "failed", "the service failed:\n{}", self.journal()?);
            Ok((state == "active" && now.is_some() && now != before).then_some(()))
        })
        .with_context(|| self.journal().unwrap_or_default())?;
        Ok(began.elapsed())
    }

    /// The end of the service's log.
    pub(super) fn journal(&self) -> anyhow::Result<String> {
        self.attempt(&["journalctl", "--no-pager", "--unit", "cardume", "--lines", "40"])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Everything in the host dies with its first process, and that one with the container.
        if self.leader != 0 {
            let _ = Command::new("kill")
                .args(["-KILL", &self.leader.to_string()])
                .status();
        }
        let _ = self.container.kill();
        let _ = self.container.wait();
    }
}

/// Looks again and again until `look` finds something.
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if began.elapsed() > PATIENCE {
            bail!("waited {PATIENCE:?} in vain until {what}");
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is waited for is another host's, and tells nobody here"
)]
fn pause() {
    std::thread::sleep(GLANCE);
}
