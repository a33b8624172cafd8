//! Topics: what peers publish, and what this node does.
use cardume_content::Cid;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A topic that the node or a peer is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Topic {
    /// Its name; others make names up, and they are not to be trusted.
    pub topic: String,
    /// Whether the node is subscribed; only then are messages counted.
    pub subscribed: bool,
    /// Peers connected that are subscribed.
    pub peers: u64,
    /// Peers of them that messages are exchanged with at once.
    pub mesh: u64,
    /// Messages that the node published.
    pub published: u64,
    /// Messages of peers, taken.
    pub received: u64,
    /// Messages of peers, not taken: their author may not publish, they are too large, or nobody wants them.
    pub ignored: u64,
    /// Messages of peers above the rate of their author.
    pub excess: u64,
    /// Messages of peers that were found to be wrong.
    pub rejected: u64,
    /// Messages that a reader here was too slow for.
    pub lost: u64,
    /// What configuration hands the messages to.
    pub deliveries: Vec<Delivery>,
}

/// What configuration hands messages to, and how it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// `exec`, `webhook` or `spool`.
    pub kind: String,
    /// Messages handed over.
    pub delivered: u64,
    /// Messages that were not taken.
    pub failed: u64,
    /// Messages that came while too many were waiting.
    pub lost: u64,
    /// What went wrong last; none since it went well again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A peer that is subscribed to a topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopicPeer {
    /// Its peer id.
    pub peer_id: String,
    /// The name that configuration gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether messages are exchanged with it at once.
    pub mesh: bool,
    /// What is thought of it: below 0 it is in no mesh, below -80 nothing is heard from it.
    pub score: f64,
}

/// A message on a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopicMessage {
    /// The topic.
    pub topic: String,
    /// The peer id of its author, whose signature has been verified.
    pub from: String,
    /// Its id: author and number, in hexadecimal.
    pub id: String,
    /// What it says, in base64.
    #[serde(with = "base64_text")]
    #[schema(value_type = String)]
    pub data: Vec<u8>,
    /// The same as text, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its id as content, where it was too large for the topic and came as such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub cid: Option<Cid>,
}

impl TopicMessage {
    /// Shows what a message says as text too, where it can be.
    #[must_use]
    pub fn with_text(self) -> Self {
        let text = std::str::from_utf8(&self.data).ok().map(str::to_owned);
        Self { text, ..self }
    }
}

/// What happens on a topic, as it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
#[non_exhaustive]
pub enum TopicEvent {
    /// A message came.
    Message(TopicMessage),
    /// Messages were lost on the way: the reader was too slow or away for too long.
    Lost {
        /// How many; none when that is not known because the node has been started anew.
        lost: Option<u64>,
    },
}

impl TopicEvent {
    /// The name of the event on the stream.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Lost { .. } => "lost",
        }
    }
}

/// A message that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Published {
    /// The topic.
    pub topic: String,
    /// Its id.
    pub id: String,
}

mod base64_text {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_shown_as_base64_and_as_text_where_it_is_text() {
        let message = |data: &[u8]| TopicMessage {
            topic: "news".into(),
            from: "12D3".into(),
            id: "00".into(),
            data: data.to_vec(),
            text: None,
            cid: None,
        };
        let value = serde_json::to_value(TopicEvent::Message(message(b"hi").with_text())).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"topic": "news", "from": "12D3", "id": "00", "data": "aGk=", "text": "hi"})
        );
        let read: TopicEvent = serde_json::from_value(value).unwrap();
        assert_eq!(read, TopicEvent::Message(message(b"hi").with_text()));
        assert_eq!(message(b"\xff").with_text().text, None);
        let lost: TopicEvent = serde_json::from_str(r#"{"lost":null}"#).unwrap();
        assert_eq!(lost, TopicEvent::Lost { lost: None });
    }
}
