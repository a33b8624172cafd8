//! Channels.
use reqwest::Method;

use super::{Client, ClientError};
use crate::{Channel, Follow, NewChannel, NewHold, NewVersion};

impl Client {
    /// The channels that the node publishes or follows.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn channels(&self) -> Result<Vec<Channel>, ClientError> {
        self.get(&["v1", "channels"]).await
    }

    /// What is known of a channel, by its id or the name of its key; the DHT is asked about one that is not followed.
    ///
    /// # Errors
    /// `not_found` when nothing is.
    pub async fn channel(&self, channel: &str) -> Result<Channel, ClientError> {
        self.get(&["v1", "channels", channel]).await
    }

    /// Makes the key of a new channel.
    ///
    /// # Errors
    /// `conflict` when there is one of that name, `usage` when it is no name.
    pub async fn create_channel(&self, channel: &NewChannel) -> Result<Channel, ClientError> {
        let request = self.request(Method::POST, &["v1", "channels"]);
        self.send_json(request, channel).await
    }

    /// Publishes content under a channel whose key the node has.
    ///
    /// # Errors
    /// `not_found` when there is no such key, or nobody has the content.
    pub async fn publish_version(&self, channel: &str, version: &NewVersion) -> Result<Channel, ClientError> {
        let request = self.request(Method::POST, &["v1", "channels", channel, "versions"]);
        self.send_json(request, version).await
    }

    /// How the places that follow channels stand.
    ///
    /// # Errors
    /// When the daemon cannot be asked.
    pub async fn follows(&self) -> Result<Vec<Follow>, ClientError> {
        self.get(&["v1", "follows"]).await
    }

    /// Holds a place at one version of its channel, or lets it go on to the newest.
    ///
    /// # Errors
    /// `not_found` when configuration has no follow of that name, or nothing of that version is known.
    pub async fn hold(&self, follow: &str, hold: &NewHold) -> Result<Follow, ClientError> {
        let request = self.request(Method::PUT, &["v1", "follows", follow]);
        self.send_json(request, hold).await
    }
}
