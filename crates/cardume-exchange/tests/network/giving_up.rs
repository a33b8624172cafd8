//! How long a fetch hopes, and for what.
use std::{sync::Arc, time::Duration};

use cardume_content::{Cid, Hash};
use cardume_exchange::{Config, FetchError};
use cardume_testkit::web::Web;
use cardume_transfer::{Request, Response};

use multiaddr::Multiaddr;

use crate::{
    hostile::{flip, honest},
    node::{Node, finish, node, node_near_as, node_with, noise, scripted},
    slow::slow,
};

const MIB: usize = 1 << 20;
const SOON: Duration = Duration::from_millis(300);
/// Longer than any test.
const LATE: Duration = Duration::from_secs(3600);

/// A configuration that hopes for very long.
fn patient() -> Config {
    Config {
        find_timeout: LATE.into(),
        lost_timeout: LATE.into(),
        give_up_after: LATE.into(),
        ..Config::default()
    }
}

/// A web server, and a way to fetch from it what `others` do not give; how much came from it is told, but for what was held
/// just when reading was broken off, and is not read again.
fn web(others: Option<Multiaddr>) -> (Web, impl AsyncFn(&Node) -> u64) {
    let bytes = noise(53, 3 * MIB);
    let (web, cid) = (Web::start().unwrap(), Cid::blob(Hash::of(&bytes)));
    web.put("/file", bytes);
    let url = web.url("/file");
    let fetch = async move |node: &Node| {
        let mut request = node.request(cid, "got", &others.iter().collect::<Vec<_>>());
        request.origins = vec![url.parse().unwrap()];
        finish(node.exchange.fetch(request)).await.unwrap().origin
    };
    (web, fetch)
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_looked_for_for_as_long_as_is_configured_before_a_web_server_is_asked() {
    let (web, fetch) = web(None);
    let near = |patience: Duration| {
        let origin = cardume_origin::Config {
            patience: patience.into(),
            ..Default::default()
        };
        node_near_as(&web, origin, patient())
    };
    let (late, soon) = (near(LATE).await, near(SOON).await);
    assert_ne!(ends_first(&late, &soon, fetch).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_it_reads_the_same_from_a_web_server_is_waited_for_for_as_long_as_is_configured() {
    // Always on the point of having some.
    let promising = scripted(|_, request| {
        Some(match request {
            Request::Have { .. } => Response::Coming { bytes: 1 },
            Request::Swarm { .. } => Response::Swarm { peers: vec![] },
            _ => Response::NotFound,
        })
    })
    .await;
    let (web, fetch) = web(Some(promising.address.clone()));
    let near = |max_wait: Duration| {
        let origin = cardume_origin::Config {
            patience: SOON.into(),
            max_wait: max_wait.into(),
            ..Default::default()
        };
        node_near_as(&web, origin, patient())
    };
    let (late, soon) = (near(LATE).await, near(SOON).await);
    assert_ne!(ends_first(&late, &soon, fetch).await, 0);
}

/// How a fetch of the second node ends, before that of the first, which was begun earlier.
async fn ends_first<T: std::fmt::Debug>(late: &Node, soon: &Node, fetch: impl AsyncFn(&Node) -> T) -> T {
    tokio::select! {
        biased;
        end = fetch(late) => panic!("it has not waited: {end:?}"),
        end = fetch(soon) => end,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_it_is_looked_for_for_as_long_as_is_configured() {
    let late = node_with(patient()).await;
    let soon = node_with(Config {
        find_timeout: SOON.into(),
        ..patient()
    })
    .await;
    let nobody = Cid::blob(Hash::of(b"nobody has it"));
    let fetch = async |node: &Node| node.get(nobody, "got", &[]).await.unwrap_err();
    let error = ends_first(&late, &soon, fetch).await;
    assert!(matches!(error, FetchError::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_lost_is_waited_for_for_as_long_as_is_configured() {
    let giver = node().await;
    let cid = giver.share("film", &noise(51, 16 * MIB));
    // It is waited for for no shorter than somebody is looked for, and that is long enough for something to come.
    let find_timeout = Duration::from_secs(5).into();
    let late = node_with(Config {
        find_timeout,
        ..patient()
    })
    .await;
    let soon = node_with(Config {
        find_timeout,
        lost_timeout: SOON.into(),
        ..patient()
    })
    .await;
    let fetch = async |node: &Node| {
        let source = slow(&giver.store, &Arc::default()).await;
        // Whom the fetch itself names is given up sooner.
        node.meet(&source.address).await;
        let fetch = node.exchange.fetch(node.request(cid, "film", &[]));
        let mut progress = fetch.progress();
        progress.wait_for(|progress| progress.fetched > 0).await.unwrap();
        drop(source);
        finish(fetch).await.unwrap_err()
    };
    let error = ends_first(&late, &soon, fetch).await;
    assert!(matches!(error, FetchError::NotFound { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_every_source_has_lied_others_are_looked_for_for_as_long_as_is_configured() {
    let bytes = noise(52, 3 * MIB);
    let cid = Cid::blob(Hash::of(&bytes));
    let liar = scripted(move |_, request| Some(flip(honest(&bytes, request)))).await;
    let address = liar.address.clone();
    let late = node_with(patient()).await;
    let soon = node_with(Config {
        give_up_after: SOON.into(),
        ..patient()
    })
    .await;
    let fetch = async |node: &Node| node.get(cid, "got", &[&address]).await.unwrap_err();
    let error = ends_first(&late, &soon, fetch).await;
    assert!(matches!(error, FetchError::Corrupt), "{error}");
}
