//! Feeds the service manager's watchdog, as long as the node turns.
use std::{pin::pin, time::Duration};

use cardume_node::Node;

use super::manager::Manager;
use crate::text::{count, size};

/// Between two words to the manager when no watchdog is set.
const USUAL: Duration = Duration::from_secs(10);
/// Looks in the time that a watchdog allows: one may be late, and one lost.
const LOOKS: u32 = 3;

/// Tells the manager that the node turns, and what it does, whenever swarm and store both have turned since the last
/// time. Never ends; a node that is stuck is no longer spoken for, and the manager starts it anew.
pub(super) async fn feed(node: &Node, manager: &Manager) {
    let every = manager.watchdog().map_or(USUAL, |allowed| allowed / LOOKS);
    if !manager.is_there() {
        return std::future::pending().await;
    }
    loop {
        let peers = turned(node.swarm_turned(), node.store_turned(), every).await;
        let now = node.traffic();
        manager.turned(&format!(
            "{}; {}/s sent, {}/s received",
            count(peers as u64, "peer"),
            size(now.upload),
            size(now.download),
        ));
        tokio::time::sleep(every).await;
    }
}

/// Waits for both; says in the log which one is late.
async fn turned<T>(swarm: impl Future<Output = T>, store: impl Future<Output = ()>, late: Duration) -> T {
    let (mut swarm, mut store) = (pin!(swarm), pin!(store));
    let (mut told, mut answered) = (None, false);
    loop {
        told = match told {
            Some(told) if answered => return told,
            told => told,
        };
        tokio::select! {
            now = &mut swarm, if told.is_none() => told = Some(now),
            () = &mut store, if !answered => answered = true,
            () = tokio::time::sleep(late) => tracing::error!(
                swarm_turns = told.is_some(),
                store_answers = answered,
                "a part of the node is stuck; a watchdog, if there is one, is not fed",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn a_node_turns_when_swarm_and_store_both_do() {
        let soon = Duration::from_millis(1);
        assert_eq!(turned(ready(3), ready(()), soon).await, 3);
        let short = Duration::from_millis(20);
        for stuck in [
            tokio::time::timeout(short, turned(pending(), ready(()), soon)).await,
            tokio::time::timeout(short, turned(ready(3), pending(), soon)).await,
        ] {
            stuck.unwrap_err();
        }
    }
}
