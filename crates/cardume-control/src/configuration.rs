//! The configuration that a node runs with, and the way to whoever can read it again.
use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
};

use cardume_api::{Code, ConfigStatus, Plan, Problem};
use tokio::sync::{mpsc, oneshot};

/// Callers that wait at once; each reads the same files, so more of them would learn nothing else.
const WAITING: usize = 16;

/// What a caller wants with the configuration files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To know what they would change.
    Plan,
    /// To have it changed.
    Reload,
}

/// Somebody wants the configuration files read, and waits for what they say.
#[derive(Debug)]
pub struct Asked {
    /// What for.
    pub wish: Wish,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Plan, Problem>>,
}

/// What answers follow from the configuration, besides being shown it.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Bytes of memory above which the node takes no connections.
    pub memory_ceiling: u64,
    /// Paths that configuration shares: operators may hand in paths below them.
    pub shares: Vec<PathBuf>,
}

/// The configuration as callers are told of it; cheap to clone. The node reads no files: what callers ask for comes out
/// of the other end, for the program that knows them.
#[derive(Debug, Clone)]
pub struct Configuration {
    told: Arc<RwLock<Told>>,
    asks: mpsc::Sender<Asked>,
}

#[derive(Debug)]
struct Told {
    value: serde_json::Value,
    facts: Facts,
    status: ConfigStatus,
}

impl Configuration {
    /// Begins with the configuration that the node was started with.
    pub fn new(value: serde_json::Value, facts: Facts) -> (Self, mpsc::Receiver<Asked>) {
        let (asks, asked) = mpsc::channel(WAITING);
        let status = ConfigStatus::default();
        let told = Arc::new(RwLock::new(Told { value, facts, status }));
        (Self { told, asks }, asked)
    }

    /// Tells from now on that the node runs with `value`, and how it stands with the files.
    pub fn set(&self, value: serde_json::Value, facts: Facts, status: ConfigStatus) {
        *self.told.write().unwrap_or_else(PoisonError::into_inner) = Told { value, facts, status };
    }

    /// Tells from now on why the last reload changed nothing.
    pub fn failed(&self, problem: String) {
        let mut told = self.told.write().unwrap_or_else(PoisonError::into_inner);
        told.status.problem = Some(problem);
    }

    /// The configuration that the node runs with.
    pub(crate) fn value(&self) -> serde_json::Value {
        self.told().value.clone()
    }

    /// What follows from it.
    pub(crate) fn facts(&self) -> Facts {
        self.told().facts.clone()
    }

    /// How it stands with the files.
    pub(crate) fn status(&self) -> ConfigStatus {
        self.told().status.clone()
    }

    fn told(&self) -> RwLockReadGuard<'_, Told> {
        self.told.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks whoever knows the files.
    pub(crate) async fn ask(&self, wish: Wish) -> Result<Plan, Problem> {
        let nobody = || {
            Problem::new(
                Code::Unavailable,
                "nobody reads configuration files for this node",
            )
        };
        let (reply, answer) = oneshot::channel();
        self.asks
            .send(Asked { wish, reply })
            .await
            .map_err(|_| nobody())?;
        answer.await.map_err(|_| nobody())?
    }
}
