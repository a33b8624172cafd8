//! The node's tasks: named, tracked, and none dying unnoticed.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use futures::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Spawns every task of a node. A task that panics stops the node: a node that lost one of its parts
/// would look alive and not be.
#[derive(Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    panicked: Arc<OnceLock<String>>,
}

impl Tasks {
    /// No tasks yet; `stop` is cancelled when one panics.
    pub(crate) fn new(stop: CancellationToken) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop,
            panicked: Arc::default(),
        }
    }

    /// Runs `task` on the runtime under `name`.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let this = self.clone();
        self.tracker.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                let what = text_of(panic.as_ref());
                tracing::error!(task = name, what, "a task panicked; the node stops");
                let _ = this.panicked.set(format!("{name}: {what}"));
                this.stop.cancel();
            }
        })
    }

    /// Waits until every task has ended.
    pub(crate) async fn ended(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Which task panicked, and what it said.
    pub(crate) fn panicked(&self) -> Option<String> {
        self.panicked.get().cloned()
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_stops_the_node_and_names_the_task() {
        let stop = CancellationToken::new();
        let tasks = Tasks::new(stop.clone());
        tasks.spawn("doomed", async { panic!("out of fish") });
        stop.cancelled().await;
        assert_eq!(tasks.panicked().as_deref(), Some("doomed: out of fish"));
    }
}
