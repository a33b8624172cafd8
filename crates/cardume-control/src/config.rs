//! `[control]`, and what the door is built from.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use libp2p_identity::PeerId;
use tokio_util::sync::CancellationToken;

use crate::{
    scrape::{Metrics, Port},
    server::Server,
    socket::{BindError, Socket},
};

/// Where the control API listens, and who may use it besides root and the node's own user.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `unix:PATH`, or `systemd:NAME` for a socket that the service manager has made; where the program that runs the
    /// node puts it, if not set.
    pub listen: Option<String>,
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
    /// Cancelled when a caller stops the node.
    pub stop: CancellationToken,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// `control.listen` is of a kind that is not offered.
    #[error(
        "control.listen: {0:?} is neither unix: and an absolute path nor systemd: and a name (the API is not served over TCP)"
    )]
    Listen(String),
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
    /// The configured path of the socket; none when it is made by the service manager.
    ///
    /// # Errors
    /// [`BuildError::Listen`] when `listen` is neither `unix:` and an absolute path nor `systemd:` and a name.
    pub fn socket(&self) -> Result<Option<PathBuf>, BuildError> {
        let Some(listen) = &self.listen else {
            return Ok(None);
        };
        if self.inherited().is_some_and(|name| !name.is_empty()) {
            return Ok(None);
        }
        match listen.strip_prefix("unix:").map(Path::new) {
            Some(path) if path.is_absolute() => Ok(Some(path.to_owned())),
            _ => Err(BuildError::Listen(listen.clone())),
        }
    }

    /// The name that the service manager has for the configured socket.
    pub fn inherited(&self) -> Option<&str> {
        self.listen.as_deref()?.strip_prefix("systemd:")
    }

    /// Makes the socket, at `socket_default` unless configured, and the server of the API behind it.
    ///
    /// Where `metrics` says so, numbers are served over TCP as well. A socket that was `inherited` is taken as it is: whoever made it says who may connect, and removes it.
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
        let path = self.socket()?.unwrap_or(socket_default);
        let port = metrics.listen.map(Port::bind).transpose()?;
        if let Some(listener) = inherited {
            let (socket, grouped) = Socket::inherit(listener, path)?;
            return Ok(Server::new(socket, port, grouped, node, handles));
        }
        let group = self.group.as_deref().map(group_id).transpose()?;
        let socket = Socket::bind(&path, group)?;
        Ok(Server::new(socket, port, group.is_some(), node, handles))
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
    fn only_a_unix_socket_is_offered_by_absolute_path_or_by_name() {
        let config = |listen: &str| Config {
            listen: Some(listen.into()),
            ..Config::default()
        };
        assert_eq!(
            config("unix:/run/c.sock").socket().unwrap(),
            Some("/run/c.sock".into())
        );
        assert_eq!(Config::default().socket().unwrap(), None);
        assert_eq!(config("systemd:api").socket().unwrap(), None);
        assert_eq!(config("systemd:api").inherited(), Some("api"));
        for listen in ["127.0.0.1:4080", "unix:c.sock", "/run/c.sock", "systemd:"] {
            let error = config(listen).socket().unwrap_err().to_string();
            assert!(
                error.contains("control.listen") && error.contains(listen),
                "{error}"
            );
        }
    }

    #[test]
    fn a_group_is_found_by_its_name_or_number() {
        assert_eq!(find_group("root:x:0:\nweb:x:33:a,b\n", "web"), Some(33));
        assert_eq!(find_group("webmaster:x:34:\nbroken\n", "web"), None);
        assert_eq!(group_id("7").unwrap(), 7);
        assert!(matches!(group_id("no such group"), Err(BuildError::Group(_))));
    }
}
