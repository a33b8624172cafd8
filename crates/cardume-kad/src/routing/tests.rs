use libp2p_swarm::{ConnectionId, behaviour::DialFailure};

use super::*;
use crate::records::tests::records;

fn table() -> (Routing, Dht) {
    (Routing::default(), Dht::new(PeerId::random(), records(16, 16)))
}

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

#[test]
fn a_subnet_of_the_wide_network_gets_three_places_and_a_local_one_as_many_as_it_likes() {
    let (mut routing, mut dht) = table();
    for n in 1..=9 {
        let peer = PeerId::random();
        routing.learn(&mut dht, peer, &address(&format!("/ip4/198.51.100.{n}/tcp/4011")));
    }
    assert!((2..=3).contains(&table_size(&mut dht)));
    let (mut routing, mut dht) = table();
    for n in 1..=9 {
        let peer = PeerId::random();
        routing.learn(&mut dht, peer, &address(&format!("/ip4/192.168.1.{n}/tcp/4011")));
    }
    assert_eq!(table_size(&mut dht), 9);
}

#[test]
fn a_connected_peer_enters_the_table_when_it_has_said_that_it_speaks_our_protocol() {
    let (mut routing, mut dht) = table();
    let peer = PeerId::random();
    routing.connected.insert(peer);
    routing.learn(&mut dht, peer, &address("/memory/7"));
    assert_eq!(table_size(&mut dht), 0);
    routing.on_heard(&mut dht, Heard { peer, speaks: true });
    assert!(is_in_table(&mut dht, &peer));
    routing.on_heard(&mut dht, Heard { peer, speaks: false });
    assert_eq!(table_size(&mut dht), 0);
}

#[test]
fn a_peer_that_does_not_answer_leaves_the_table_unless_we_are_off_the_network() {
    let (mut routing, mut dht) = table();
    let peer = PeerId::random();
    routing.learn(&mut dht, peer, &address("/memory/7"));
    let error = DialError::WrongPeerId {
        obtained: PeerId::random(),
        address: address("/memory/7"),
    };
    let failure = DialFailure {
        peer_id: Some(peer),
        error: &error,
        connection_id: ConnectionId::new_unchecked(1),
    };
    routing.on_swarm_event(&mut dht, &FromSwarm::DialFailure(failure));
    assert!(is_in_table(&mut dht, &peer));
    routing.connected.insert(PeerId::random());
    let unanswered = DialFailure {
        error: &DialError::NoAddresses,
        ..failure
    };
    routing.on_swarm_event(&mut dht, &FromSwarm::DialFailure(unanswered));
    assert!(is_in_table(&mut dht, &peer), "once is not enough");
    routing.on_swarm_event(&mut dht, &FromSwarm::DialFailure(failure));
    assert!(!is_in_table(&mut dht, &peer));
}

#[test]
fn what_is_remembered_of_strangers_is_bounded() {
    let (mut routing, mut dht) = table();
    for n in 0..(2 * MAX_HEARD) {
        let peer = PeerId::random();
        routing.connected.insert(peer);
        for port in 0..20 {
            routing.learn(
                &mut dht,
                peer,
                &address(&format!("/ip4/192.0.2.1/tcp/{}", n + port)),
            );
        }
    }
    assert_eq!(
        (routing.heard.len(), routing.heard_order.len()),
        (MAX_HEARD, MAX_HEARD)
    );
    assert!(routing.heard.values().all(|all| all.len() == MAX_ADDRESSES));
    assert_eq!(table_size(&mut dht), 0);
}
