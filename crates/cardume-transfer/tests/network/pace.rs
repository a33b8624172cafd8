//! Limits, in virtual time: what takes ten seconds takes none.
use std::{num::NonZeroU64, time::Duration};

use cardume_access::rates::{Limits, Rates};
use cardume_content::PIECE;
use cardume_transfer::{
    Config, Handle, Request, Response,
    rates::{self, Origin},
};
use futures::{StreamExt as _, future::join_all, stream};
use libp2p_identity::PeerId;
use libp2p_swarm_test::SwarmExt as _;
use tokio::time::Instant;

use crate::node::{Node, cid};

fn limits(upload: u64, download: u64) -> Rates {
    Rates {
        all: Limits {
            upload: NonZeroU64::new(upload),
            download: NonZeroU64::new(download),
            per_peer: None,
        },
        ..Rates::default()
    }
}

/// A node that keeps to `rates`, with the handle to change them.
async fn node(rates: Rates) -> (Node, rates::Handle) {
    let (handle, server) = rates::Config::default().build();
    handle.set(rates, None).unwrap();
    tokio::spawn(server.run(std::future::pending()));
    let node = Node::with_rates(Config::default(), "test", handle.clone()).await;
    (node, handle)
}

pub(crate) fn piece(seed: u8) -> Request {
    Request::Get {
        cid: cid(seed),
        ranges: std::iter::once(0..PIECE).collect(),
    }
}

pub(crate) fn answer(request: &Request) -> Response {
    match request {
        Request::Get { .. } => Response::Slices {
            size: PIECE,
            slices: vec![vec![7; PIECE as usize].into()],
        },
        _ => Response::NotFound,
    }
}

/// Asks for pieces, some at once; how long it took, in seconds.
pub(crate) async fn fetch(handle: &Handle, peer: PeerId, pieces: u8, at_once: usize) -> f64 {
    let began = Instant::now();
    let requests = stream::iter((0..pieces).map(|seed| handle.request(peer, piece(seed))));
    let answers: Vec<_> = requests.buffer_unordered(at_once).collect().await;
    assert!(answers.iter().all(Result::is_ok), "a request failed");
    began.elapsed().as_secs_f64()
}

#[track_caller]
pub(crate) fn assert_close(seconds: f64, expected: f64) {
    assert!(
        (seconds - expected).abs() <= expected * 0.05,
        "{seconds} s is not {expected} s ± 5 %"
    );
}

#[tokio::test(start_paused = true)]
async fn what_goes_out_and_what_comes_in_keep_to_their_limits() {
    for (giver, taker) in [
        (limits(2 << 20, 0), Rates::default()),
        (Rates::default(), limits(0, 2 << 20)),
    ] {
        let ((mut a, _), (mut b, _)) = (node(taker).await, node(giver).await);
        a.swarm.connect(&mut b.swarm).await;
        let peer = b.peer();
        let (handle, _server) = a.run();
        b.serve(|request| answer(&request));
        assert_close(fetch(&handle, peer, 20, 6).await, 10.0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_paced_for_longer_than_the_timeout_still_arrives() {
    let ((mut a, _), (mut b, rates)) = (node(Rates::default()).await, node(limits(16_000, 0)).await);
    a.swarm.connect(&mut b.swarm).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    b.serve(|request| answer(&request));
    let seconds = fetch(&handle, peer, 1, 1).await;
    assert_close(seconds, PIECE as f64 / 16_000.0);
    assert!(seconds > 2.0 * Config::default().request_timeout.get().as_secs_f64());
    assert_eq!(rates.report().origin, Origin::Live { ends_in: None });
}

#[tokio::test(start_paused = true)]
async fn two_peers_get_the_same_whatever_they_ask() {
    let ((mut a, _), (mut b, _), (mut giver, _)) = (
        node(Rates::default()).await,
        node(Rates::default()).await,
        node(limits(1 << 20, 0)).await,
    );
    a.swarm.connect(&mut giver.swarm).await;
    b.swarm.connect(&mut giver.swarm).await;
    let peer = giver.peer();
    let ((a, _a), (b, _b)) = (a.run(), b.run());
    giver.serve(|request| answer(&request));
    // Ten seconds' worth for one that asks for all at once, and for one that asks for one after another.
    let (greedy, modest) = tokio::join!(fetch(&a, peer, 5, 5), fetch(&b, peer, 5, 1));
    assert!(modest < 10.6 && greedy > 9.0, "{greedy} {modest}");
}

#[tokio::test(start_paused = true)]
async fn questions_pass_by_what_is_held_back() {
    let ((mut a, _), (mut b, _)) = (node(limits(0, 16_000)).await, node(limits(16_000, 0)).await);
    a.swarm.connect(&mut b.swarm).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    b.serve(|request| answer(&request));
    let bulk = join_all((0..16).map(|seed| handle.request(peer, piece(seed))));
    let questions = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let began = Instant::now();
        for seed in 0..50 {
            let (cid, since) = (cid(seed), None);
            let answer = handle.request(peer, Request::Have { cid, since }).await;
            assert_eq!(answer.unwrap(), Response::NotFound);
        }
        began.elapsed()
    };
    tokio::select! {
        took = questions => assert!(took < Duration::from_millis(100), "{took:?}"),
        _ = bulk => panic!("they take minutes"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_counts_for_what_is_under_way_and_ends_by_itself() {
    let ((mut a, _), (mut b, rates)) = (node(Rates::default()).await, node(Rates::default()).await);
    a.swarm.connect(&mut b.swarm).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    b.serve(|request| answer(&request));
    // 2 s at 1 MiB/s, the other 18 MiB at once.
    rates
        .set(limits(1 << 20, 0), Some(Duration::from_secs(2)))
        .unwrap();
    assert!(matches!(rates.report().origin, Origin::Live { ends_in: Some(_) }));
    assert_close(fetch(&handle, peer, 20, 8).await, 2.0);
    assert_eq!(rates.report().origin, Origin::Configuration);
    rates.set(limits(1 << 20, 0), None).unwrap();
    let reset = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(
            rates.report().upload.abs_diff(1 << 20) < 100_000,
            "{:?}",
            rates.report()
        );
        rates.reset();
    };
    let (seconds, ()) = tokio::join!(fetch(&handle, peer, 20, 8), reset);
    assert_close(seconds, 3.0);
}

#[tokio::test(start_paused = true)]
async fn what_our_own_limits_need_longer_for_is_told() {
    let (mut a, _) = node(limits(0, 1 << 20)).await;
    let (mut b, _) = node(Rates::default()).await;
    a.swarm.connect(&mut b.swarm).await;
    let peer = b.peer();
    let (handle, _server) = a.run();
    assert_close(handle.backlog(&peer, PIECE).all.as_secs_f64(), 1.0);
    let requests: Vec<_> = (0..4).map(|seed| handle.request(peer, piece(seed))).collect();
    let backlog = handle.backlog(&peer, 0);
    assert_close(backlog.all.as_secs_f64(), 4.0);
    assert_eq!(backlog.peer, Duration::ZERO, "one peer may take all");
    drop(requests);
    assert_eq!(handle.backlog(&peer, 0).all, Duration::ZERO);
}
