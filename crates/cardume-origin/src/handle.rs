//! The way in.
use std::{ops::Range, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use crate::{Address, Body, Config, OriginError};

/// A file, or a part of it, to be read.
pub(crate) struct Command {
    pub(crate) address: Address,
    pub(crate) range: Range<u64>,
    pub(crate) named: Named,
    pub(crate) opened: oneshot::Sender<Result<Body, OriginError>>,
}

/// Who named an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The user or the configuration of this node.
    ByUser,
    /// Another node: counts only when the configuration allows the host.
    ByPeer,
}

/// Reads files from web servers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    allow: Arc<[String]>,
    enabled: bool,
    patience: Duration,
    max_wait: Duration,
    at_once: usize,
}

impl Handle {
    pub(crate) fn new(commands: mpsc::Sender<Command>, allow: Arc<[String]>, config: &Config) -> Self {
        Self {
            commands,
            allow,
            enabled: config.enabled,
            patience: config.patience.get(),
            max_wait: config.max_wait.get(),
            at_once: config.max_requests_per_host.max(1),
        }
    }

    /// Makes a handle that reads nothing.
    pub fn closed() -> Self {
        let config = Config {
            enabled: false,
            ..Config::default()
        };
        Self::new(mpsc::channel(1).0, Arc::default(), &config)
    }

    /// Whether an origin may be asked at all, by whoever it was named.
    pub fn allows(&self, address: &Address, named: Named) -> bool {
        let is_listed = || self.allow.iter().any(|host| host == address.host());
        self.enabled && (named == Named::ByUser || is_listed())
    }

    /// How long peers are looked for before an origin is asked for all of something.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// How long somebody else who reads the same is waited for, at most.
    pub const fn max_wait(&self) -> Duration {
        self.max_wait
    }

    /// Requests to one host that are answered at once; more wait.
    pub const fn at_once(&self) -> usize {
        self.at_once
    }

    /// Begins to read `range` of a file; one that ends beyond the file's end is cut.
    ///
    /// A server without ranges gives the whole file from its beginning: see [`Body::start`].
    ///
    /// # Errors
    /// Says what is wrong with the server, and what to do.
    ///
    /// # Cancel safety
    /// Dropping the future, or the body, ends the request.
    pub async fn read(&self, address: Address, range: Range<u64>, named: Named) -> Result<Body, OriginError> {
        if !self.enabled {
            return Err(OriginError::Off);
        }
        if !self.allows(&address, named) {
            return Err(OriginError::NotAllowed {
                host: address.host().to_owned(),
            });
        }
        let (opened, answer) = oneshot::channel();
        let command = Command {
            address,
            range,
            named,
            opened,
        };
        self.commands.send(command).await.map_err(|_| OriginError::Off)?;
        answer.await.map_err(|_| OriginError::Off)?
    }
}
