//! Networks behind routers: a public network in the middle, and homes around it that translate addresses.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use crate::{
    hosts::{self, Host, Lan},
    patience,
};

/// First three numbers of every public address; TEST-NET-2, which nodes take for public.
const PUBLIC: &str = "198.51.100";

/// The network in the middle, where hosts have public addresses. Gone when dropped.
pub struct Internet {
    lan: Lan,
    homes: u8,
}

/// A network with private addresses behind a router. Gone when dropped.
pub struct Home {
    lan: Lan,
    /// The router, as the internet sees it.
    pub router: Host,
    nat: Nat,
    forwarded: Vec<String>,
}

/// How a router gives its own address to what its network sends. Either lets in only what answers, and drops
/// the rest without a word, as home routers do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// One public port for one private one, whoever is spoken to: holes can be punched.
    EndpointIndependent,
    /// Another random port for everybody spoken to: nobody can foretell it.
    Symmetric,
}

/// Whether routers can be made here; says loudly why not, so that a skipped test is seen.
pub fn available() -> bool {
    let has_nft = || {
        Command::new("nft")
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok()
    };
    if !hosts::available() {
        return false;
    }
    if !has_nft() {
        #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
        {
            eprintln!("SKIPPED: routers need nftables (the `nft` program)");
        }
        return false;
    }
    true
}

impl Internet {
    /// Makes the network, with nobody on it.
    pub fn new() -> anyhow::Result<Self> {
        let lan = Lan::with_prefix(PUBLIC)?;
        Ok(Self { lan, homes: 0 })
    }

    /// Adds a host with a public address.
    pub fn host(&mut self) -> anyhow::Result<Host> {
        self.lan.host()
    }

    /// Adds a home: a router with a public address, and a network behind it, the Nth with addresses 192.168.N.
    pub fn home(&mut self, nat: Nat) -> anyhow::Result<Home> {
        self.homes += 1;
        let lan = Lan::with_prefix(&format!("192.168.{}", self.homes))?;
        let router = self.lan.host()?;
        lan.plug(&router, "router", "home", &lan.gateway())?;
        sh(&router, "echo 1 > /proc/sys/net/ipv4/ip_forward")?;
        let home = Home {
            lan,
            router,
            nat,
            forwarded: Vec::new(),
        };
        home.route()?;
        Ok(home)
    }
}

impl Home {
    /// Adds a host behind the router.
    pub fn host(&mut self) -> anyhow::Result<Host> {
        self.lan.host()
    }

    /// Has the router hand what comes to a port of its own to the same one of a host; `protocol` is `tcp` or `udp`.
    pub fn forward(&mut self, protocol: &str, port: u16, host: &Host) -> anyhow::Result<()> {
        let rule = format!("iifname eth0 {protocol} dport {port} dnat to {}", host.ip);
        self.forwarded.push(rule);
        self.route()
    }

    /// Has the router forward nothing any more; what goes on already goes on.
    pub fn forward_nothing(&mut self) -> anyhow::Result<()> {
        self.forwarded.clear();
        self.route()
    }

    fn route(&self) -> anyhow::Result<()> {
        let how = match self.nat {
            // The kernel keeps the source port where it can.
            Nat::EndpointIndependent => "persistent",
            Nat::Symmetric => "fully-random",
        };
        let forwarded = self.forwarded.join("\n");
        nft(
            &self.router,
            &format!(
                "flush ruleset
                 table ip home {{
                   chain out {{ type nat hook postrouting priority srcnat; oifname eth0 masquerade {how}; }}
                   chain back {{ type nat hook prerouting priority dstnat; {forwarded}
                   }}
                   chain here {{ type filter hook input priority filter; iifname eth0 ct state new drop; }}
                   chain through {{
                     type filter hook forward priority filter;
                     iifname eth0 ct state new ct status dnat accept
                     iifname eth0 ct state new drop
                   }}
                 }}"
            ),
        )
    }
}

fn nft(host: &Host, rules: &str) -> anyhow::Result<()> {
    let mut child = host
        .command("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("the rules' way in")?
        .write_all(rules.as_bytes())?;
    let output = patience::output_of(child)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "nft: {said}");
    Ok(())
}

