//! Hosts on one machine: network namespaces on a switch of their own.

use std::{
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, bail};

/// A switch with hosts on it, cut off from the machine's own network. Gone when dropped.
pub struct Lan {
    name: String,
    prefix: String,
    hosts: u8,
}

/// One host: a network namespace with `lo`, and `eth0` on the switch.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: String,
    /// Its address on the switch.
    pub ip: String,
    /// The router that its default route names; nobody is there.
    gateway: String,
}

/// Whether hosts can be made here; says loudly why not, so that a skipped test is seen.
pub fn available() -> bool {
    let able = rustix::process::geteuid().is_root() && Lan::new().is_ok();
    if !able {
        #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
        {
            eprintln!("SKIPPED: network namespaces need root and iproute2 (the `ip` program)");
        }
    }
    able
}

impl Lan {
    /// Makes a switch with no hosts; they will have private addresses, 10.77.0.N.
    pub fn new() -> anyhow::Result<Self> {
        Self::with_prefix("10.77.0")
    }

    /// Makes a switch with no hosts; `prefix` is the first three numbers of their addresses.
    pub fn with_prefix(prefix: &str) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "cdm{}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        ip(&["netns", "add", &name])?;
        let lan = Self {
            name,
            prefix: prefix.to_owned(),
            hosts: 0,
        };
        lan.inside(&["link", "add", "switch", "type", "bridge"])?;
        // Without this a bridge may drop multicast for which it saw no query.
        lan.inside(&["link", "set", "switch", "type", "bridge", "mcast_snooping", "0"])?;
        lan.inside(&["link", "set", "switch", "up"])?;
        Ok(lan)
    }

    /// Adds a host, the first at number 1 of the prefix, with a default route, as hosts have.
    pub fn host(&mut self) -> anyhow::Result<Host> {
        self.hosts += 1;
        let number = self.hosts;
        let namespace = format!("{}h{number}", self.name);
        let (port, address) = (format!("p{number}"), format!("{}.{number}", self.prefix));
        ip(&["netns", "add", &namespace])?;
        let host = Host {
            namespace,
            ip: address,
            gateway: format!("{}.254", self.prefix),
        };
        self.inside(&[
            "link",
            "add",
            &port,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            &host.namespace,
        ])?;
        self.inside(&["link", "set", &port, "master", "switch", "up"])?;
        host.ip(&["link", "set", "lo", "up"])?;
        host.ip(&["addr", "add", &format!("{}/24", host.ip), "dev", "eth0"])?;
        host.ip(&["link", "set", "eth0", "up"])?;
        host.ip(&["route", "add", "default", "via", &host.gateway])?;
        Ok(host)
    }

    fn inside(&self, arguments: &[&str]) -> anyhow::Result<()> {
        ip(&[&["-n", &self.name], arguments].concat())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for number in 1..=self.hosts {
            let _ = ip(&["netns", "del", &format!("{}h{number}", self.name)]);
        }
        let _ = ip(&["netns", "del", &self.name]);
    }
}

impl Host {
    /// A command that runs on this host.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program);
        command
    }

    /// Takes the host off the switch, or puts it back.
    pub fn set_link(&self, up: bool) -> anyhow::Result<()> {
        self.ip(&["link", "set", "eth0", if up { "up" } else { "down" }])?;
        if up {
            // Routes go with the link.
            self.ip(&["route", "replace", "default", "via", &self.gateway])?;
        }
        Ok(())
    }

    /// Begins to record what passes its interfaces.
    pub fn capture(&self) -> anyhow::Result<crate::capture::Capture> {
        crate::capture::Capture::begin(&self.namespace)
    }

    fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        ip(&[&["-n", &self.namespace], arguments].concat())
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let Output { status, stderr, .. } = Command::new("ip")
        .args(arguments)
        .output()
        .context("the program `ip`")?;
    if !status.success() {
        bail!(
            "ip {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&stderr).trim()
        );
    }
    Ok(())
}
