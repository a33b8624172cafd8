//! `[publish.NAME]`, `[follow.NAME]`, and building from them.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use cardume_units::Duration;
use redb::Database;
use tokio::sync::watch;

use crate::{
    ChannelError, Counts, Handle, Id, Server,
    keys::{KeyFiles, Keys, check_name},
    server::{OWN_POLL, Polls},
    shelf::Shelf,
    table::Table,
};

/// A directory or file that is published whenever it has changed, under the channel of the same name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    /// A file or a directory; absolute.
    pub path: PathBuf,
    /// Time without a change before what has changed is published.
    #[serde(default = "settle")]
    pub settle: Duration,
}

/// A channel whose newest version is to be at some place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// Its id.
    #[schemars(with = "String")]
    pub channel: Id,
    /// Where its newest version is; absolute, in a directory that is there.
    pub to: PathBuf,
    /// Who may have what it brings: names of peers, `group:NAME` and peer ids. Everybody who can connect, if not given;
    /// nobody, if empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// How a new version takes the place of the old one.
    #[serde(default)]
    pub mode: Mode,
    /// Old versions that are kept, to go back to; none where they take each other's place file by file.
    #[serde(default = "keep")]
    pub keep: u32,
    /// A program and its arguments, run after each change of the version; its environment tells of it.
    #[serde(default)]
    pub on_update: Vec<String>,
    /// Time that it has before it is killed.
    #[serde(default = "timeout")]
    pub timeout: Duration,
    /// Time between two looks for a newer version.
    #[serde(default = "poll")]
    pub poll: Duration,
}

/// How a new version takes the place of the old one.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// All at once: the place is a link to the version, and is made to lead to another in one step.
    #[default]
    Symlink,
    /// File by file: the place is the file or directory itself, and what was changed in it is put right.
    InPlace,
}

impl Follow {
    /// Follows a channel with everything else at its default.
    pub fn new(channel: Id, to: impl Into<PathBuf>) -> Self {
        Self {
            channel,
            to: to.into(),
            allow: None,
            mode: Mode::default(),
            keep: keep(),
            on_update: Vec::new(),
            timeout: timeout(),
            poll: poll(),
        }
    }
}

fn settle() -> Duration {
    Duration::from_secs(3)
}

fn keep() -> u32 {
    2
}

fn timeout() -> Duration {
    Duration::from_secs(300)
}

fn poll() -> Duration {
    Duration::from_secs(300)
}

/// The name of the share by which `[publish.NAME]` is kept as it is on the disk.
pub fn share_name(publish: &str) -> String {
    format!("publish.{publish}")
}

impl Shelf {
    /// Makes the keys that `publish` needs, takes up the channels that `follow` needs, and says how often the network is
    /// to be asked about each channel.
    fn configure(
        &self,
        publish: &BTreeMap<String, Publish>,
        follow: &BTreeMap<String, Follow>,
    ) -> Result<Polls, ChannelError> {
        publish.keys().try_for_each(|name| check_name(name))?;
        let mut polls = Polls::new();
        for follow in follow.values() {
            let new = follow.poll.get();
            let poll = polls.entry(follow.channel).or_insert(new);
            *poll = new.min(*poll);
            self.take_up(follow.channel)?;
        }
        for name in publish.keys() {
            if self.named(name).is_none() {
                let id = self.create(name)?;
                tracing::info!(channel = %id, name, "a channel was made, as it is to be published");
            }
        }
        for id in self.own() {
            let poll = polls.entry(id).or_insert(OWN_POLL);
            *poll = OWN_POLL.min(*poll);
        }
        Ok(polls)
    }
}

impl Handle {
    /// Keeps other channels from now on: makes the keys that are to be published with, and looks after those that are
    /// followed. Channels whose keys are here are kept always.
    ///
    /// # Errors
    /// What the disk says, and a name of `publish` that no channel can have; no channel is kept otherwise than before
    /// then.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have done it.
    pub async fn configure(
        &self,
        publish: BTreeMap<String, Publish>,
        follow: BTreeMap<String, Follow>,
    ) -> Result<(), ChannelError> {
        let polls = self
            .on_disk(move |shelf| shelf.configure(&publish, &follow))
            .await?;
        // One may have been made meanwhile.
        let own = self.shelf.own();
        self.polls.send_modify(|kept| {
            *kept = polls;
            for id in own {
                kept.entry(id).or_insert(OWN_POLL);
            }
        });
        Ok(())
    }
}

/// Why channels cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct BuildError(#[from] ChannelError);

/// Builds what keeps channels: those whose keys are in `directory`, and those that are followed.
///
/// Reads the tables and the keys at once: call it where blocking is allowed.
///
/// # Errors
/// What the disk says, and a name of `publish` that no channel can have.
#[expect(clippy::too_many_arguments, reason = "each is a part of the node, by name")]
pub fn build(
    publish: &BTreeMap<String, Publish>,
    follow: &BTreeMap<String, Follow>,
    directory: &Path,
    files: KeyFiles,
    database: Arc<Database>,
    kad: cardume_kad::Handle,
    topics: cardume_gossipsub::Handle,
    counts: Counts,
) -> Result<(Handle, Server), BuildError> {
    let table = Table::open(database).map_err(ChannelError::from)?;
    let keys = Keys::new(directory.to_owned(), files);
    let shelf = Arc::new(Shelf::open(table, keys, counts)?);
    let polls = shelf.configure(publish, follow)?;
    let (polls, polled) = watch::channel(polls);
    let handle = Handle {
        shelf: shelf.clone(),
        kad: kad.clone(),
        polls,
    };
    let server = Server {
        shelf,
        kad,
        topics,
        polls: polled,
    };
    Ok((handle, server))
}
