//! A node inside a command, for when there is no daemon.
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use cardume_api::{Client, client::Address};
use cardume_node::{Config, Node};
use multiaddr::{Multiaddr, Protocol};
use tempfile::TempDir;

use crate::{daemon::log, reach::Reach};

/// Time for a fresh node to listen; afterwards it is used as it is.
const READY: Duration = Duration::from_secs(10);

/// Where a node inside a command keeps its state.
pub(crate) enum State {
    /// In a directory that goes with the command.
    Temporary,
    /// In a directory that the same command finds again, so that it goes on where it was.
    Kept(PathBuf),
}

impl State {
    /// A place for what is got under `key`.
    pub(crate) fn kept(reach: Reach<'_>, key: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let name = format!("get-{:016x}", hasher.finish());
        Self::Kept(reach.environment.cache_dir().join(name))
    }
}

/// A running node, and a client of it.
pub(crate) struct Inside {
    node: Node,
    client: Client,
    kept: Option<PathBuf>,
    /// Removed when dropped, after the node.
    _directory: TempDir,
}

impl Inside {
    /// Starts a node with free ports and its own state, configured like a daemon of this user otherwise.
    pub(crate) async fn start(reach: Reach<'_>, state: State) -> anyhow::Result<Self> {
        let chain = reach.chain()?;
        log::for_command(reach.out);
        let directory = private_directory(reach)?;
        let kept = match (state, &reach.global.data_dir) {
            (State::Kept(path), None) => Some(path),
            _ => None,
        };
        let data_dir = match (&kept, &reach.global.data_dir) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => crate::reach::absolute(path),
            (None, None) => directory.path().join("data"),
        };
        let socket = directory.path().join("s");
        let node = Node::start(configured(chain.config, data_dir, &socket))
            .await
            .context("cannot run a node in this command")?;
        let client = Client::new(Address::Unix(node.socket().to_path_buf()))?;
        let inside = Self {
            node,
            client,
            kept,
            _directory: directory,
        };
        inside.wait_until_ready().await?;
        Ok(inside)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Stops the node; with `done`, what it kept for another try goes too.
    pub(crate) async fn stop(self, done: bool) -> anyhow::Result<()> {
        self.node.shutdown().await?;
        if let (true, Some(path)) = (done, &self.kept) {
            tokio::fs::remove_dir_all(path).await.ok();
        }
        Ok(())
    }

    async fn wait_until_ready(&self) -> anyhow::Result<()> {
        let ready = async {
            let mut pause = tokio::time::interval(Duration::from_millis(20));
            loop {
                pause.tick().await;
                if self.client.status().await?.ready {
                    return Ok(());
                }
            }
        };
        // A link without addresses still works on a local network, so a slow start is no failure.
        tokio::time::timeout(READY, ready).await.unwrap_or(Ok(()))
    }
}

/// A directory only this user can enter, short enough for a socket's path.
fn private_directory(reach: Reach<'_>) -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("cardume-");
    let runtime = reach.environment.path("XDG_RUNTIME_DIR");
    if let Some(runtime) = runtime.filter(|path| path.is_dir())
        && let Ok(directory) = builder.tempdir_in(runtime)
    {
        return Ok(directory);
    }
    builder.tempdir().context("cannot make a temporary directory")
}

fn configured(mut config: Config, data_dir: PathBuf, socket: &Path) -> Config {
    config.node.data_dir = Some(data_dir);
    config.control.listen = Some(format!("unix:{}", socket.display()).into());
    config.control.group = None;
    config.metrics.listen = None;
    config.identity.key_file = None;
    config.listen.addresses = config.listen.addresses.iter().map(with_free_port).collect();
    config.listen.announce.clear();
    config.share.clear();
    config
}

fn with_free_port(address: &Multiaddr) -> Multiaddr {
    address
        .iter()
        .map(|part| match part {
            Protocol::Tcp(_) => Protocol::Tcp(0),
            Protocol::Udp(_) => Protocol::Udp(0),
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_inside_a_command_takes_free_ports_and_shares_nothing_else() {
        let config = configured(Config::default(), "/d".into(), Path::new("/s"));
        let ports = |address: &Multiaddr| {
            address
                .iter()
                .all(|part| !matches!(part, Protocol::Tcp(1..) | Protocol::Udp(1..)))
        };
        assert!(config.listen.addresses.iter().all(ports));
        assert_eq!(
            config.listen.addresses.len(),
            Config::default().listen.addresses.len()
        );
    }
}
