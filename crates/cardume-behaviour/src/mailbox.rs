//! How callers reach a driver.
use std::fmt;

use tokio::sync::{mpsc, oneshot};

/// The feature is switched off, or the swarm has been dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the feature is not running")]
pub struct Closed;

/// The bounded way into a driver; cheap to clone.
pub struct Mailbox<C> {
    sender: mpsc::Sender<C>,
}

impl<C> Mailbox<C> {
    /// Makes a mailbox whose every call answers [`Closed`] at once: that of a feature switched off.
    pub fn closed() -> Self {
        // The receiver is dropped here, which closes the channel.
        Self::pair(1).0
    }

    /// Makes a mailbox for `capacity` commands with its other end, to test a handle without a swarm.
    ///
    /// # Panics
    /// When `capacity` is zero.
    pub fn pair(capacity: usize) -> (Self, mpsc::Receiver<C>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { sender }, receiver)
    }

    /// Sends the command made from a reply channel, and waits for the answer.
    ///
    /// Waits while the mailbox is full.
    ///
    /// # Errors
    /// [`Closed`] when the driver is gone, or dropped the reply channel without an answer.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the command: a command not yet taken is thrown away, a driver that has
    /// taken it sees the reply channel closed.
    pub async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> C) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Closed)
    }

    /// Sends a command that has no answer. Waits while the mailbox is full.
    ///
    /// # Errors
    /// [`Closed`] when the driver is gone.
    ///
    /// # Cancel safety
    /// Dropping the future before it is done means that the command was not sent.
    pub async fn send(&self, command: C) -> Result<(), Closed> {
        self.sender.send(command).await.map_err(|_| Closed)
    }

    /// Whether the driver is gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

// Derived, it would ask for `C: Clone`.
impl<C> Clone for Mailbox<C> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
        }
    }
}

impl<C> fmt::Debug for Mailbox<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("free", &self.sender.capacity())
            .finish_non_exhaustive()
    }
}
