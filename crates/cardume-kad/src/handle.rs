//! The way in for the rest of the node.
use cardume_behaviour::{Closed, Mailbox};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::sync::mpsc;

use crate::{
    command::{Command, Lookup},
    config::{MAX_KEY, MAX_VALUE},
};

/// Providers that may wait for a slow reader; what is found while it is full is dropped.
const FOUND: usize = 64;

/// Asks the DHT; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    mailbox: Mailbox<Command>,
}

/// A peer and where it was said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Who.
    pub peer: PeerId,
    /// Where, most likely first; empty when nobody knew, as for a peer already connected.
    pub addresses: Vec<Multiaddr>,
}

/// Counts of the DHT.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether this node answers others' lookups.
    pub server: bool,
    /// Peers in the routing table.
    pub peers: usize,
    /// Keys that this node announces.
    pub provided: usize,
    /// Announcements made since the start.
    pub announced: u64,
    /// Lookups made for them: one serves up to 64 keys that are neighbours in the DHT.
    pub announcing_lookups: u64,
    /// Values kept here, ours and others'.
    pub records: usize,
    /// Lookups and announcements under way.
    pub queries: usize,
    /// Rows that were not written to disk, for the queue was full.
    pub unsaved: u64,
}

/// Why the DHT has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum KadError {
    /// The DHT is switched off, or the node is stopping.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// There is nobody to ask.
    #[error("no peer of the DHT is known")]
    NoPeers,
    /// Everyone asked, nobody knew.
    #[error("not found")]
    NotFound,
    /// Time ran out with no answer.
    #[error("the lookup timed out")]
    TimedOut,
    /// A better value of a key whose values are judged is here already.
    #[error("a newer value is known")]
    Outdated,
    /// What was asked breaks a limit.
    #[error("{0}")]
    Refused(String),
}

impl Handle {
    pub(crate) fn new(mailbox: Mailbox<Command>) -> Self {
        Self { mailbox }
    }

    /// A handle to no DHT: every call answers [`Closed`] at once.
    pub fn closed() -> Self {
        Self::new(Mailbox::closed())
    }

    /// Looks up who provides `key`: peers as they are found, each once and never ourselves.
    ///
    /// The receiver ends with the lookup. A reader that falls 64 behind misses what is found meanwhile.
    ///
    /// # Errors
    /// [`Closed`] when there is no DHT.
    ///
    /// # Cancel safety
    /// Dropping the future or the receiver ends the lookup.
    pub async fn providers(&self, key: Vec<u8>) -> Result<mpsc::Receiver<Provider>, Closed> {
        let (found, receiver) = mpsc::channel(FOUND);
        self.mailbox
            .send(Command::Lookup(Lookup::Providers(key, found)))
            .await?;
        Ok(receiver)
    }

    /// Announces this node as a provider of `key`, now and again at each interval until withdrawn.
    ///
    /// Done when the first attempt is over, well or not; at once when no peer is known, an earlier run has
    /// announced the key within 48 h, or 64 callers wait already: the key is recorded here from then on, and
    /// announced in its turn. After a restart it has to be provided again.
    ///
    /// # Errors
    /// [`KadError::Refused`] when the key is longer than 1,024 bytes or this node provides a million.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the key announced; [`withdraw`](Self::withdraw) it to be sure.
    pub async fn provide(&self, key: Vec<u8>) -> Result<(), KadError> {
        check_key(&key)?;
        self.mailbox.call(|reply| Command::Provide { key, reply }).await?
    }

    /// Stops announcing `key`. Others forget it within 48 h.
    ///
    /// # Errors
    /// [`Closed`] when there is no DHT.
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have withdrawn the key.
    pub async fn withdraw(&self, key: Vec<u8>) -> Result<(), Closed> {
        self.mailbox.call(|reply| Command::Withdraw { key, reply }).await
    }

    /// Looks up the addresses of one peer; the answer has one entry.
    ///
    /// # Errors
    /// [`KadError::NoPeers`], [`KadError::NotFound`], [`KadError::TimedOut`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the lookup.
    pub async fn find_peer(&self, peer: PeerId) -> Result<Vec<Provider>, KadError> {
        self.lookup(|reply| Lookup::Find(peer, reply)).await
    }

    /// Looks up the value of `key`: the one most peers agree on, or the best where a [`Judge`](crate::Judge) knows it.
    ///
    /// Other values are not signed: whoever reads one must be able to tell whether it is true.
    ///
    /// # Errors
    /// [`KadError::NoPeers`], [`KadError::NotFound`], [`KadError::TimedOut`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the lookup.
    pub async fn get(&self, key: Vec<u8>) -> Result<Vec<u8>, KadError> {
        check_key(&key)?;
        self.lookup(|reply| Lookup::Get(key, reply)).await
    }

    /// Puts a value of at most 64 KiB under `key` for 48 h, here and at the peers closest to it.
    ///
    /// Done when at least one other peer has taken it.
    ///
    /// # Errors
    /// [`KadError::Refused`] when key or value are too large, or the value is judged to be untrue;
    /// [`KadError::Outdated`], [`KadError::NoPeers`], [`KadError::TimedOut`].
    ///
    /// # Cancel safety
    /// Dropping the future may or may not have put the value.
    pub async fn put(&self, key: Vec<u8>, value: Vec<u8>) -> Result<(), KadError> {
        check_key(&key)?;
        if value.len() > MAX_VALUE {
            return Err(KadError::Refused(format!(
                "a value has at most {MAX_VALUE} bytes, this one has {}",
                value.len()
            )));
        }
        self.lookup(|reply| Lookup::Put(key, value, reply)).await
    }

    /// Counts peers, keys and lookups.
    ///
    /// # Errors
    /// [`Closed`] when there is no DHT.
    pub async fn status(&self) -> Result<Status, Closed> {
        self.mailbox.call(Command::Status).await
    }

    async fn lookup<T>(
        &self,
        lookup: impl FnOnce(tokio::sync::oneshot::Sender<Result<T, KadError>>) -> Lookup,
    ) -> Result<T, KadError> {
        self.mailbox.call(|reply| Command::Lookup(lookup(reply))).await?
    }
}

fn check_key(key: &[u8]) -> Result<(), KadError> {
    match key.len() {
        0 => Err(KadError::Refused("the key is empty".into())),
        1..=MAX_KEY => Ok(()),
        length => Err(KadError::Refused(format!(
            "a key has at most {MAX_KEY} bytes, this one has {length}"
        ))),
    }
}
