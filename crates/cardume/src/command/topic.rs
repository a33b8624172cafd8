//! `cardume topic`: what peers publish, and what this node does.
mod room;

use std::{io::Read, path::PathBuf, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use cardume_api::{Client, ClientError, Published, TopicEvent, TopicMessage};
use clap::Subcommand;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::{Instant, sleep},
};

use super::wait;
use crate::{out::Out, reach::Reach, text::table};

/// Bytes of a message that are read; the daemon takes fewer.
const MAX_MESSAGE: u64 = 64 * 1024 * 1024;
/// Messages that a room begins with.
const CHAT_HISTORY: usize = 20;
/// How long a message waits for its turn when there were too many a second.
const RATE_PATIENCE: Duration = Duration::from_secs(10);
/// The HTTP status for that.
const TOO_MANY: u16 = 429;
/// Time between two looks whether somebody is subscribed.
const GLANCE: Duration = Duration::from_millis(100);

/// Topics: messages from everybody who publishes to everybody who subscribes
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    cardume topic sub news\n  \
    cardume topic pub news 'all is well'\n  \
    backup | cardume topic pub --lines log\n  \
    cardume --json topic sub news | jq -r .text\n  \
    cardume topic sub --chat tea")]
pub(crate) enum Command {
    /// List topics that the node or a peer is subscribed to
    Ls,
    /// Publish a message
    Pub {
        /// The topic
        topic: String,
        /// The message; - or nothing reads it from stdin
        message: Option<String>,
        /// Read the message from a file
        #[arg(long, conflicts_with_all = ["message", "lines"])]
        file: Option<PathBuf>,
        /// Publish each line of stdin as it comes
        #[arg(long, conflicts_with = "message")]
        lines: bool,
        /// Wait so long for somebody to subscribe
        #[arg(long, value_name = "D", default_value = "0s")]
        wait: cardume_units::Duration,
    },
    /// Print messages as they come
    Sub {
        /// The topic
        topic: String,
        /// Begin with so many of the last messages that the node has, and its peers where it keeps a history [default: 0, and
        /// 20 with --chat]
        #[arg(long, value_name = "N")]
        history: Option<usize>,
        /// End after so many messages
        #[arg(long, value_name = "N")]
        count: Option<u64>,
        /// Print what messages say and nothing else, one after the other
        #[arg(long, conflicts_with = "chat")]
        raw: bool,
        /// Talk: say who comes and goes, and publish what is typed
        #[arg(long, conflicts_with = "count")]
        chat: bool,
    },
    /// List peers that are subscribed to a topic
    Peers {
        /// The topic
        topic: String,
    },
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    let out = reach.out;
    match command {
        Command::Ls => list(&client, out).await,
        Command::Peers { topic } => peers(&client, &topic, out).await,
        Command::Pub {
            topic,
            message,
            file,
            lines,
            wait,
        } => {
            let work = async {
                if lines {
                    return publish_lines(&client, &topic, wait.get(), out).await;
                }
                let data = message_of(message, file)?;
                publish(&client, &topic, data, wait.get(), out).await
            };
            wait::unless_interrupted(work).await?
        }
        Command::Sub {
            topic,
            history,
            chat: true,
            ..
        } => {
            let history = history.unwrap_or(CHAT_HISTORY);
            wait::unless_interrupted(room::chat(&client, &topic, history, out)).await?
        }
        Command::Sub {
            topic,
            history,
            count,
            raw,
            ..
        } => {
            let history = history.unwrap_or_default();
            wait::unless_interrupted(print(&client, &topic, history, count, raw, out)).await?
        }
    }
}

async fn list(client: &Client, out: &Out) -> anyhow::Result<()> {
    let topics = client.topics().await?;
    if out.is_json() {
        for topic in &topics {
            out.json(topic)?;
        }
        return Ok(());
    }
    for delivery in topics.iter().flat_map(|topic| &topic.deliveries) {
        if let Some(problem) = &delivery.problem {
            out.warn(format!("{}: {problem}", delivery.kind));
        }
    }
    let rows = topics.into_iter().map(|topic| {
        let deliveries = topic.deliveries.iter().map(|delivery| {
            let missed = delivery.failed + delivery.lost;
            format!("{}:{}/{}", delivery.kind, delivery.delivered, missed)
        });
        let deliveries: Vec<_> = deliveries.collect();
        [
            topic.topic,
            if topic.subscribed { "yes" } else { "no" }.into(),
            topic.peers.to_string(),
            topic.mesh.to_string(),
            topic.published.to_string(),
            topic.received.to_string(),
            (topic.ignored + topic.excess + topic.rejected).to_string(),
            topic.lost.to_string(),
            if deliveries.is_empty() {
                "-".into()
            } else {
                deliveries.join(" ")
            },
        ]
    });
    let head = [
        "TOPIC",
        "SUBSCRIBED",
        "PEERS",
        "MESH",
        "PUBLISHED",
        "RECEIVED",
        "REFUSED",
        "LOST",
        "DELIVERED/NOT",
    ];
    Ok(out.text(&table(head, rows.collect(), out.is_terminal()))?)
}