fn sh(host: &Host, script: &str) -> anyhow::Result<()> {
    let output = patience::output(host.command("sh").args(["-c", script]))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}: {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        net::{SocketAddr, UdpSocket},
        time::Duration,
    };

    use super::*;

    const PORT: u16 = 4011;

    fn listen(host: &Host, port: u16) -> anyhow::Result<UdpSocket> {
        let socket = host.udp(port)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        Ok(socket)
    }

    /// Who a datagram from `from` seems to come from, if it arrives; sent again, as the first ones may wait for ARP.
    fn send(from: &UdpSocket, to: (&UdpSocket, SocketAddr)) -> Option<SocketAddr> {
        (0..3).find_map(|_| {
            from.send_to(b"hello", to.1).ok()?;
            let (_, sender) = to.0.recv_from(&mut [0; 16]).ok()?;
            Some(sender)
        })
    }

    fn at(host: &Host, port: u16) -> SocketAddr {
        SocketAddr::new(host.ip.parse().expect("an address"), port)
    }

    /// Which port of its router a host behind it is seen at by two hosts; and the sockets of all three.
    fn seen(net: &mut Internet, inside: &Host) -> anyhow::Result<([SocketAddr; 2], [UdpSocket; 3])> {
        let (near, far) = (net.host()?, net.host()?);
        let (own, one, other) = (listen(inside, PORT)?, listen(&near, 1)?, listen(&far, 1)?);
        let first = send(&own, (&one, at(&near, 1))).context("the first hears it")?;
        let second = send(&own, (&other, at(&far, 1))).context("the second hears it")?;
        Ok(([first, second], [own, one, other]))
    }

    #[test]
    fn everybody_sees_the_same_port_of_an_endpoint_independent_router_and_only_answers_come_in()
    -> anyhow::Result<()> {
        if !available() {
            return Ok(());
        }
        let mut net = Internet::new()?;
        let mut home = net.home(Nat::EndpointIndependent)?;
        let inside = home.host()?;
        let ([first, second], [own, one, _]) = seen(&mut net, &inside)?;
        ensure!(
            first == at(&home.router, PORT) && second == first,
            "{first} {second}"
        );
        ensure!(send(&one, (&own, first)).is_some(), "an answer comes in");
        let stranger = listen(&net.host()?, 1)?;
        ensure!(send(&stranger, (&own, first)).is_none(), "a stranger stays out");
        Ok(())
    }

    #[test]
    fn everybody_sees_another_port_of_a_symmetric_router() -> anyhow::Result<()> {
        if !available() {
            return Ok(());
        }
        let mut net = Internet::new()?;
        let mut home = net.home(Nat::Symmetric)?;
        let inside = home.host()?;
        let ([first, second], [own, one, _]) = seen(&mut net, &inside)?;
        ensure!(
            first.ip() == second.ip() && first.port() != second.port(),
            "{first} {second}"
        );
        ensure!(send(&one, (&own, first)).is_some(), "an answer comes in");
        ensure!(send(&one, (&own, second)).is_none(), "nobody else's hole is open");
        Ok(())
    }

    #[test]
    fn a_forwarded_port_lets_strangers_in_and_a_partition_nobody() -> anyhow::Result<()> {
        if !available() {
            return Ok(());
        }
        let mut net = Internet::new()?;
        let mut home = net.home(Nat::EndpointIndependent)?;
        let (inside, stranger) = (home.host()?, net.host()?);
        home.forward("udp", PORT, &inside)?;
        let (own, outside) = (listen(&inside, PORT)?, listen(&stranger, 1)?);
        let public = at(&home.router, PORT);
        ensure!(send(&outside, (&own, public)).is_some(), "a stranger comes in");
        home.router.set_partitioned(true)?;
        ensure!(send(&outside, (&own, public)).is_none(), "nobody does");
        home.router.set_partitioned(false)?;
        ensure!(send(&outside, (&own, public)).is_some(), "it heals");
        Ok(())
    }
}
