//! How many requests there are, as who looks is told.
use std::time::Duration;

use cardume_content::Cid;
use cardume_exchange::{Handle, Load};
use cardume_transfer::{Request, Response};

use crate::{
    hostile::honest,
    node::{GUARD, node, noise, scripted},
};

const MIB: usize = 1 << 20;

/// Waits until the requests are as wanted.
async fn until(exchange: &Handle, what: &str, wanted: impl Fn(Load) -> bool) {
    let waited = tokio::time::timeout(GUARD, async {
        while !wanted(exchange.load()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}: {:?}", exchange.load());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_download_and_those_that_wait_for_it_are_counted_until_they_end() {
    let (taker, asker) = (node().await, node().await);
    assert_eq!(taker.exchange.load(), Load::default());
    let bytes = noise(61, 12 * MIB);
    let cid = Cid::blob(cardume_content::Hash::of(&bytes));
    // It proves how large the file is, and gives none of it.
    let giver = scripted(move |_, request| {
        let proves = matches!(request, Request::Get { ranges, .. } if ranges[0].end == bytes.len() as u64);
        let is_question = !matches!(request, Request::Get { .. });
        (proves || is_question).then(|| honest(&bytes, request))
    })
    .await;
    let fetch = taker
        .exchange
        .fetch(taker.request(cid, "film", &[&giver.address]));
    until(&taker.exchange, "pieces are asked for", |load| {
        load.in_flight > 0 && load.window >= load.in_flight
    })
    .await;

    asker.meet(&taker.address).await;
    // Before the size is proven there is nothing to tell of.
    let since = loop {
        let request = Request::Have { cid, since: None };
        match asker.transfer.request(taker.peer, request).await.unwrap() {
            Response::Have { version, .. } => break Some(version),
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    };
    let request = Request::Have { cid, since };
    let waiting = tokio::spawn(asker.transfer.request(taker.peer, request));
    until(&taker.exchange, "somebody waits", |load| load.waiting == 1).await;
    asker.stop().await;
    assert!(waiting.await.unwrap().is_err());
    drop(fetch);
    until(&taker.exchange, "all is over", |load| load == Load::default()).await;
}
