//! Content from web servers, with peers and without.
use cardume_content::{Cid, Hash};
use cardume_exchange::{FetchError, FetchRequest, Fetched};
use cardume_testkit::web::{Manner, Web};
use multiaddr::Multiaddr;

use crate::node::{Node, finish, node, node_near, noise};

const MIB: usize = 1 << 20;

fn request(node: &Node, web: &Web, cid: Cid, path: &str, from: &[&Multiaddr]) -> FetchRequest {
    let mut request = node.request(cid, "got", from);
    request.origins = vec![web.url(path).parse().unwrap()];
    request
}

async fn get(node: &Node, web: &Web, cid: Cid) -> Result<Fetched, FetchError> {
    finish(node.exchange.fetch(request(node, web, cid, "/file", &[]))).await
}

/// A web server with a file of noise.
fn web(len: usize) -> (Web, Cid, Vec<u8>) {
    let web = Web::start().unwrap();
    let bytes = noise(7, len);
    web.put("/file", bytes.clone());
    (web, Cid::blob(Hash::of(&bytes)), bytes)
}

#[tokio::test]
async fn a_file_that_no_peer_has_comes_from_its_origin_and_is_served_on() {
    let (web, cid, bytes) = web(20 * MIB + 12_345);
    let near = node_near(&web).await;
    let fetched = get(&near, &web, cid).await.unwrap();
    assert_eq!(
        (fetched.origin, fetched.fetched),
        (bytes.len() as u64, bytes.len() as u64)
    );
    assert_eq!(std::fs::read(near.path("got")).unwrap(), bytes);
    assert!(web.sent() <= bytes.len() as u64 + MIB as u64, "{}", web.sent());
    let far = node().await;
    far.get(cid, "got", &[&near.address]).await.unwrap();
    assert_eq!(std::fs::read(far.path("got")).unwrap(), bytes);
}

