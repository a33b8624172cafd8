//! Where the two sides of a measurement run, and what left the source there.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpListener},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use cardume_testkit::hosts::{self, Host, Lan};

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long something may take whose time is measured.
const LONG: Duration = Duration::from_secs(300);

/// Loopback, or a host of its own whose network card counts.
#[derive(Debug, Clone, Default)]
pub struct Place {
    host: Option<Host>,
}

/// The places of one measurement.
#[derive(Default)]
pub struct Places {
    /// Where sources run.
    pub source: Place,
    /// Where fetchers run.
    pub fetcher: Place,
    _lan: Option<Lan>,
}

impl Places {
    /// Two hosts on a switch; loopback, with a loud line, where hosts cannot be made.
    ///
    /// # Errors
    ///
    /// If the first host could be made and another could not.
    pub fn counted() -> anyhow::Result<Self> {
        if !hosts::available() {
            return Ok(Self::default());
        }
        let mut lan = Lan::new()?;
        Ok(Self {
            source: Place {
                host: Some(lan.host()?),
            },
            fetcher: Place {
                host: Some(lan.host()?),
            },
            _lan: Some(lan),
        })
    }
}

impl Place {
    /// A command that runs here.
    pub fn command(&self, program: &str) -> Command {
        match &self.host {
            Some(host) => host.command(program),
            None => Command::new(program),
        }
    }

    /// The host, if it is not loopback.
    pub fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// The address others reach it at.
    pub fn ip(&self) -> IpAddr {
        let text = self.host.as_ref().map_or("127.0.0.1", |host| host.ip.as_str());
        text.parse().expect("hosts have IPv4 addresses")
    }

    /// An address nobody listens at just now.
    ///
    /// # Errors
    ///
    /// If this machine has no port left.
    pub fn free(&self) -> anyhow::Result<SocketAddr> {
        // A host's ports are its own; one that is free on loopback is as good as any there.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(SocketAddr::new(self.ip(), port))
    }

    /// Bytes that have left this place so far, headers and all; `None` on loopback, which is everybody's.
    ///
    /// # Errors
    ///
    /// If `process`, which must run here, has ended.
    pub fn sent(&self, process: u32) -> anyhow::Result<Option<u64>> {
        if self.host.is_none() {
            return Ok(None);
        }
        let text = fs::read_to_string(format!("/proc/{process}/net/dev"))?;
        let counters = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("eth0:"))
            .context("eth0")?;
        // proc_net_dev(5): eight numbers received, then bytes sent.
        let sent = counters.split_whitespace().nth(8).context("a ninth number")?;
        Ok(Some(sent.parse()?))
    }
}

/// Waits until `ready` says so.
///
/// # Errors
///
/// What `ready` says, or that it took too long.
pub fn wait_for(what: &str, ready: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    wait(what, PATIENCE, Duration::from_millis(2), ready)
}

/// Waits until `ready` says so of work that takes its time, and is asked less often for it.
///
/// # Errors
///
/// What `ready` says, or that it took too long.
pub fn wait_for_long(what: &str, ready: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    wait(what, LONG, Duration::from_millis(10), ready)
}

fn wait(
    what: &str,
    patience: Duration,
    look: Duration,
    mut ready: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while !ready()? {
        if began.elapsed() > patience {
            bail!("waited {patience:?} for {what}");
        }
        std::thread::park_timeout(look);
    }
    Ok(())
}
