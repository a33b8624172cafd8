//! Topics.
use bytes::Bytes;
use reqwest::Method;

use super::{Client, ClientError, Feed};
use crate::{Published, Topic, TopicEvent, TopicPeer};

/// What happens on a topic. A connection that is lost is made anew, and the stream goes on where it was; an error is
/// the last item.
pub type TopicEvents = Feed<TopicEvent>;

impl Client {
    /// The topics that the node or a peer is subscribed to, by name.
    ///
    /// # Errors
    /// `unavailable` when topics are switched off.
    pub async fn topics(&self) -> Result<Vec<Topic>, ClientError> {
        self.get(&["v1", "topics"]).await
    }

    /// The peers connected that are subscribed to a topic.
    ///
    /// # Errors
    /// `unavailable` when topics are switched off.
    pub async fn topic_peers(&self, topic: &str) -> Result<Vec<TopicPeer>, ClientError> {
        self.get(&["v1", "topics", topic, "peers"]).await
    }

    /// Publishes a message.
    ///
    /// # Errors
    /// `not_found` when nobody is subscribed, `limit` when it is too large or too many follow each other.
    pub async fn publish(&self, topic: &str, data: Bytes) -> Result<Published, ClientError> {
        let request = self.request(Method::POST, &["v1", "topics", topic, "messages"]);
        self.json(request.body(data)).await
    }

    /// What happens on a topic from now on, after so many of the last messages that the node has kept.
    ///
    /// The node subscribes, unless it is, and stays so for a minute after its last reader. Nothing that happens after
    /// this has returned is missed.
    ///
    /// # Errors
    /// `unavailable` when topics are switched off, `limit` when the node reads as many as it may.
    pub async fn topic(&self, topic: &str, history: usize) -> Result<TopicEvents, ClientError> {
        let path = ["v1", "topics", topic, "messages"];
        let query = (history > 0).then(|| ("history", history.to_string()));
        let lose = || TopicEvent::Lost { lost: None };
        Feed::open(self, &path, query.into_iter().collect(), None, lose).await
    }
}
