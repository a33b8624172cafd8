//! What must hold for every feature, shown on one that is small.
mod toy;

use std::time::Duration;

use cardume_behaviour::{Closed, Mailbox};
use futures::{FutureExt as _, StreamExt as _, future::join_all};
use libp2p_identity::PeerId;
use libp2p_swarm_test::SwarmExt as _;

use self::toy::{Ask, Node, ask, pair};

/// Fails when nothing has happened for far longer than it takes.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(15), future)
        .await
        .expect("it takes far too long")
}

/// Polls a node until it can do nothing more without news from outside.
async fn settle(node: &mut Node) {
    for _ in 0..1000 {
        while node.swarm.next().now_or_never().is_some() {}
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn commands_beyond_the_limit_wait_and_those_of_absent_callers_never_start() {
    let (mut a, b) = pair(2).await;
    let peer = b.peer();
    tokio::spawn(b.swarm.loop_on_next());
    let mailbox = a.mailbox.clone();
    let callers: Vec<_> = (0..20)
        .map(|byte| {
            let mailbox = mailbox.clone();
            tokio::spawn(async move { ask(&mailbox, peer, byte).await })
        })
        .collect();
    settle(&mut a).await;
    assert_eq!(
        a.swarm.behaviour().driver().sent,
        2,
        "nobody answers, so no third goes out"
    );
    for caller in callers {
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    settle(&mut a).await;
    assert_eq!(
        a.swarm.behaviour().driver().sent,
        2,
        "abandoned commands never reach the wire"
    );

    // The two slots are free again.
    let live = tokio::spawn(async move { ask(&mailbox, peer, 1).await });
    settle(&mut a).await;
    assert_eq!(a.swarm.behaviour().driver().sent, 3);
    live.abort();
}

#[tokio::test]
async fn two_nodes_at_their_limit_answer_each_other() {
    // If answers waited for the gate, both would wait for the other's for ever.
    let (a, b) = pair(1).await;
    let (at_a, at_b) = (a.peer(), b.peer());
    let (a, b) = (a.echo(), b.echo());
    let calls = (0..20).flat_map(|byte| [ask(&a, at_b, byte).boxed(), ask(&b, at_a, byte).boxed()]);
    let answers = within(join_all(calls)).await;
    assert!(
        answers.iter().all(|answer| matches!(answer, Ok(Some(_)))),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_feature_switched_off_says_so_at_once() {
    let mailbox = Mailbox::<Ask>::closed();
    assert!(mailbox.is_closed());
    assert_eq!(
        ask(&mailbox, PeerId::random(), 1).now_or_never(),
        Some(Err(Closed))
    );
}

#[tokio::test]
async fn dropping_the_swarm_ends_every_call() {
    let (mut a, b) = pair(2).await;
    let peer = b.peer();
    tokio::spawn(b.swarm.loop_on_next());
    let mailbox = a.mailbox.clone();
    let mut calls = join_all((0..20).map(|byte| ask(&mailbox, peer, byte)));
    assert!((&mut calls).now_or_never().is_none());
    settle(&mut a).await;
    drop(a);
    // Some were on the wire, some in the mailbox, some before it.
    assert!(within(calls).await.iter().all(|answer| *answer == Err(Closed)));
}

#[tokio::test]
async fn a_driver_that_is_always_busy_starves_nobody() {
    let (mut a, b) = pair(2).await;
    let peer = b.peer();
    b.echo();
    a.swarm.behaviour_mut().driver_mut().is_restless = true;
    let mailbox = a.echo();
    assert_eq!(within(ask(&mailbox, peer, 7)).await, Ok(Some(7)));
}

#[tokio::test]
async fn a_driver_hides_events_from_the_behaviour_inside() {
    let b = Node::new(2).await;
    let (peer, address) = (b.peer(), b.swarm.external_addresses().next().unwrap().clone());
    b.echo();
    for hides_addresses in [true, false] {
        let mut a = Node::new(2).await;
        a.swarm.behaviour_mut().driver_mut().hides_addresses = hides_addresses;
        a.swarm.add_peer_address(peer, address.clone());
        let answer = within(ask(&a.echo(), peer, 7)).await;
        assert_eq!(
            answer,
            Ok((!hides_addresses).then_some(7)),
            "without an address there is no dial"
        );
    }
}
