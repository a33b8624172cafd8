//! What is bounded, and what the bounds must not break.
use std::time::Duration;

use cardume_transfer::{Config, Item, Request, RequestError, Response, message::MAX_PAYLOAD};
use futures::{FutureExt as _, StreamExt as _, future::join_all, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use libp2p_swarm_test::SwarmExt as _;

use crate::node::{Node, cid, get, pair, slice, within};

fn in_flight(max_in_flight: usize) -> Config {
    Config {
        max_in_flight,
        ..Config::default()
    }
}

/// Lets both nodes do all that they can do without anything new; they need no clock for it.
pub(crate) async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_beyond_what_is_served_are_answered_busy_at_once() {
    let serving = Config {
        max_serving_per_peer: 2,
        ..Config::default()
    };
    let (a, b) = pair(Config::default(), serving).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    let (_b, _nobody_answers) = b.run();
    let mut requests: FuturesUnordered<_> = (0..5).map(|seed| handle.request(peer, get(seed))).collect();
    for _ in 0..3 {
        let answer = within(requests.next()).await.unwrap().unwrap();
        assert!(
            matches!(answer, Response::Busy { retry_after } if retry_after > Duration::ZERO),
            "{answer:?}"
        );
    }
    settle().await;
    assert!(requests.next().now_or_never().is_none(), "two are being served");
}

#[tokio::test]
async fn no_more_than_the_limit_is_on_the_wire() {
    let (a, b) = pair(in_flight(2), Config::default()).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    let (_b, mut server) = b.run();
    let requests =
        tokio::spawn(async move { join_all((0..20).map(|seed| handle.request(peer, get(seed)))).await });
    for _ in 0..10 {
        let two = [
            within(server.next()).await.unwrap(),
            within(server.next()).await.unwrap(),
        ];
        settle().await;
        assert!(server.next().now_or_never().is_none(), "a third is on the wire");
        for inbound in two {
            inbound.responder.send(Response::NotFound);
        }
    }
    let answers = within(requests).await.unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(Response::NotFound))),
        "{answers:?}"
    );
}

