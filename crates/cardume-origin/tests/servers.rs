//! The client against real HTTPS servers on this host, good and bad.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cardume_origin::{Address, Body, Config, Handle, Named, OriginError};
use cardume_testkit::web::{Manner, Web};
use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const GUARD: Duration = Duration::from_secs(20);

fn config(web: &Web) -> Config {
    Config {
        ca_file: Some(web.authority().to_owned()),
        stall_timeout: cardume_units::Duration::from_millis(300),
        ..Config::default()
    }
}

struct Client {
    handle: Handle,
    server: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn client(config: &Config) -> Client {
    let pace = Arc::new(|_| async {}.boxed());
    let (handle, server) = config.build("cardume/test".into(), pace).unwrap();
    Client {
        handle,
        server: tokio::spawn(server.run(CancellationToken::new())),
    }
}

impl Client {
    async fn read(&self, url: &str, range: std::ops::Range<u64>) -> Result<Body, OriginError> {
        let address: Address = url.parse().unwrap();
        let read = self.handle.read(address, range, Named::ByUser);
        tokio::time::timeout(GUARD, read).await.expect("an answer")
    }
}

async fn all(mut body: Body) -> Result<Vec<u8>, OriginError> {
    let mut bytes = Vec::new();
    while let Some(more) = tokio::time::timeout(GUARD, body.next()).await.expect("more")? {
        bytes.extend_from_slice(&more);
    }
    Ok(bytes)
}

fn content(len: usize) -> Bytes {
    (0..len).map(|at| (at * 7 / 3) as u8).collect::<Vec<u8>>().into()
}

#[tokio::test]
async fn a_range_comes_with_the_size_of_the_file() {
    let web = Web::start().unwrap();
    let bytes = content(3_000_000);
    web.put("/a b", bytes.clone());
    let client = client(&config(&web));
    for _ in 0..3 {
        // The server of this test decodes nothing.
        web.put("/a%20b", bytes.clone());
        let body = client.read(&web.url("/a%20b"), 1_000..2_000_000).await.unwrap();
        assert_eq!(
            (body.total(), body.start(), body.is_ranged()),
            (Some(3_000_000), 1_000, true)
        );
        assert_eq!(all(body).await.unwrap(), bytes[1_000..2_000_000]);
    }
    let end = client
        .read(&web.url("/a%20b"), 2_999_999..4_000_000)
        .await
        .unwrap();
    assert_eq!(all(end).await.unwrap(), bytes[2_999_999..]);
}

#[tokio::test]
async fn a_server_without_ranges_gives_everything() {
    let web = Web::start().unwrap();
    web.put("/x", content(100_000));
    web.behave(Manner::NoRanges);
    let client = client(&config(&web));
    let body = client.read(&web.url("/x"), 50..60).await.unwrap();
    assert_eq!(
        (body.total(), body.start(), body.is_ranged()),
        (Some(100_000), 0, false)
    );
    assert_eq!(all(body).await.unwrap(), content(100_000));
}

#[tokio::test]
async fn an_empty_file_is_empty() {
    let web = Web::start().unwrap();
    web.put("/x", Bytes::new());
    let client = client(&config(&web));
    let body = client.read(&web.url("/x"), 0..60).await.unwrap();
    assert_eq!(body.total(), Some(0));
    assert!(all(body).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_goes_wrong_is_named() {
    let web = Web::start().unwrap();
    web.put("/x", content(1_000_000));
    let client = client(&config(&web));
    let missing = client.read(&web.url("/y"), 0..10).await.unwrap_err();
    assert!(
        matches!(missing, OriginError::NotFound { status: 404, .. }),
        "{missing}"
    );
    web.behave(Manner::Refuses(403, "", 1));
    let denied = client.read(&web.url("/x"), 0..10).await.unwrap_err();
    assert!(matches!(denied, OriginError::Denied { .. }), "{denied}");
    web.behave(Manner::Refuses(200, "Content-Encoding: gzip\r\n", 1));
    let encoded = client.read(&web.url("/x"), 0..10).await.unwrap_err();
    assert!(encoded.to_string().contains("gzip"), "{encoded}");
    web.behave(Manner::Stalls(128 * 1024));
    let stalled = all(client.read(&web.url("/x"), 0..1_000_000).await.unwrap())
        .await
        .unwrap_err();
    assert!(matches!(stalled, OriginError::Stalled { .. }), "{stalled}");
    web.behave(Manner::Breaks(128 * 1024));
    let broken = all(client.read(&web.url("/x"), 0..1_000_000).await.unwrap())
        .await
        .unwrap_err();
    assert!(matches!(broken, OriginError::Broken { .. }), "{broken}");
    let url = web.url("/x");
    drop(web);
    let down = client.read(&url, 0..10).await.unwrap_err();
    assert!(down.is_passing(), "{down}");
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let web = Web::start().unwrap();
    web.put("/x", content(10));
    let client = client(&Config::default());
    let refused = client.read(&web.url("/x"), 0..10).await.unwrap_err();
    assert!(matches!(refused, OriginError::Certificate { .. }), "{refused}");
    assert!(refused.to_string().contains("origin.ca_file"));
    assert_eq!(web.requests(), 0);
}

#[tokio::test]
async fn redirects_are_followed_within_bounds_and_to_https_only() {
    let web = Web::start().unwrap();
    web.put("/x", content(10));
    let client = client(&config(&web));
    web.behave(Manner::Refuses(302, "Location: /x\r\n", 2));
    let body = client.read(&web.url("/x"), 0..10).await.unwrap();
    assert_eq!(all(body).await.unwrap(), content(10));
    web.behave(Manner::Refuses(302, "Location: /x\r\n", 100));
    let circle = client.read(&web.url("/x"), 0..10).await.unwrap_err();
    assert!(matches!(circle, OriginError::Redirect { .. }), "{circle}");
    web.behave(Manner::Refuses(302, "Location: http://127.0.0.1/x\r\n", 1));
    let plain = client.read(&web.url("/x"), 0..10).await.unwrap_err();
    assert!(plain.to_string().contains("not HTTPS"), "{plain}");
    web.behave(Manner::Refuses(
        302,
        "Location: https://169.254.169.254/latest\r\n",
        1,
    ));
    let metadata = client.read(&web.url("/x"), 0..10).await.unwrap_err();
    assert!(matches!(metadata, OriginError::Refused { .. }), "{metadata}");
}

#[tokio::test]
async fn a_host_that_asks_for_patience_has_it() {
    let web = Web::start().unwrap();
    web.put("/x", content(10));
    let client = client(&config(&web));
    web.behave(Manner::Refuses(429, "Retry-After: 600\r\n", 1));
    let busy = client.read(&web.url("/x"), 0..10).await.unwrap_err();
    assert!(matches!(&busy, OriginError::Busy { retry_after, .. } if retry_after.as_secs() == 600));
    let again = client.read(&web.url("/x"), 0..10).await.unwrap_err();
    assert!(matches!(again, OriginError::Busy { .. }));
    assert_eq!(web.requests(), 1, "it was not asked a second time");
}

#[tokio::test]
async fn a_host_has_only_so_many_requests_at_once() {
    let web = Web::start().unwrap();
    web.put("/x", content(600_000));
    web.behave(Manner::Slow(3_000_000));
    let client = client(&config(&web));
    let url = web.url("/x");
    let reads = (0..10).map(|_| async { all(client.read(&url, 0..600_000).await?).await });
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.unwrap().len(), 600_000);
    }
    assert_eq!(web.most_at_once(), 4);
}

#[tokio::test]
async fn a_host_that_a_peer_names_counts_only_when_it_is_allowed() {
    let web = Web::start().unwrap();
    web.put("/x", content(10));
    let address: Address = web.url("/x").parse().unwrap();
    let stranger = client(&config(&web));
    let refused = stranger
        .handle
        .read(address.clone(), 0..10, Named::ByPeer)
        .await
        .unwrap_err();
    assert!(matches!(refused, OriginError::NotAllowed { .. }));
    assert_eq!(web.requests(), 0);
    let allowed = client(&Config {
        allow: vec!["127.0.0.1".into()],
        ..config(&web)
    });
    let body = allowed.handle.read(address, 0..10, Named::ByPeer).await.unwrap();
    assert_eq!(all(body).await.unwrap(), content(10));
}

#[tokio::test]
async fn requests_at_once_are_as_many_as_may_be_to_one_host_and_to_all() {
    let bounds: [fn(&mut Config); 2] = [
        |config| config.max_requests_per_host = 2,
        |config| config.max_requests = 2,
    ];
    for bound in bounds {
        let web = Web::start().unwrap();
        web.put("/x", content(300_000));
        web.behave(Manner::Slow(1_500_000));
        let mut config = config(&web);
        bound(&mut config);
        let (client, url) = (client(&config), web.url("/x"));
        let reads = (0..6).map(|_| async { all(client.read(&url, 0..300_000).await?).await });
        for read in futures::future::join_all(reads).await {
            assert_eq!(read.unwrap().len(), 300_000);
        }
        assert_eq!(web.most_at_once(), 2);
    }
}

#[tokio::test]
async fn a_host_that_says_nothing_is_given_up_when_the_time_to_connect_is_over() {
    // Connections are made, and nobody takes them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/x", silent.local_addr().unwrap());
    let connecting = |connect_timeout: Duration| {
        client(&Config {
            connect_timeout: connect_timeout.into(),
            ..Config::default()
        })
    };
    let (late, soon) = (
        connecting(Duration::from_secs(3600)),
        connecting(Duration::from_millis(200)),
    );
    let error = tokio::select! {
        biased;
        read = late.read(&url, 0..10) => panic!("it has time left: {:?}", read.map(drop)),
        read = soon.read(&url, 0..10) => read.unwrap_err(),
    };
    assert!(error.is_passing(), "{error}");
}
