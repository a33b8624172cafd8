//! Reads the configuration again while the daemon runs.
use std::{
    convert::Infallible,
    path::Path,
    sync::{Mutex, PoisonError},
};

use cardume_node::{Code, Config, Node, Plan, Problem, Wish, reload};
use tokio::signal::unix::Signal;

use super::{log, manager::Manager};
use crate::{
    config::{self, Environment, Given, VENDOR_DIR},
    reach::Reach,
};

/// What the daemon runs with, and where that came from.
pub(super) struct Reloads {
    given: Given,
    environment: Environment,
    log: log::Running,
    /// As the files had it, before places were looked up: what is read later is compared with this.
    running: Mutex<Config>,
}

impl Reloads {
    /// Begins with the configuration that was read at the start, from where `reach` says.
    pub(super) fn new(reach: Reach<'_>, log: log::Running, running: Config) -> Self {
        Self {
            given: reach.given(),
            environment: reach.environment.clone(),
            log,
            running: Mutex::new(running),
        }
    }

    /// Answers callers and SIGHUP, one after the other. Never ends.
    pub(super) async fn serve(&self, node: &Node, manager: &Manager, hang_up: &mut Signal) -> Infallible {
        loop {
            let asked = tokio::select! {
                asked = node.asked() => Some(asked),
                signal = hang_up.recv() => match signal {
                    Some(()) => None,
                    None => std::future::pending().await,
                },
            };
            let answer = match asked.as_ref().map(|asked| asked.wish) {
                Some(Wish::Plan) => self.plan().await.map(|(_, plan)| plan),
                Some(Wish::Reload) | None => {
                    manager.reloading();
                    let answer = self.reload(node).await;
                    manager.ready();
                    answer
                }
            };
            if let Some(asked) = asked {
                // A caller that has gone wants no answer.
                let _ = asked.reply.send(answer);
            }
        }
    }

    /// Reads the files, and tells what they change.
    async fn plan(&self) -> Result<(Config, Plan), Problem> {
        let (given, environment) = (self.given.clone(), self.environment.clone());
        let reading =
            tokio::task::spawn_blocking(move || config::load(&given, &environment, Path::new(VENDOR_DIR)));
        let chain = reading
            .await
            .map_err(|_| Problem::new(Code::Failed, "a fault in the node; its log says more"))?
            .map_err(|mistakes| Problem::new(Code::BadConfig, mistakes.to_string()))?;
        let plan = reload::plan(&self.lock(), &chain.config);
        Ok((chain.config, plan))
    }

    async fn reload(&self, node: &Node) -> Result<Plan, Problem> {
        let taken = self.take_over(node).await;
        match &taken {
            Ok(plan) => {
                let keys = plan.changes.iter().map(|change| change.key.as_str());
                let (keys, waiting): (Vec<_>, _) = (keys.collect(), plan.waiting());
                tracing::info!(changed = ?keys, restart_needed_for = ?waiting, "configuration reloaded");
            }
            Err(problem) => {
                tracing::error!(error = %problem.detail, "configuration not reloaded; the running one stays");
                node.reload_failed(&problem.detail);
            }
        }
        taken
    }

    async fn take_over(&self, node: &Node) -> Result<Plan, Problem> {
        let (new, plan) = self.plan().await?;
        node.reload(&new, &plan)
            .await
            .map_err(|error| Problem::new(Code::BadConfig, error.to_string()))?;
        self.log.set_level(&new.log.level);
        let mut running = self.lock();
        *running = reload::merged(&running, &new);
        Ok(plan)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Config> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