#[tokio::test]
async fn two_nodes_at_their_limit_still_answer_each_other() {
    let (a, b) = pair(in_flight(1), in_flight(1)).await;
    let (at_a, at_b) = (a.peer(), b.peer());
    let (a, b) = (a.serve(|_| slice(b"a")), b.serve(|_| slice(b"b")));
    let requests = (0..20).flat_map(|seed| {
        [
            a.request(at_b, get(seed)).boxed(),
            b.request(at_a, get(seed)).boxed(),
        ]
    });
    let answers = within(join_all(requests)).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn a_caller_that_goes_away_frees_its_slot() {
    let (a, b) = pair(in_flight(1), Config::default()).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    let (_b, mut server) = b.run();
    for seed in 0..40 {
        // More often than there are slots for one peer, or streams on one connection.
        let inbound = tokio::select! {
            inbound = within(server.next()) => inbound.unwrap(),
            answer = handle.request(peer, get(seed)) => panic!("nobody answered: {answer:?}"),
        };
        assert_eq!(inbound.request, get(seed));
    }
    let answer = handle.request(peer, get(99));
    let serve = async {
        within(server.next())
            .await
            .unwrap()
            .responder
            .send(Response::NotFound)
    };
    assert_eq!(
        within(async { tokio::join!(answer, serve).0 }).await.unwrap(),
        Response::NotFound
    );
}

#[tokio::test]
async fn a_peer_that_stalls_times_out() {
    let request_timeout = cardume_units::Duration::from_millis(100);
    let (a, b) = pair(
        Config {
            request_timeout,
            ..in_flight(1)
        },
        Config::default(),
    )
    .await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    let (_b, mut server) = b.run();
    let error = within(handle.request(peer, get(1))).await.unwrap_err();
    assert!(matches!(error, RequestError::TimedOut), "{error}");
    let _stalled = within(server.next()).await.unwrap();
    let serve = async {
        within(server.next())
            .await
            .unwrap()
            .responder
            .send(Response::NotFound)
    };
    let (answer, ()) = tokio::join!(within(handle.request(peer, get(2))), serve);
    assert_eq!(answer.unwrap(), Response::NotFound, "the slot is free again");
}

#[tokio::test]
async fn waiting_for_a_change_takes_no_slot() {
    let (a, b) = pair(
        in_flight(1),
        Config {
            max_serving: 1,
            ..Config::default()
        },
    )
    .await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    let (_b, mut server) = b.run();
    let since = |seed| Request::Have {
        cid: cid(seed),
        since: Some(1),
    };
    let mut waiting: Vec<_> = (0..4)
        .map(|seed| handle.request(peer, since(seed)).boxed())
        .collect();
    let mut held_back = Vec::new();
    for request in &mut waiting {
        tokio::select! {
            inbound = within(server.next()) => held_back.push(inbound),
            answer = request => panic!("nobody answered: {answer:?}"),
        }
    }
    let serve = async {
        within(server.next())
            .await
            .unwrap()
            .responder
            .send(Response::NotFound)
    };
    let (answer, ()) = tokio::join!(within(handle.request(peer, get(2))), serve);
    assert_eq!(answer.unwrap(), Response::NotFound);
}

#[tokio::test]
async fn peers_that_cannot_be_reached_hold_up_nobody_else() {
    let (mut a, b) = pair(in_flight(8), Config::default()).await;
    let peer = b.peer();
    b.serve(|_| slice(b"here"));
    // Accepts connections by the backlog alone and never says a word, so that dials hang.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", silent.local_addr().unwrap().port());
    let dead: Vec<_> = (0..3).map(|_| PeerId::random()).collect();
    for dead in &dead {
        a.swarm.add_peer_address(*dead, address.parse().unwrap());
    }
    let (handle, _server) = a.run();
    let mut hanging: Vec<_> = dead
        .iter()
        .flat_map(|dead| (0..16).map(|seed| handle.request(*dead, get(seed)).boxed()))
        .collect();
    for request in &mut hanging {
        assert!(request.now_or_never().is_none());
    }
    let mut hanging = join_all(hanging);
    tokio::select! {
        answer = within(handle.request(peer, get(1))) => assert_eq!(answer.unwrap(), slice(b"here")),
        answers = &mut hanging => panic!("they should hang: {answers:?}"),
    }
}

#[tokio::test]
async fn parked_requests_go_out_when_the_peer_is_connected() {
    let mut a = Node::new(in_flight(2), "test").await;
    let b = Node::new(Config::default(), "test").await;
    let peer = b.peer();
    let address = b.swarm.external_addresses().next().unwrap().clone();
    a.swarm.add_peer_address(peer, address);
    b.serve(|_| slice(b"late"));
    let (handle, _server) = a.run();
    let answers = within(join_all((0..40).map(|seed| handle.request(peer, get(seed))))).await;
    // Sixteen at most go to one peer, so none is one too many for it.
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().is_ok_and(|answer| *answer == slice(b"late"))),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_while_dialling_takes_nobody_with_it() {
    let mut a = Node::new(in_flight(2), "test").await;
    let b = Node::new(Config::default(), "test").await;
    let peer = b.peer();
    let address = b.swarm.external_addresses().next().unwrap().clone();
    a.swarm.add_peer_address(peer, address);
    let (handle, _server) = a.run();
    let mut first = handle.request(peer, get(1)).boxed();
    let mut others = join_all((2..10).map(|seed| handle.request(peer, get(seed))));
    assert!((&mut first).now_or_never().is_none());
    assert!((&mut others).now_or_never().is_none());
    settle().await;
    // The other node does not run yet, so the first is the one that is dialled for.
    drop(first);
    settle().await;
    b.serve(|_| slice(b"here"));
    let answers = within(others).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn the_largest_answer_arrives_and_a_larger_one_is_not_sent() {
    let (a, b) = pair(Config::default(), Config::default()).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    let (_b, mut server) = b.run();
    for len in [MAX_PAYLOAD, MAX_PAYLOAD + 1] {
        let items = vec![Item::Blob {
            size: 4 << 20,
            slice: vec![7; len as usize].into(),
        }];
        let (request, response) = (Request::GetMany { cids: vec![cid(1)] }, Response::Many { items });
        let serve = async {
            within(server.next())
                .await
                .unwrap()
                .responder
                .send(response.clone())
        };
        let (answer, ()) = tokio::join!(within(handle.request(peer, request)), serve);
        match answer {
            Ok(answer) => assert!(len == MAX_PAYLOAD && answer == response),
            Err(error) => assert!(
                len > MAX_PAYLOAD && matches!(error, RequestError::Lost(_)),
                "{error}"
            ),
        }
    }
}

#[tokio::test]
async fn requests_of_all_peers_beyond_what_is_served_are_answered_busy_at_once() {
    let serving = Config {
        max_serving: 1,
        ..Config::default()
    };
    let (mut a, mut b) = (
        Node::new(Config::default(), "test").await,
        Node::new(Config::default(), "test").await,
    );
    let mut giver = Node::new(serving, "test").await;
    a.swarm.connect(&mut giver.swarm).await;
    b.swarm.connect(&mut giver.swarm).await;
    let peer = giver.peer();
    let ((a, _a), (b, _b)) = (a.run(), b.run());
    let (_giver, mut server) = giver.run();
    let served = tokio::spawn(async move { a.request(peer, get(1)).await });
    let _unanswered = within(server.next()).await.unwrap();
    let answer = within(b.request(peer, get(2))).await.unwrap();
    assert!(matches!(answer, Response::Busy { .. }), "{answer:?}");
    assert!(!served.is_finished(), "the first is being served");
}
