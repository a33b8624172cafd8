//! Strangers at the gate of a closed network, two hundred a second.

use std::{
    future::poll_fn,
    pin::pin,
    process::Command,
    task::Poll,
    time::{Duration, Instant},
};

use anyhow::Context;
use cardume_testkit::{
    daemon::{Daemon, Home},
    hosts::Lan,
};
use cardume_transport::Timeouts;
use futures::{AsyncWriteExt, StreamExt, stream::FuturesUnordered};
use libp2p_core::{
    Endpoint, Multiaddr, Transport,
    muxing::{StreamMuxerBox, StreamMuxerExt},
    transport::{DialOpts, PortUse},
};
use libp2p_identity::Keypair;
use tokio::{runtime::Runtime, time::timeout};

use super::Setting;
use crate::{
    ask::Question,
    figures::{Measured, Waits},
    watch::Watch,
};

/// How long it goes on.
const TIME: Duration = Duration::from_secs(10);
/// Time between two strangers.
const EVERY: Duration = Duration::from_millis(5);
/// Longer than a stranger is let stand.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two pings of one member by another.
const LOOK: Duration = Duration::from_millis(50);
/// What every libp2p peer asks first.
const IDENTIFY: &[u8] = b"\x13/multistream/1.0.0\n\x0f/ipfs/id/1.0.0\n";

/// Who comes, and from where: strangers on the node's own host are never turned away unheard.
pub(super) const WAYS: [(&str, Option<Way>); 5] = [
    ("no-strangers", None),
    ("this-host-tcp", Some(Way::new(true, false))),
    ("this-host-quic", Some(Way::new(false, false))),
    ("one-host-tcp", Some(Way::new(true, true))),
    ("one-host-quic", Some(Way::new(false, true))),
];

/// How strangers come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    tcp: bool,
    /// From a host that is not the node's.
    far: bool,
}

impl Way {
    const fn new(tcp: bool, far: bool) -> Self {
        Self { tcp, far }
    }
}

/// Has strangers come to one of two members, while the other pings it.
pub(super) fn run(setting: &Setting<'_>, way: Option<Way>) -> anyhow::Result<Measured> {
    let mut network = Network::new(setting, way.is_some_and(|way| way.far))?;
    let (node, other) = (network.member()?, network.member()?);
    other.json(["peer", "connect", &node.address(true)?])?;
    let mut strangers = way
        .map(|way| network.strangers(&node.address(way.tcp)?))
        .transpose()?;
    let path = format!("/v1/peers/{}/ping", node.peer_id()?);
    let watch = Watch::begin(&[node.pid()], &[other.pid()])?;
    let began = Instant::now();
    let knocking = strangers
        .as_mut()
        .map(|strangers| strangers.spawn())
        .transpose()?;
    let mut pings = Vec::new();
    while let Some(left) = TIME.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        let ping = Question {
            what: ("POST", &path),
            ..Question::get(&path)
        };
        let answer = ping.ask(&other.socket())?;
        pings.push(answer["rtt_ms"].as_f64().context("rtt_ms")? / 1000.0);
        std::thread::park_timeout(left.min(LOOK));
    }
    let seconds = began.elapsed().as_secs_f64();
    let (source, fetcher) = watch.end()?;
    if let Some(mut knocking) = knocking {
        anyhow::ensure!(knocking.wait()?.success(), "the strangers did not come");
    }
    let peers = node.json(["status"])?["peers"].as_u64().context("peers")?;
    anyhow::ensure!(
        peers == 1,
        "the members have lost each other, or a stranger got in"
    );
    Ok(Measured {
        seconds,
        source: Some(source),
        fetcher: Some(fetcher),
        ping: Waits::of(pings),
        ..Measured::default()
    })
}

/// Comes to `address` as two hundred strangers a second do, and says how that went.
///
/// # Errors
///
/// If nobody can be dialled at all.
#[expect(clippy::print_stderr, reason = "progress goes to standard error")]
pub fn come(address: Multiaddr) -> anyhow::Result<()> {
    let (came, heard) = Runtime::new()?.block_on(knock(address))?;
    eprintln!("  {came} strangers came, and {heard} of them got a handshake");
    Ok(())
}

