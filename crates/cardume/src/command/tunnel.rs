//! `cardume tunnel`: services of this host for peers, and services of peers for this host.
use cardume_api::{Client, NewTunnel, Tunnel, TunnelProtocol, TunnelRole, TunnelState};
use clap::Subcommand;

use crate::{out::Out, reach::Reach, text::table};

/// Tunnels: services of this host for peers, and of peers for this host
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    cardume tunnel expose ssh 127.0.0.1:22 --allow laptop,group:admins\n  \
    cardume tunnel open nas ssh --listen 127.0.0.1:2222\n  \
    ssh -p 2222 127.0.0.1\n  \
    cardume tunnel close ssh\n\n\
    Tunnels that are to outlast the daemon go into the configuration, as [tunnel.NAME].")]
pub(crate) enum Command {
    /// List tunnels, and how they are
    Ls,
    /// Give a service of this host to peers
    Expose {
        /// What peers call it
        name: String,
        /// Where it is: IP:PORT, or for admins unix:PATH
        target: String,
        /// Who may use it: names of peers, group:NAME and peer ids
        #[arg(long, value_name = "WHO", required = true, value_delimiter = ',')]
        allow: Vec<String>,
        /// It takes datagrams
        #[arg(long)]
        udp: bool,
    },
    /// Use a service of a peer; prints where it listens
    Open {
        /// Whose it is: the name of a peer, or a peer id
        peer: String,
        /// What the peer calls it
        service: String,
        /// Where to listen: IP:PORT, or for admins unix:PATH
        #[arg(long, value_name = "PLACE", default_value = "127.0.0.1:0")]
        listen: String,
        /// What to call the tunnel here, if not as the service
        #[arg(long)]
        name: Option<String>,
        /// It takes datagrams
        #[arg(long)]
        udp: bool,
    },
    /// Close a tunnel that was opened or exposed so, with its connections
    Close {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    let out = reach.out;
    let protocol = |udp| match udp {
        true => TunnelProtocol::Udp,
        false => TunnelProtocol::Tcp,
    };
    match command {
        Command::Ls => list(&client, out).await,
        Command::Expose {
            name,
            target,
            allow,
            udp,
        } => {
            let new = NewTunnel {
                target: Some(target),
                allow: Some(allow),
                ..empty(name, TunnelRole::Expose, protocol(udp))
            };
            let tunnel = client.open_tunnel(&new).await?;
            out.either(&tunnel, || tunnel.name.clone())?;
            Ok(())
        }
        Command::Open {
            peer,
            service,
            listen,
            name,
            udp,
        } => {
            let name = name.unwrap_or_else(|| service.clone());
            let new = NewTunnel {
                listen: Some(listen),
                peer: Some(peer),
                service: Some(service),
                ..empty(name, TunnelRole::Forward, protocol(udp))
            };
            let tunnel = client.open_tunnel(&new).await?;
            out.either(&tunnel, || tunnel.listen.clone().unwrap_or_default())?;
            Ok(())
        }
        Command::Close { name } => Ok(client.close_tunnel(&name).await?),
    }
}

fn empty(name: String, role: TunnelRole, protocol: TunnelProtocol) -> NewTunnel {
    NewTunnel {
        name,
        role,
        protocol,
        target: None,
        allow: None,
        listen: None,
        peer: None,
        service: None,
    }
}

async fn list(client: &Client, out: &Out) -> anyhow::Result<()> {
    let tunnels = client.tunnels().await?;
    if out.is_json() {
        for tunnel in &tunnels {
            out.json(tunnel)?;
        }
        return Ok(());
    }
    for tunnel in &tunnels {
        if let Some(problem) = &tunnel.problem {
            out.warn(format!("{}: {problem}", tunnel.name));
        }
    }
    let rows = tunnels.into_iter().map(row).collect();
    let head = [
        "TUNNEL", "ROLE", "PROTOCOL", "HERE", "THERE", "STATE", "OPEN", "ALL", "FAILED", "IN", "OUT",
    ];
    Ok(out.text(&table(head, rows, out.is_terminal()))?)
}

fn row(tunnel: Tunnel) -> [String; 11] {
    let (role, here, there) = match tunnel.role {
        TunnelRole::Expose => ("expose", tunnel.target, tunnel.allow.join(",")),
        TunnelRole::Forward => {
            let (peer, service) = (
                tunnel.peer.unwrap_or_default(),
                tunnel.service.unwrap_or_default(),
            );
            ("forward", tunnel.listen, format!("{peer}/{service}"))
        }
    };
    let there = if there.is_empty() {
        "nobody".to_owned()
    } else {
        there
    };
    let state = match tunnel.state {
        TunnelState::Starting => "starting",
        TunnelState::Ready => "ready",
        TunnelState::Failed => "failed",
    };
    let protocol = match tunnel.protocol {
        TunnelProtocol::Tcp => "tcp",
        TunnelProtocol::Udp => "udp",
    };
    [
        tunnel.name,
        role.into(),
        protocol.into(),
        here.unwrap_or_default(),
        there,
        state.into(),
        tunnel.connections.to_string(),
        tunnel.opened.to_string(),
        tunnel.failed.to_string(),
        crate::text::size(tunnel.received),
        crate::text::size(tunnel.sent),
    ]
}
