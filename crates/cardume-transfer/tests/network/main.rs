//! Nodes in one process ask each other over memory transports.
mod node;

use bytes::Bytes;
use cardume_transfer::{Config, Request, Response};

use self::node::{get, pair, within};

#[tokio::test]
async fn fetches_slices() {
    let (a, b) = pair(Config::default(), Config::default()).await;
    let peer = b.peer();
    let handle = a.run();
    b.serve(|request| {
        assert!(matches!(request, Request::Get { .. }));
        Response::Slices {
            size: 7,
            slices: vec![Bytes::from_static(b"slice")],
        }
    });
    let answer = within(handle.request(peer, get(7))).await.unwrap();
    assert_eq!(
        answer,
        Response::Slices {
            size: 7,
            slices: vec![Bytes::from_static(b"slice")]
        }
    );
}
