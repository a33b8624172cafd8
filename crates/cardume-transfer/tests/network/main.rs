//! Nodes in one process ask each other over memory transports.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod hostile;
mod limits;
mod node;
mod pace;
mod places;
mod rates;

use std::time::Duration;

use cardume_behaviour::Closed;
use cardume_content::{PieceSet, pieces::piece_count};
use cardume_transfer::{Config, Handle, Item, Request, RequestError, Response, SwarmPeer, Traffic};
use futures::FutureExt as _;
use libp2p_identity::PeerId;
use libp2p_swarm_test::SwarmExt as _;

use self::node::{Node, cid, get, pair, slice, within};

fn have(request: &Request) -> Response {
    let mut pieces = PieceSet::empty(piece_count(9 << 20));
    pieces.insert(0);
    pieces.insert(4);
    pieces.insert(5);
    match request {
        Request::Get { .. } => slice(b"slice"),
        Request::GetMany { .. } => Response::Many {
            items: vec![
                Item::Blob {
                    size: 3,
                    slice: "abc".into(),
                },
                Item::NotFound,
                Item::TooLarge { size: 1 << 40 },
                Item::Blob {
                    size: 0,
                    slice: "".into(),
                },
            ],
        },
        Request::Have { .. } => Response::Have {
            size: 9 << 20,
            version: u64::MAX,
            pieces,
        },
        Request::Swarm { .. } => Response::Swarm {
            peers: vec![SwarmPeer {
                peer: PeerId::random(),
                addresses: vec!["/ip4/192.0.2.1/udp/4011/quic-v1".parse().unwrap()],
            }],
        },
    }
}

#[tokio::test]
async fn every_request_is_answered_in_kind() {
    let (a, b) = pair(Config::default(), Config::default()).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    b.serve(|request| have(&request));
    let requests = [
        get(1),
        Request::GetMany {
            cids: vec![cid(1); 4],
        },
        Request::Have {
            cid: cid(1),
            since: None,
        },
        Request::Have {
            cid: cid(1),
            since: Some(7),
        },
    ];
    for request in requests {
        let expected = have(&request);
        assert_eq!(within(handle.request(peer, request)).await.unwrap(), expected);
    }
    let swarm = within(handle.request(peer, Request::Swarm { cid: cid(1) }))
        .await
        .unwrap();
    let Response::Swarm { peers } = swarm else {
        panic!("{swarm:?}")
    };
    assert_eq!(peers[0].addresses.len(), 1);
}

#[tokio::test]
async fn not_having_it_and_not_giving_it_are_answers() {
    let (a, b) = pair(Config::default(), Config::default()).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    let busy = || Response::Busy {
        retry_after: Duration::from_millis(1234),
    };
    b.serve(move |request| match request {
        Request::Get { .. } => Response::NotFound,
        Request::Have { .. } => Response::Denied,
        _ => busy(),
    });
    assert_eq!(
        within(handle.request(peer, get(1))).await.unwrap(),
        Response::NotFound
    );
    let have = Request::Have {
        cid: cid(1),
        since: None,
    };
    assert_eq!(
        within(handle.request(peer, have)).await.unwrap(),
        Response::Denied
    );
    let swarm = Request::Swarm { cid: cid(1) };
    assert_eq!(within(handle.request(peer, swarm)).await.unwrap(), busy());
}

#[tokio::test]
async fn payload_is_counted_on_both_sides() {
    let (a, b) = pair(Config::default(), Config::default()).await;
    let (asker, peer) = (a.peer(), b.peer());
    let (handle, _server) = a.run();
    let served = b.serve(|request| have(&request));
    within(handle.request(peer, get(1))).await.unwrap();
    assert_eq!(handle.traffic(), [(peer, Traffic { received: 5, sent: 0 })]);
    // The answerer counts once its connection has taken the answer, which is before it takes the next.
    while served.traffic().is_empty() {
        within(handle.request(
            peer,
            Request::Have {
                cid: cid(1),
                since: None,
            },
        ))
        .await
        .unwrap();
    }
    assert_eq!(served.traffic(), [(asker, Traffic { received: 0, sent: 5 })]);
}

#[tokio::test]
async fn a_peer_of_another_network_is_told_apart() {
    let mut a = Node::new(Config::default(), "one").await;
    let mut b = Node::new(Config::default(), "two").await;
    a.swarm.connect(&mut b.swarm).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    b.serve(|_| Response::NotFound);
    let error = within(handle.request(peer, get(1))).await.unwrap_err();
    assert!(matches!(error, RequestError::Unsupported), "{error}");
}

#[tokio::test]
async fn a_peer_without_an_address_is_unreachable() {
    let (handle, _server) = Node::new(Config::default(), "test").await.run();
    let peer = PeerId::random();
    let requests = (0..20).map(|seed| handle.request(peer, get(seed)));
    for answer in within(futures::future::join_all(requests)).await {
        assert!(matches!(answer, Err(RequestError::Unreachable(_))), "{answer:?}");
    }
}

#[tokio::test]
async fn requests_that_are_answered_by_nobody_end() {
    let (a, b) = pair(Config::default(), Config::default()).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    let (_b, mut server) = b.run();
    let request = tokio::spawn(async move { handle.request(peer, get(1)).await });
    drop(within(server.next()).await.unwrap());
    let error = within(request).await.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::Lost(_)), "{error}");
}

#[tokio::test]
async fn a_responder_knows_when_its_peer_has_gone() {
    let (a, b) = pair(Config::default(), Config::default()).await;
    let peer = b.peer();
    let (_b, mut server) = b.run();
    let Node {
        mut swarm, handle, ..
    } = a;
    let request = tokio::spawn(async move { handle.request(peer, get(1)).await });
    let inbound = tokio::select! {
        inbound = within(server.next()) => inbound.unwrap(),
        () = async { loop { swarm.next_swarm_event().await; } } => unreachable!(),
    };
    assert!(!inbound.responder.is_gone());
    drop(swarm);
    within(inbound.responder.gone()).await;
    assert!(inbound.responder.is_gone());
    let error = within(request).await.unwrap().unwrap_err();
    assert!(
        matches!(error, RequestError::Closed(Closed)),
        "dropping the swarm ends every call: {error}"
    );
}

#[tokio::test]
async fn a_switched_off_feature_says_so_at_once() {
    let answer = Handle::closed().request(PeerId::random(), get(1)).now_or_never();
    assert!(
        matches!(answer, Some(Err(RequestError::Closed(Closed)))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_request_beyond_the_limits_is_not_sent() {
    let handle = Handle::closed();
    for request in [
        Request::Get {
            cid: cid(1),
            ranges: vec![],
        },
        Request::Get {
            cid: cid(1),
            ranges: vec![4..8, 0..2],
        },
        Request::Get {
            cid: cid(1),
            ranges: vec![4..8, 7..9],
        },
        Request::Get {
            cid: cid(1),
            ranges: vec![4..4, 7..9],
        },
        Request::Get {
            cid: cid(1),
            ranges: (0..65).map(|n| n..n + 1).collect(),
        },
        Request::GetMany { cids: vec![] },
        Request::GetMany {
            cids: vec![cid(1); 1025],
        },
    ] {
        let answer = handle.request(PeerId::random(), request).await;
        assert!(matches!(answer, Err(RequestError::Invalid(_))), "{answer:?}");
    }
}
