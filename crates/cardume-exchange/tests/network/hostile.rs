use std::fs;

use bytes::Bytes;
use cardume_content::{Cid, PieceSet, pieces::piece_count, slice, tree};
use cardume_exchange::FetchError;
use cardume_transfer::{Request, Response};

use crate::node::{node, noise, scripted};

const MIB: usize = 1 << 20;

/// An honest answer.
pub(crate) fn honest(bytes: &[u8], request: &Request) -> Response {
    let size = bytes.len() as u64;
    match request {
        Request::Have { .. } => Response::Have {
            size,
            version: 1,
            pieces: PieceSet::full(piece_count(size)),
        },
        Request::Get { ranges, .. } => Response::Slices {
            size,
            slices: ranges.iter().map(|range| encode(bytes, range.clone())).collect(),
        },
        Request::GetMany { .. } => Response::NotFound,
        Request::Swarm { .. } => Response::Swarm { peers: vec![] },
    }
}

pub(crate) fn encode(bytes: &[u8], range: std::ops::Range<u64>) -> Bytes {
    let (hash, parents) = tree::of(bytes);
    let read = |from: &[u8], at: u64, buffer: &mut [u8]| {
        buffer.copy_from_slice(&from[at as usize..at as usize + buffer.len()]);
        Ok(())
    };
    let mut out = Vec::new();
    slice::encode(
        hash,
        bytes.len() as u64,
        range,
        |at, buffer: &mut [u8]| read(bytes, at, buffer),
        |at, buffer: &mut [u8]| read(&parents, at, buffer),
        &mut out,
    )
    .unwrap();
    out.into()
}

pub(crate) fn flip(response: Response) -> Response {
    match response {
        Response::Slices { size, slices } => {
            let spoil = |slice: Bytes| {
                let mut slice = slice.to_vec();
                let middle = slice.len() / 2;
                slice[middle] ^= 1;
                slice.into()
            };
            Response::Slices {
                size,
                slices: slices.into_iter().map(spoil).collect(),
            }
        }
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_byte_and_a_peer_is_cut_off_while_the_fetch_goes_on() {
    let (a, b) = (node().await, node().await);
    let bytes = noise(21, 12 * MIB);
    let cid = a.share("film", &bytes);
    let content = bytes.clone();
    // The proof is honest, the rest is not.
    let liar = scripted(move |_, request| {
        let response = honest(&content, request);
        let proves = matches!(request, Request::Get { ranges, .. } if ranges[0].end == content.len() as u64);
        Some(if proves { response } else { flip(response) })
    })
    .await;
    let fetched = b.get(cid, "film", &[&liar.address, &a.address]).await.unwrap();
    assert_eq!(fs::read(b.path("film")).unwrap(), bytes);
    assert_eq!(fetched.sources[0].peer, a.peer);
    // What is under way or waits to be verified when the first lie is found comes to an end; nothing is asked again.
    let asked = liar.asked.lock().unwrap().clone();
    let gets = asked.iter().filter_map(|request| match request {
        Request::Get { ranges, .. } => Some(ranges.clone()),
        _ => None,
    });
    let mut gets: Vec<_> = gets.map(|ranges| (ranges[0].start, ranges[0].end)).collect();
    let all = gets.len();
    gets.sort_unstable();
    gets.dedup();
    assert_eq!(gets.len(), all, "it was asked twice for the same");
    assert!(all <= 12, "it was asked on: {all} times for 12 pieces");
    assert!(
        b.connect
            .peers()
            .await
            .unwrap()
            .iter()
            .all(|peer| peer.peer != liar.peer),
        "it is still connected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_liars_alone_a_fetch_says_so() {
    let b = node().await;
    let bytes = noise(22, 3 * MIB);
    let cid = Cid::blob(cardume_content::Hash::of(&bytes));
    let liar = scripted(move |_, request| Some(flip(honest(&bytes, request)))).await;
    let result = b.get(cid, "film", &[&liar.address]).await;
    assert!(matches!(result, Err(FetchError::Corrupt)), "{result:?}");
    assert!(!b.path("film").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn false_sizes_are_believed_of_nobody() {
    for wrong in [
        0,
        1,
        3 * MIB as u64 - 1,
        3 * MIB as u64 + 1,
        1 << 40,
        cardume_transfer::message::MAX_SIZE,
    ] {
        let (a, b) = (node().await, node().await);
        let bytes = noise(23, 3 * MIB);
        let cid = a.share("film", &bytes);
        let content = bytes.clone();
        let liar = scripted(move |_, request| {
            Some(match request {
                Request::Have { .. } => Response::Have {
                    size: wrong,
                    version: 1,
                    pieces: PieceSet::full(piece_count(wrong)),
                },
                Request::Get { ranges, .. } => Response::Slices {
                    size: wrong,
                    slices: ranges.iter().map(|_| encode(&content, 0..1)).collect(),
                },
                other => honest(&content, other),
            })
        })
        .await;
        let fetched = b.get(cid, "film", &[&liar.address, &a.address]).await;
        assert_eq!(
            fetched
                .map(|fetched| fetched.size)
                .map_err(|error| error.to_string()),
            Ok(bytes.len() as u64),
            "{wrong}"
        );
        assert_eq!(fs::read(b.path("film")).unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_holds_up_nothing_for_long() {
    let (a, b) = (node().await, node().await);
    let bytes = noise(24, 16 * MIB);
    let cid = a.share("film", &bytes);
    let content = bytes.clone();
    let mut given = 0;
    let silent = scripted(move |_, request| {
        if matches!(request, Request::Get { .. }) {
            given += 1;
        }
        (given < 3).then(|| honest(&content, request))
    })
    .await;
    let begun = std::time::Instant::now();
    b.get(cid, "film", &[&silent.address, &a.address]).await.unwrap();
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(fs::read(b.path("film")).unwrap(), bytes);
    drop(silent.connect);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_peer_is_asked_again_later() {
    let b = node().await;
    let bytes = noise(25, 3 * MIB);
    let cid = Cid::blob(cardume_content::Hash::of(&bytes));
    let busy = scripted(move |number, request| {
        Some(if number % 3 == 1 {
            Response::Busy {
                retry_after: std::time::Duration::from_millis(50),
            }
        } else {
            honest(&bytes, request)
        })
    })
    .await;
    b.get(cid, "film", &[&busy.address]).await.unwrap();
}
