//! The way in for the rest of the node.
use std::{sync::Arc, time::Duration};

use cardume_content::Cid;
use cardume_kad::KadError;
use tokio::sync::watch;

use crate::{
    Counts, Id, NoteError, Record, record_key,
    server::{OWN_POLL, Polls},
    shelf::Shelf,
};

/// How long the first record of a key waits for what the network knows of it: a node whose state was lost must not
/// count from 1 again.
const ASK: Duration = Duration::from_secs(5);

/// Publishes channels, and tells what is known of them; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) kad: cardume_kad::Handle,
    /// Tells the server of channels that are new.
    pub(crate) polls: watch::Sender<Polls>,
}

/// What is known of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// Which.
    pub id: Id,
    /// The name of its key, if that is here.
    pub name: Option<String>,
    /// The newest record known.
    pub newest: Option<Record>,
}

/// Why something about a channel could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// Names are files' too.
    #[error(
        "{0:?} is no name for a channel; one has 1 to 64 letters, digits, dots, - and _, and begins with no dot"
    )]
    Name(String),
    /// There is a key of that name.
    #[error("there is a channel {0:?} already; publish to it, or choose another name")]
    Exists(String),
    /// No key of that name is here, and it is no channel's id.
    #[error("no channel {0:?} is here; make one with: cardume channel create {0}")]
    Unknown(String),
    /// Nobody who could be asked has a record of it.
    #[error("nobody knows a record of {0}")]
    NotFound(Id),
    /// There are as many keys as there may be.
    #[error("this node has as many channels as it may")]
    Full,
    /// The note cannot be signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The last number is used.
    #[error("the channel has used its last number; make a new one")]
    Exhausted,
    /// The DHT has no answer.
    #[error(transparent)]
    Kad(KadError),
    /// A file or the database.
    #[error("{0}")]
    Failed(String),
}

impl<E: Into<redb::Error>> From<E> for ChannelError {
    fn from(error: E) -> Self {
        Self::Failed(format!("the records of channels: {}", error.into()))
    }
}

impl Handle {
    /// Makes the key of a new channel; it is on the disk when this returns.
    ///
    /// # Errors
    /// `Name`, `Exists`, `Full`, and what the disk says.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have made it.
    pub async fn create(&self, name: String) -> Result<Id, ChannelError> {
        let id = self.on_disk(move |shelf| shelf.create(&name)).await?;
        self.polls.send_modify(|polls| {
            polls.entry(id).or_insert(OWN_POLL);
        });
        Ok(id)
    }

    /// Signs the next record of a channel whose key is here; it is on the disk when this returns, and goes out then.
    ///
    /// # Errors
    /// `Unknown`, `Note`, and what the disk says.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have published.
    pub async fn publish(
        &self,
        name: String,
        cid: Cid,
        size: u64,
        note: String,
    ) -> Result<Record, ChannelError> {
        let id = self.shelf.named(&name);
        let id = id.ok_or_else(|| ChannelError::Unknown(name.clone()))?;
        let known = self
            .shelf
            .newest(id)
            .is_some_and(|newest| newest.borrow().is_some());
        if let Some(mut asked) = self.shelf.asked(id).filter(|_| !known) {
            // Nobody may be there to ask.
            let _ = tokio::time::timeout(ASK, asked.wait_for(|asked| *asked)).await;
        }
        let record = self
            .on_disk(move |shelf| shelf.publish(&name, cid, size, note))
            .await?;
        tracing::info!(channel = %id, number = record.number(), %cid, "published");
        Ok(record)
    }

    /// Every channel that is published from here or followed.
    pub fn list(&self) -> Vec<Channel> {
        let row = |(id, name, newest)| Channel { id, name, newest };
        self.shelf.list().into_iter().map(row).collect()
    }

    /// The channel of this name or id.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn find(&self, text: &str) -> Result<Id, ChannelError> {
        let named = self.shelf.named(text).or_else(|| text.parse().ok());
        named.ok_or_else(|| ChannelError::Unknown(text.chars().take(80).collect()))
    }

    /// What is known of a channel; of one that is not followed, what the DHT says now.
    ///
    /// # Errors
    /// `NotFound` and `Kad` for one that is not kept here.
    ///
    /// # Cancel safety
    /// Dropping the future ends the lookup.
    pub async fn show(&self, id: Id) -> Result<Channel, ChannelError> {
        if let Some(known) = self.list().into_iter().find(|known| known.id == id) {
            return Ok(known);
        }
        let bytes = match self.kad.get(record_key(id)).await {
            Err(KadError::NotFound) => return Err(ChannelError::NotFound(id)),
            found => found.map_err(ChannelError::Kad)?,
        };
        let record = Record::decode(&bytes)
            .ok()
            .filter(|record| record.channel() == id);
        Ok(Channel {
            id,
            name: None,
            newest: Some(record.ok_or(ChannelError::NotFound(id))?),
        })
    }

    /// Follows the newest record of a channel; none if this node neither publishes nor follows it.
    pub fn newest(&self, id: Id) -> Option<watch::Receiver<Option<Record>>> {
        self.shelf.newest(id)
    }

    /// The last records of a channel, oldest first.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn records(&self, id: Id) -> Result<Vec<Record>, ChannelError> {
        self.on_disk(move |shelf| shelf.records(id)).await
    }

    /// Holds a follow at a number, or lets it go on to the newest; durable when it returns.
    ///
    /// # Errors
    /// What the disk says.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have done it.
    pub async fn hold(&self, follow: String, number: Option<u64>) -> Result<(), ChannelError> {
        let hold = move |shelf: &Shelf| shelf.change_follow(&follow, |row| row.held = number);
        self.on_disk(hold).await?;
        self.shelf.decide();
        Ok(())
    }

    /// The number that a follow is held at.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn held(&self, follow: String) -> Result<Option<u64>, ChannelError> {
        Ok(self.on_disk(move |shelf| shelf.follow(&follow)).await?.held)
    }

    /// Changes with each decision about a follow.
    pub fn decided(&self) -> watch::Receiver<()> {
        self.shelf.decided()
    }

    /// The number that the program of a follow was run for last.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn told(&self, follow: String) -> Result<Option<u64>, ChannelError> {
        Ok(self.on_disk(move |shelf| shelf.follow(&follow)).await?.told)
    }

    /// Notes that the program of a follow was run.
    ///
    /// # Errors
    /// What the disk says.
    pub async fn tell(&self, follow: String, number: u64) -> Result<(), ChannelError> {
        let tell = move |shelf: &Shelf| shelf.change_follow(&follow, |row| row.told = Some(number));
        self.on_disk(tell).await.map(drop)
    }

    /// What became of records since the start.
    pub fn counts(&self) -> Counts {
        self.shelf.counts.clone()
    }

    pub(crate) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shelf) -> Result<T, ChannelError> + Send + 'static,
    ) -> Result<T, ChannelError> {
        let shelf = self.shelf.clone();
        match tokio::task::spawn_blocking(move || work(&shelf)).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(ChannelError::Failed("the node is stopping".into())),
        }
    }
}
