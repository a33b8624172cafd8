//! What subscribers say of messages before they are passed on.
use std::sync::Arc;

use libp2p_gossipsub as gossipsub;
use libp2p_identity::PeerId;
use tokio::sync::mpsc;

use crate::{
    Message,
    past::{Answering, Signed},
};

/// Messages that wait for a validator; more are not passed on.
const MAX_WAITING: usize = 256;

/// What a validator says of a message. The strictest of several counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It is good: it is delivered, and passed on to other peers.
    Accept,
    /// It is neither delivered nor passed on, and nobody is to blame.
    Ignore,
    /// It is neither, and whoever has sent it to us is to blame for it. Only for what every honest node rejects: one
    /// that has no validator passes it on unknowing, and is blamed.
    Reject,
}

/// Says what a message is worth. Called on a task of its own, one message after the other: it should take no longer
/// than a signature does, and must not panic.
pub type Validator = Arc<dyn Fn(&Message) -> Verdict + Send + Sync>;

/// A message to be judged.
pub(crate) struct Job {
    pub(crate) message: Message,
    pub(crate) source: PeerId,
    pub(crate) id: gossipsub::MessageId,
    pub(crate) signed: Option<Signed>,
    pub(crate) validators: Vec<Validator>,
}

/// A message that has been judged.
pub(crate) struct Judged {
    pub(crate) message: Message,
    pub(crate) source: PeerId,
    pub(crate) id: gossipsub::MessageId,
    /// To be kept for peers that come later, if it is good.
    pub(crate) signed: Option<Signed>,
    pub(crate) verdict: Verdict,
}

/// Runs validators, and answers peers that ask for what has been said, away from the swarm's task.
pub struct Server {
    judging: Judging,
    answering: Answering,
}

struct Judging {
    jobs: mpsc::Receiver<Job>,
    verdicts: mpsc::Sender<Judged>,
}

pub(crate) fn channel(answering: Answering) -> (mpsc::Sender<Job>, mpsc::Receiver<Judged>, Server) {
    let (job, jobs) = mpsc::channel(MAX_WAITING);
    let (verdicts, judged) = mpsc::channel(MAX_WAITING);
    let judging = Judging { jobs, verdicts };
    (job, judged, Server { judging, answering })
}

impl Server {
    /// Judges messages and answers peers until the behaviour is dropped.
    pub async fn run(self) {
        // Streams come in as long as anybody has a handle; messages to be judged, as long as there is a behaviour.
        tokio::select! {
            () = self.judging.run() => {}
            () = self.answering.run() => {}
        }
    }
}

impl Judging {
    async fn run(mut self) {
        while let Some(job) = self.jobs.recv().await {
            let verdicts = job.validators.iter().map(|validate| validate(&job.message));
            let judged = Judged {
                verdict: verdicts.max().unwrap_or(Verdict::Accept),
                message: job.message,
                source: job.source,
                id: job.id,
                signed: job.signed,
            };
            if self.verdicts.send(judged).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}
