//! `[control]`, and what the door is built from.
use std::{net::SocketAddr, path::PathBuf};

use libp2p_identity::PeerId;
use tokio_util::sync::CancellationToken;

use crate::{
    hosts::Hosts,
    listen::{Listen, ListenError},
    scrape::{Metrics, Port},
    server::{Doors, Server},
    socket::{BindError, Socket},
    tcp,
    tokens::{TokenFileError, Tokens},
};

/// The file of the tokens, in the data directory.
const TOKENS: &str = "tokens";

/// Where the control API listens, and who may use it besides root and the node's own user.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `unix:PATH`, or `systemd:NAME` for a socket that the service manager has made, and `ADDRESS:PORT` to serve the API
    /// over TCP too, to who shows a token: one of them, or a list. There is always a socket: where the program that runs
    /// the node puts it, if it is not said.
    pub listen: Option<Listen>,
    /// Names of this host that callers over TCP may use, besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// Name or number of the group whose members may use the socket as operators.
    pub group: Option<String>,
}

/// What the API tells of the node that does not change while it runs.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// Its identity.
    pub peer_id: PeerId,
    /// What it calls itself to its operator.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Where its state lives.
    pub data_dir: PathBuf,
    /// Id of its network.
    pub network: String,
    /// Whether files are shared where they are, unless the caller says otherwise.
    pub in_place: bool,
}

/// The parts of the node that the API speaks for.
#[derive(Clone)]
pub struct Handles {
    /// Who is meant by `allow` lists, and what they have denied.
    pub roll: cardume_access::Roll,
    /// Who the node is connected to.
    pub connect: cardume_connect::Handle,
    /// The DHT, or a closed handle.
    pub kad: cardume_kad::Handle,
    /// How the node can be reached.
    pub nat: cardume_nat::Handle,
    /// Points where peers find each other, or a closed handle.
    pub rendezvous: cardume_rendezvous::Handle,
    /// Who belongs to the network.
    pub membership: cardume_membership::Handle,
    /// Bytes of content per peer.
    pub transfer: cardume_transfer::Handle,
    /// All bytes, by protocol.
    pub traffic: cardume_transport::Traffic,
    /// How fast content may go.
    pub rates: cardume_transfer::rates::Handle,
    /// Content from and for peers.
    pub exchange: cardume_exchange::Handle,
    /// What configuration shares.
    pub shares: cardume_share::Handle,
    /// Topics, or a closed handle.
    pub topics: cardume_topic::Handle,
    /// Services behind peers, and for them.
    pub tunnels: cardume_tunnel::Handle,
    /// Content on disk.
    pub store: cardume_store::Store,
    /// What configuration wants fetched.
    pub wanted: crate::Wanted,
    /// Channels that are published or followed.
    pub channels: cardume_channel::Handle,
    /// What configuration has follow channels.
    pub follows: crate::Follows,
    /// The configuration that the node runs with, and who reads it again.
    pub configuration: crate::Configuration,
    /// The last lines of the log.
    pub log: crate::Log,
    /// What examines the node.
    pub doctor: crate::Doctor,
    /// Cancelled when a caller stops the node.
    pub stop: CancellationToken,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// `control.listen` names a place where nothing can listen.
    #[error("control.listen: {0}")]
    Listen(#[from] ListenError),
    /// Nothing can be served at a port of `control.listen`.
    #[error("control.listen: cannot listen at {address}: {source}")]
    Port {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The tokens cannot be read.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// `control.group` is no group of this machine.
    #[error(
        "control.group: there is no group {0:?} in /etc/group; make it with groupadd, or give its number if it is defined elsewhere"
    )]
    Group(String),
    /// Nothing can be served at `metrics.listen`.
    #[error("metrics.listen: cannot listen at {address}: {source}")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The socket cannot be made.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Config {
    /// The configured path of the socket; none when it is not said, or made by the service manager.
    pub fn socket(&self) -> Option<PathBuf> {
        self.listen.as_ref()?.socket()
    }

    /// The name that the service manager has for the configured socket.
    pub fn inherited(&self) -> Option<&str> {
        self.listen.as_ref()?.inherited()
    }

    /// Makes the socket, at `socket_default` unless configured, the ports, and the server of the API behind them.
    ///
    /// Where `metrics` says so, numbers are served at a port of their own. A socket that was `inherited` is taken as it
    /// is: whoever made it says who may connect, and removes it.
    ///
    /// Callers may connect from now on; they are answered while [`Server::run`] runs. Must be called in a tokio
    /// runtime.
    ///
    /// # Errors
    /// When the configuration is wrong, another daemon listens there, or the disk refuses.
    pub fn build(
        &self,
        socket_default: PathBuf,
        inherited: Option<std::os::unix::net::UnixListener>,
        metrics: &Metrics,
        node: NodeInfo,
        handles: Handles,
    ) -> Result<Server, BuildError> {
        let listen = self.listen.clone().unwrap_or_default();
        listen.check()?;
        let path = listen.socket().unwrap_or(socket_default);
        let tokens = Tokens::open(node.data_dir.join(TOKENS))?;
        let scraped = metrics.listen.map(Port::bind).transpose()?;
        let bind = |address| tcp::bind(address).map_err(|source| BuildError::Port { address, source });
        let ports = listen.ports().map(bind).collect::<Result<_, _>>()?;
        let (socket, grouped) = match inherited {
            Some(listener) => Socket::inherit(listener, path)?,
            None => {
                let group = self.group.as_deref().map(group_id).transpose()?;
                (Socket::bind(&path, group)?, group.is_some())
            }
        };
        let doors = Doors {
            socket,
            grouped,
            scraped,
            ports,
            hosts: Hosts::new(&self.hosts),
            tokens,
        };
        Ok(Server::new(doors, node, handles))
    }
}

/// The number of a group given by number or by name.
fn group_id(group: &str) -> Result<u32, BuildError> {
    if let Ok(id) = group.parse() {
        return Ok(id);
    }
    // Looking names up in any other way takes code that is not memory-safe.
    std::fs::read_to_string("/etc/group")
        .ok()
        .and_then(|groups| find_group(&groups, group))
        .ok_or_else(|| BuildError::Group(group.to_owned()))
}

fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_name_or_number() {
        assert_eq!(find_group("root:x:0:\nweb:x:33:a,b\n", "web"), Some(33));
        assert_eq!(find_group("webmaster:x:34:\nbroken\n", "web"), None);
        assert_eq!(group_id("7").unwrap(), 7);
        assert!(matches!(group_id("no such group"), Err(BuildError::Group(_))));
    }
}
