//! Hosts on one machine: network namespaces on a switch of their own.

use std::{
    fs::File,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

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
    /// What its default route names: the router of its network, if it has one.
    gateway: String,
    switch: String,
    port: String,
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
        let host = Host {
            namespace: format!("{}h{number}", self.name),
            ip: format!("{}.{number}", self.prefix),
            gateway: self.gateway(),
            switch: self.name.clone(),
            port: format!("p{number}"),
        };
        ip(&["netns", "add", &host.namespace])?;
        host.ip(&["link", "set", "lo", "up"])?;
        self.plug(&host, &host.port, "eth0", &host.ip)?;
        host.ip(&["route", "add", "default", "via", &host.gateway])?;
        Ok(host)
    }

    /// The address at which hosts expect a router.
    pub(crate) fn gateway(&self) -> String {
        format!("{}.254", self.prefix)
    }

    /// Gives `host` an interface on the switch.
    pub(crate) fn plug(&self, host: &Host, port: &str, interface: &str, address: &str) -> anyhow::Result<()> {
        let peer = [
            "type",
            "veth",
            "peer",
            "name",
            interface,
            "netns",
            &host.namespace,
        ];
        self.inside(&[&["link", "add", port], &peer[..]].concat())?;
        self.inside(&["link", "set", port, "master", "switch", "up"])?;
        host.ip(&["addr", "add", &format!("{address}/24"), "dev", interface])?;
        host.ip(&["link", "set", interface, "up"])
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

    /// A socket of this host for datagrams, at `port`.
    pub fn udp(&self, port: u16) -> anyhow::Result<UdpSocket> {
        within(&self.namespace, move || Ok(UdpSocket::bind(("0.0.0.0", port))?))
    }

    /// A connection that this host makes.
    pub fn tcp(&self, to: SocketAddr) -> anyhow::Result<TcpStream> {
        within(&self.namespace, move || Ok(TcpStream::connect(to)?))
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

    /// Cuts the host off, or lets it back: its interface stays up, and nothing passes the port of its switch.
    pub fn set_partitioned(&self, partitioned: bool) -> anyhow::Result<()> {
        let state = if partitioned { "down" } else { "up" };
        ip(&["-n", &self.switch, "link", "set", &self.port, state])
    }

    /// Begins to record what passes its interfaces.
    pub fn capture(&self) -> anyhow::Result<crate::capture::Capture> {
        crate::capture::Capture::begin(&self.namespace)
    }

    pub(crate) fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        ip(&[&["-n", &self.namespace], arguments].concat())
    }
}

/// Runs `open` in a network namespace; what it opens stays there.
pub(crate) fn within<T: Send + 'static>(
    namespace: &str,
    open: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let namespace = File::open(format!("/var/run/netns/{namespace}")).context("network namespace")?;
    // A namespace belongs to a thread: this one enters, opens, and ends.
    let inside = std::thread::spawn(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        open()
    });
    inside.join().expect("opening a socket does not panic")
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