#[tokio::test]
async fn sizes_at_the_edges_come_whole() {
    for len in [0, MIB, MIB + 1] {
        let (web, cid, bytes) = web(len);
        let near = node_near(&web).await;
        get(&near, &web, cid).await.unwrap();
        assert_eq!(std::fs::read(near.path("got")).unwrap(), bytes, "{len}");
    }
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_beginning() {
    let (web, cid, bytes) = web(5 * MIB + 1);
    web.behave(Manner::NoRanges);
    let near = node_near(&web).await;
    get(&near, &web, cid).await.unwrap();
    assert_eq!(std::fs::read(near.path("got")).unwrap(), bytes);
}

#[tokio::test]
async fn a_server_that_breaks_off_again_and_again_is_read_to_the_end() {
    let (web, cid, bytes) = web(6 * MIB);
    web.behave(Manner::Breaks(2 * MIB + 1));
    let near = node_near(&web).await;
    get(&near, &web, cid).await.unwrap();
    assert_eq!(std::fs::read(near.path("got")).unwrap(), bytes);
}

#[tokio::test]
async fn an_origin_that_lies_is_given_up_and_nothing_of_it_is_kept() {
    let (web, cid, bytes) = web(3 * MIB);
    web.behave(Manner::Lies);
    let near = node_near(&web).await;
    let error = get(&near, &web, cid).await.unwrap_err();
    assert!(
        matches!(error, FetchError::Origin { is_wrong: true, .. }),
        "{error}"
    );
    assert!(!near.path("got").exists());
    // The same destination, from a peer that has it.
    let giver = node().await;
    assert_eq!(giver.share("file", &bytes), cid);
    near.get(cid, "got", &[&giver.address]).await.unwrap();
    assert_eq!(std::fs::read(near.path("got")).unwrap(), bytes);
}

#[tokio::test]
async fn what_is_wrong_with_an_origin_is_told() {
    let (web, cid, _) = web(10);
    let near = node_near(&web).await;
    let missing = request(&near, &web, cid, "/other", &[]);
    let error = finish(near.exchange.fetch(missing)).await.unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}

#[tokio::test]
async fn a_fetch_goes_on_with_peers_when_its_origin_stands_still() {
    let (web, cid, bytes) = web(4 * MIB);
    web.behave(Manner::Stalls(MIB));
    let (near, giver) = (node_near(&web).await, node().await);
    let fetch = near.exchange.fetch(request(&near, &web, cid, "/file", &[]));
    let mut progress = fetch.progress();
    progress.wait_for(|now| now.fetched > 0).await.unwrap();
    giver.share("file", &bytes);
    giver.meet(&near.address).await;
    finish(fetch).await.unwrap();
    assert_eq!(std::fs::read(near.path("got")).unwrap(), bytes);
}

#[tokio::test]
async fn files_of_a_directory_come_from_below_its_origin() {
    let web = Web::start().unwrap();
    let (giver, near) = (node().await, node_near(&web).await);
    let large = noise(1, 3 * MIB);
    std::fs::create_dir_all(giver.path("tree/a b")).unwrap();
    std::fs::write(giver.path("tree/a b/large"), &large).unwrap();
    std::fs::write(giver.path("tree/small"), b"small").unwrap();
    let cid = giver.share_path(&giver.path("tree"));
    // The peer has the description of the directory, and nothing else any more.
    std::fs::remove_file(giver.path("tree/a b/large")).unwrap();
    std::fs::remove_file(giver.path("tree/small")).unwrap();
    web.put("/pub/a%20b/large", large.clone());
    web.put("/pub/small", &b"small"[..]);
    let fetch = request(&near, &web, cid, "/pub", &[&giver.address]);
    finish(near.exchange.fetch(fetch)).await.unwrap();
    assert_eq!(std::fs::read(near.path("got/a b/large")).unwrap(), large);
    assert_eq!(std::fs::read(near.path("got/small")).unwrap(), b"small");
}

/// Nodes near a web server, all of which know each other.
async fn crowd(web: &Web, count: usize) -> Vec<Node> {
    let nodes = futures::future::join_all((0..count).map(|_| node_near(web))).await;
    for (number, node) in nodes.iter().enumerate() {
        for other in nodes.iter().skip(number + 1) {
            node.meet(&other.address).await;
        }
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_reads_about_one_copy_from_the_origin() {
    let (web, cid, bytes) = web(24 * MIB);
    web.behave(Manner::Slow(8 * MIB as u64));
    let nodes = crowd(&web, 4).await;
    let fetches = nodes.iter().map(|node| get(node, &web, cid));
    for (fetched, node) in futures::future::join_all(fetches).await.into_iter().zip(&nodes) {
        fetched.unwrap();
        assert_eq!(std::fs::read(node.path("got")).unwrap(), bytes);
    }
    let copies = web.sent() as f64 / bytes.len() as f64;
    assert!(copies <= 1.25, "the origin sent {copies} copies");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_takes_over_from_a_node_that_goes_away() {
    let (web, cid, bytes) = web(8 * MIB);
    web.behave(Manner::Slow(MIB as u64));
    let nodes = crowd(&web, 3).await;
    let begin = |node: Node| {
        let fetch = node.exchange.fetch(request(&node, &web, cid, "/file", &[]));
        (node, fetch)
    };
    let mut begun: Vec<_> = nodes.into_iter().map(begin).collect();
    let reading = begun.iter().zip(0..).map(|((_, fetch), number)| {
        let mut progress = fetch.progress();
        Box::pin(async move {
            progress.wait_for(|now| now.origin > 0).await.unwrap();
            number
        })
    });
    let (reader, ..) = futures::future::select_all(reading).await;
    web.behave(Manner::Honest);
    let (node, fetch) = begun.remove(reader);
    node.stop().await;
    drop(fetch);
    for (node, fetch) in begun {
        finish(fetch).await.unwrap();
        assert_eq!(std::fs::read(node.path("got")).unwrap(), bytes);
    }
}
