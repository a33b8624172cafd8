use libp2p_core::transport::ListenerId;
use libp2p_swarm::{ConnectionId, NewListenAddr, behaviour::DialFailure};

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

#[test]
fn a_link_of_ours_is_a_local_network_whatever_addresses_it_has() {
    let (mut routing, mut dht) = table();
    let ours = address("/ip4/198.51.100.200/tcp/4011");
    routing.on_swarm_event(
        &mut dht,
        &FromSwarm::NewListenAddr(NewListenAddr {
            listener_id: ListenerId::next(),
            addr: &ours,
        }),
    );
    for n in 1..=9 {
        let near = address(&format!("/ip4/198.51.100.{n}/tcp/4011"));
        routing.learn(&mut dht, PeerId::random(), &near);
    }
    assert_eq!(table_size(&mut dht), 9);
    for n in 1..=9 {
        let far = address(&format!("/ip4/203.0.113.{n}/tcp/4011"));
        routing.learn(&mut dht, PeerId::random(), &far);
    }
    assert!(table_size(&mut dht) <= 12);
}

#[test]
fn addresses_of_this_host_leave_the_table_when_another_host_is_told_of_it() {
    let (mut routing, mut dht) = table();
    let (here, both) = (PeerId::random(), PeerId::random());
    let (host, private) = (address("/ip4/127.0.0.1/tcp/1"), address("/ip4/10.0.0.7/tcp/1"));
    routing.learn(&mut dht, here, &host);
    routing.learn(&mut dht, both, &host);
    routing.learn(&mut dht, both, &private);
    routing.settle(&mut dht, Scope::Private, Scope::Private);
    assert!(!is_in_table(&mut dht, &here) && !has_address(&mut dht, &both, &host));
    assert!(has_address(&mut dht, &both, &private));
    routing.learn(&mut dht, here, &host);
    assert!(!is_in_table(&mut dht, &here));
    routing.settle(&mut dht, Scope::Host, Scope::Host);
    routing.learn(&mut dht, here, &host);
    assert!(is_in_table(&mut dht, &here));
}

#[test]
fn private_addresses_that_somebody_on_the_internet_may_have_told_are_not_dialled() {
    let (mut routing, mut dht) = table();
    let (peer, private) = (PeerId::random(), address("/ip4/192.168.1.1/tcp/80"));
    let public = address("/ip4/203.0.113.1/tcp/4011");
    routing.settle(&mut dht, Scope::Public, Scope::Private);
    assert!(
        routing.believes(&mut dht, &peer, &private),
        "only the link answers lookups"
    );
    assert!(!routing.believes(&mut dht, &peer, &address("/ip4/127.0.0.1/tcp/80")));
    routing.settle(&mut dht, Scope::Public, Scope::Public);
    assert!(!routing.believes(&mut dht, &peer, &private));
    assert!(routing.believes(&mut dht, &peer, &public));
    routing.learn(&mut dht, peer, &private);
    assert!(routing.believes(&mut dht, &peer, &private), "the link told it");
}