/// A closed network of its own.
struct Network<'a> {
    setting: &'a Setting<'a>,
    authority: Home,
    public: String,
    lan: Option<Lan>,
}

impl<'a> Network<'a> {
    fn new(setting: &'a Setting<'a>, with_hosts: bool) -> anyhow::Result<Self> {
        let authority = Home::new(setting.program)?;
        let made = authority.json(["key", "gen", "--authority", "-o", "authority"])?;
        let public = made["authority"].as_str().context("authority")?.to_owned();
        Ok(Self {
            setting,
            authority,
            public,
            lan: with_hosts.then(Lan::new).transpose()?,
        })
    }

    fn member(&mut self) -> anyhow::Result<Daemon> {
        let home = match &mut self.lan {
            None => Home::new(self.setting.program)?,
            Some(lan) => {
                let host = lan.host()?;
                let ip = &host.ip;
                let addresses = format!(r#"listen.addresses=["/ip4/{ip}/tcp/0","/ip4/{ip}/udp/0/quic-v1"]"#);
                Home::on(self.setting.program, &host)?
                    .set(addresses)
                    .set("mdns.enabled=false")
            }
        };
        let (key, certificate) = (home.path().join("key"), home.path().join("member"));
        let made = home.json(["key".as_ref(), "gen".as_ref(), key.as_os_str()])?;
        let peer = made["peer_id"].as_str().context("peer_id")?;
        let to = certificate.to_str().context("a path")?;
        self.authority
            .json(["member", "sign", peer, "--key", "authority", "-o", to])?;
        home.set(format!("identity.key_file={key:?}"))
            .set(format!("network.certificate_file={certificate:?}"))
            .set(format!("network.authorities=[{:?}]", self.public))
            .set("network.access=\"certified\"")
            .start()
    }

    /// A command that comes as strangers do: this program, on another host if there are hosts.
    fn strangers(&mut self, address: &str) -> anyhow::Result<Command> {
        let program = std::env::current_exe()?;
        let mut command = match &mut self.lan {
            None => Command::new(program),
            Some(lan) => lan.host()?.command(program),
        };
        command.args(["--knock", address]);
        Ok(command)
    }
}

/// Strangers from now on, for as long as it is looked at; how many came, and how many were heard.
async fn knock(address: Multiaddr) -> anyhow::Result<(usize, usize)> {
    let timeouts = Timeouts {
        dial: PATIENCE,
        accept: PATIENCE,
    };
    let mut transport = cardume_transport::build(&Keypair::generate_ed25519(), timeouts)?;
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    let mut clock = tokio::time::interval(EVERY);
    let mut strangers = FuturesUnordered::new();
    let (began, mut came, mut connected) = (Instant::now(), 0, 0);
    while began.elapsed() < TIME {
        tokio::select! {
            _ = clock.tick() => {
                let dialling = transport.dial(address.clone(), options)?;
                came += 1;
                strangers.push(tokio::spawn(async move {
                    let Ok((_, muxer)) = dialling.await else { return 0 };
                    // To the end that the node makes of it.
                    let _ = timeout(PATIENCE, ask(muxer)).await;
                    1
                }));
            }
            Some(heard) = strangers.next() => connected += heard?,
        }
    }
    while let Some(heard) = strangers.next().await {
        connected += heard?;
    }
    Ok((came, connected))
}

/// Asks what every peer asks, and waits until the connection has ended.
async fn ask(mut muxer: StreamMuxerBox) {
    let mut opened = None;
    let mut asking = None;
    poll_fn(|cx| {
        if asking.is_none()
            && opened.is_none()
            && let Poll::Ready(Ok(stream)) = muxer.poll_outbound_unpin(cx)
        {
            opened = Some(stream);
        }
        if let Some(mut stream) = opened.take() {
            asking = Some(Box::pin(async move {
                let _ = stream.write_all(IDENTIFY).await;
                let _ = stream.flush().await;
                std::future::pending::<()>().await;
            }));
        }
        if let Some(asking) = &mut asking {
            let _ = pin!(asking).poll(cx);
        }
        match muxer.poll_unpin(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    })
    .await;
}
