//! Tunnels.
use reqwest::Method;

use super::{Client, ClientError};
use crate::{NewTunnel, Tunnel};

impl Client {
    /// The tunnels of the node, by name.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn tunnels(&self) -> Result<Vec<Tunnel>, ClientError> {
        self.get(&["v1", "tunnels"]).await
    }

    /// Opens a tunnel, until it is closed or the daemon stops.
    ///
    /// # Errors
    /// `usage` when it makes no sense, `conflict` when there is one of that name, `limit` when there are too many, `failed`
    /// when it cannot listen.
    pub async fn open_tunnel(&self, tunnel: &NewTunnel) -> Result<Tunnel, ClientError> {
        self.post(&["v1", "tunnels"], tunnel).await
    }

    /// Closes a tunnel that was opened so, with its connections.
    ///
    /// # Errors
    /// `not_found` when there is none, `conflict` when it is in the configuration.
    pub async fn close_tunnel(&self, name: &str) -> Result<(), ClientError> {
        self.done(Method::DELETE, &["v1", "tunnels", name]).await
    }
}
