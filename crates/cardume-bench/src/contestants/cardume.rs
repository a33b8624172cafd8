//! cardume itself: a daemon on each side, and `cardume get`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context;
use cardume_testkit::daemon::{Daemon, Home};

use super::{Contestant, Fetcher, Offer, Source, Wanted};
use crate::{content::Content, place::Place, watch::Watch, workload::Workload};

/// What the connection between the two runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// TCP, with what the two agree on above it.
    Tcp,
    /// QUIC.
    Quic,
}

pub(super) struct Cardume {
    program: PathBuf,
    link: Link,
}

impl Cardume {
    pub(super) fn new(program: &Path, link: Link) -> Self {
        Self {
            program: program.to_path_buf(),
            link,
        }
    }
}

impl Contestant for Cardume {
    fn name(&self) -> &'static str {
        match self.link {
            Link::Tcp => "cardume",
            Link::Quic => "cardume-quic",
        }
    }

    fn needs(&self) -> Vec<PathBuf> {
        vec![self.program.clone()]
    }

    fn can(&self, workload: Workload) -> bool {
        match workload {
            Workload::W1 | Workload::W6 | Workload::W9 | Workload::Far20 | Workload::Far80 => true,
            _ => self.link == Link::Tcp,
        }
    }

    fn source(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Source>> {
        let daemon = start(&self.program, place)?;
        let shared = daemon.json(["share".as_ref(), content.path.as_os_str()])?;
        let cid = shared["cid"].as_str().context("cid")?;
        Ok(Box::new(Giver {
            what: format!("{cid} {}", daemon.peer_id()?),
            at: reached_at(&daemon, self.link)?,
            is_udp: self.link == Link::Quic,
            daemon,
        }))
    }

    fn fetcher(&self, place: &Place, _: &Content) -> anyhow::Result<Box<dyn Fetcher>> {
        Ok(Box::new(Taker {
            daemon: start(&self.program, place)?,
            link: self.link,
        }))
    }
}

/// Starts a node that listens on any port, and knows nobody.
pub(crate) fn start(program: &Path, place: &Place) -> anyhow::Result<Daemon> {
    home(program, place)?.start()
}

/// A node that is to listen on any port, and to know nobody.
pub(crate) fn home(program: &Path, place: &Place) -> anyhow::Result<Home> {
    Ok(match place.host() {
        None => Home::new(program)?,
        Some(host) => Home::on(program, host)?
            .set(format!(
                r#"listen.addresses=["/ip4/{0}/udp/0/quic-v1","/ip4/{0}/tcp/0"]"#,
                host.ip
            ))
            .set("mdns.enabled=false"),
    })
}

fn reached_at(daemon: &Daemon, link: Link) -> anyhow::Result<SocketAddr> {
    let address = daemon.address(link == Link::Tcp)?;
    let mut parts = address.split('/').skip(2).step_by(2);
    let ip = parts.next().context("an IP address")?.parse()?;
    let port = parts.next().context("a port")?.parse()?;
    Ok(SocketAddr::new(ip, port))
}

struct Giver {
    daemon: Daemon,
    what: String,
    at: SocketAddr,
    is_udp: bool,
}

impl Source for Giver {
    fn processes(&self) -> Vec<u32> {
        vec![self.daemon.pid()]
    }

    fn offer(&self) -> Offer {
        Offer {
            what: self.what.clone(),
            at: self.at,
            is_udp: self.is_udp,
        }
    }
}

struct Taker {
    daemon: Daemon,
    link: Link,
}

impl Fetcher for Taker {
    fn processes(&self) -> Vec<u32> {
        vec![self.daemon.pid()]
    }

    fn fetch(&mut self, watch: &Watch, wanted: &Wanted<'_>) -> anyhow::Result<()> {
        let mut command = self.daemon.command();
        command.arg("get").arg("-o").arg(wanted.to);
        for offer in wanted.offers {
            let (_, peer) = offer.what.split_once(' ').context("a peer")?;
            let (ip, port) = (offer.at.ip(), offer.at.port());
            command.arg("--peer").arg(match self.link {
                Link::Tcp => format!("/ip4/{ip}/tcp/{port}/p2p/{peer}"),
                Link::Quic => format!("/ip4/{ip}/udp/{port}/quic-v1/p2p/{peer}"),
            });
        }
        if let Some(range) = &wanted.range {
            command
                .arg("--range")
                .arg(format!("{}-{}", range.start, range.end - 1));
        }
        let offer = wanted.offers.first().context("an offer")?;
        command.arg(offer.what.split(' ').next().context("a CID")?);
        watch.run(&mut command)
    }
}
