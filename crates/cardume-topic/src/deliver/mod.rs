//! What messages are handed to.
mod exec;
mod request;
mod spool;
#[cfg(test)]
mod tests;
mod webhook;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{BuildError, Deliver, Reader};

pub use self::request::Url;
pub(crate) use self::request::check_url;

/// How one delivery goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// The topic.
    pub topic: String,
    /// `exec`, `webhook` or `spool`.
    pub kind: &'static str,
    /// Messages handed over: the command or the server took them, or they are durable on the disk.
    pub delivered: u64,
    /// Messages that the command or the server did not take.
    pub failed: u64,
    /// Messages that came while too many were waiting.
    pub lost: u64,
    /// What went wrong last; none since it went well again.
    pub problem: Option<String>,
}

/// The same, counted while it goes on.
#[derive(Debug)]
pub(crate) struct Tally {
    topic: String,
    kind: &'static str,
    delivered: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Tally {
    fn new(topic: &str, kind: &'static str) -> Arc<Self> {
        Arc::new(Self {
            topic: topic.to_owned(),
            kind,
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            problem: Mutex::new(None),
        })
    }

    pub(crate) fn status(&self) -> DeliveryStatus {
        DeliveryStatus {
            topic: self.topic.clone(),
            kind: self.kind,
            delivered: self.delivered.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
            problem: self
                .problem
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    fn deliver(&self, count: u64) {
        self.delivered.fetch_add(count, Ordering::Relaxed);
        self.set_problem(None);
    }

    /// Counts a message that was not taken.
    fn fail(&self, problem: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            topic = self.topic,
            kind = self.kind,
            problem,
            "a message was not delivered"
        );
        self.set_problem(Some(problem));
    }

    /// Tells what is in the way; no message has failed for it yet.
    pub(crate) fn fail_with(&self, problem: String) {
        self.set_problem(Some(problem));
    }

    /// Counts messages that came while too many were waiting.
    fn lose(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        tracing::warn!(
            topic = self.topic,
            kind = self.kind,
            count,
            "messages were lost: delivery is too slow"
        );
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

/// One delivery, ready to run.
pub(crate) struct Deliverer {
    pub(crate) topic: String,
    pub(crate) tally: Arc<Tally>,
    way: Way,
}

#[derive(PartialEq)]
enum Way {
    Exec(crate::Exec),
    Webhook(Box<webhook::Hook>),
    Spool(crate::Spool),
}

/// The same, if the same would be done. How it has gone so far is another matter.
impl PartialEq for Deliverer {
    fn eq(&self, other: &Self) -> bool {
        (&self.topic, &self.way) == (&other.topic, &other.way)
    }
}

impl Deliverer {
    /// The deliveries of one topic.
    pub(crate) fn of(topic: &str, config: &Deliver, agent: &str) -> Result<Vec<Self>, BuildError> {
        let Deliver { exec, webhook, spool } = config;
        let mut all = Vec::new();
        let mut add = |kind, way| {
            all.push(Self {
                topic: topic.to_owned(),
                tally: Tally::new(topic, kind),
                way,
            });
        };
        if let Some(exec) = exec {
            add("exec", Way::Exec(exec.clone()));
        }
        if let Some(webhook) = webhook {
            let failed = |path: &Path, reason: String| BuildError {
                topic: topic.to_owned(),
                path: path.to_owned(),
                reason,
            };
            let hook = webhook::Hook::new(webhook, agent).map_err(|(path, reason)| failed(&path, reason))?;
            add("webhook", Way::Webhook(Box::new(hook)));
        }
        if let Some(spool) = spool {
            add("spool", Way::Spool(spool.clone()));
        }
        Ok(all)
    }

    /// Which of a topic's deliveries it is.
    pub(crate) fn kind(&self) -> &'static str {
        self.tally.kind
    }

    /// Delivers what `reader` reads.
    pub(crate) async fn run(&self, reader: Reader) {
        match &self.way {
            Way::Exec(exec) => exec::run(exec, reader, &self.tally).await,
            Way::Webhook(hook) => hook.run(reader, &self.tally).await,
            Way::Spool(spool) => spool::run(spool, reader, &self.tally).await,
        }
    }
}