async fn peers(client: &Client, topic: &str, out: &Out) -> anyhow::Result<()> {
    for peer in client.topic_peers(topic).await? {
        out.either(&peer, || {
            let name = peer.name.as_deref().unwrap_or("-");
            let mesh = if peer.mesh { "mesh" } else { "-" };
            format!("{}\t{name}\t{mesh}\t{:.1}", peer.peer_id, peer.score)
        })?;
    }
    Ok(())
}

fn message_of(message: Option<String>, file: Option<PathBuf>) -> anyhow::Result<Bytes> {
    let mut bytes = Vec::new();
    match (message, file) {
        (Some(text), _) if text != "-" => return Ok(text.into()),
        (_, Some(path)) => {
            let failed = || format!("cannot read {}", path.display());
            let file = std::fs::File::open(&path).with_context(failed)?;
            file.take(MAX_MESSAGE)
                .read_to_end(&mut bytes)
                .with_context(failed)?;
        }
        _ => {
            let stdin = std::io::stdin();
            stdin
                .take(MAX_MESSAGE)
                .read_to_end(&mut bytes)
                .context("cannot read the message from stdin")?;
        }
    }
    Ok(bytes.into())
}

async fn publish(
    client: &Client,
    topic: &str,
    data: Bytes,
    patience: Duration,
    out: &Out,
) -> anyhow::Result<()> {
    let until = Instant::now() + patience;
    while Instant::now() < until && client.topic_peers(topic).await?.is_empty() {
        sleep(GLANCE).await;
    }
    let published = in_time(client, topic, data).await?;
    Ok(out.either(&published, || published.id.clone())?)
}

/// Publishes, and waits while that would be too many messages a second.
async fn in_time(client: &Client, topic: &str, data: Bytes) -> Result<Published, ClientError> {
    let until = Instant::now() + RATE_PATIENCE;
    loop {
        match client.publish(topic, data.clone()).await {
            Err(ClientError::Problem(problem)) if problem.status == TOO_MANY && Instant::now() < until => {
                sleep(GLANCE).await;
            }
            ended => return ended,
        }
    }
}

async fn publish_lines(client: &Client, topic: &str, patience: Duration, out: &Out) -> anyhow::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut patience = patience;
    while let Some(line) = lines.next_line().await.context("cannot read stdin")? {
        publish(client, topic, line.into(), std::mem::take(&mut patience), out).await?;
    }
    Ok(())
}

async fn print(
    client: &Client,
    topic: &str,
    history: usize,
    count: Option<u64>,
    raw: bool,
    out: &Out,
) -> anyhow::Result<()> {
    let mut events = client.topic(topic, history).await?;
    let mut left = count;
    while left != Some(0) {
        let Some(event) = events.next().await else { break };
        match event?.event {
            TopicEvent::Message(message) => {
                left = left.map(|left| left - 1);
                if raw && !out.is_json() {
                    out.bytes(&message.data)?;
                } else {
                    out.either(&message, || format!("{}\t{}", message.from, words(&message)))?;
                }
            }
            event @ TopicEvent::Lost { lost } => {
                if out.is_json() {
                    out.json(&event)?;
                }
                out.warn(lost_words(lost));
            }
            _ => {}
        }
    }
    Ok(())
}

fn lost_words(lost: Option<u64>) -> String {
    match lost {
        Some(count) => format!("{count} messages were lost: this end was too slow"),
        None => "messages were lost: the daemon was started anew".into(),
    }
}

fn words(message: &TopicMessage) -> String {
    match &message.text {
        Some(text) => text.clone(),
        None => format!("({} bytes that are no text)", message.data.len()),
    }
}
