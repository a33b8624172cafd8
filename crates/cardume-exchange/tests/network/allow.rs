//! Who is given what, and what the others are told.
use std::{
    fs,
    time::{Duration, SystemTime},
};

use cardume_access::Action;
use cardume_content::{Cid, Hash, manifest};
use cardume_store::{Mode, Root};
use cardume_transfer::{Request, Response, message::Item};

use crate::node::{Node, node, noise};

impl Node {
    /// Shares a file or a directory with those whom the words mean.
    fn share_with(&self, name: &str, allow: Option<&[String]>) -> Cid {
        let store = match allow {
            Some(_) => self.store.guarding(),
            None => self.store.clone(),
        };
        let imported = store.import(&self.path(name), Mode::InPlace, &()).unwrap();
        let root = Root {
            cid: imported.cid,
            name: name.into(),
            size: imported.size,
            files: imported.files,
            path: None,
            pinned: true,
            announce: false,
            allow: allow.map(<[String]>::to_vec),
            added: 1,
        };
        store.add_root(root).unwrap();
        imported.cid
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    async fn asks(&self, other: &Node, request: Request) -> Response {
        self.transfer.request(other.peer, request).await.unwrap()
    }
}

/// Every kind of request for one blob.
fn requests(cid: Cid) -> Vec<Request> {
    vec![
        Request::Have { cid, since: None },
        Request::Have { cid, since: Some(1) },
        Request::Get {
            cid,
            ranges: std::iter::once(0..10).collect(),
        },
        Request::GetMany { cids: vec![cid] },
        Request::Swarm { cid },
    ]
}

/// Whether an answer has content, or tells of it.
fn gives(response: &Response) -> bool {
    match response {
        Response::Have { .. } | Response::Slices { .. } => true,
        Response::Many { items } => matches!(items.as_slice(), [Item::Blob { .. }]),
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_on_the_list_is_told_what_is_said_of_content_that_is_not_here() {
    let (a, friend, stranger, other) = (node().await, node().await, node().await, node().await);
    for asker in [&friend, &stranger, &other] {
        asker.meet(&a.address).await;
    }
    a.write("films/one", &noise(1, 20));
    a.write("films/deep/two", &noise(2, 100_000));
    let root = a.share_with("films", Some(&[friend.peer.to_string()]));
    let deep = a
        .store
        .manifest(root)
        .unwrap()
        .entries()
        .iter()
        .find_map(|entry| match entry.node {
            manifest::Node::Directory { cid, .. } => Some(cid),
            _ => None,
        });
    let files = [noise(1, 20), noise(2, 100_000)].map(|bytes| Cid::blob(Hash::of(&bytes)));
    for cid in [root, deep.unwrap(), files[0], files[1]] {
        let nothing = Cid::new(cid.kind(), Hash::of(cid.hash().as_bytes()));
        // Two who may not: each is told of the other what it would be if neither had asked for anything that is here.
        for asker in [&stranger, &other] {
            for (request, of_nothing) in requests(cid).into_iter().zip(requests(nothing)) {
                let answer = asker.asks(&a, request.clone()).await;
                assert!(!gives(&answer), "{request:?}: {answer:?}");
                assert_eq!(answer, asker.asks(&a, of_nothing).await, "{request:?}");
            }
        }
        for request in requests(cid) {
            let answer = friend.asks(&a, request.clone()).await;
            match request {
                Request::Swarm { .. } => assert_eq!(answer, Response::Swarm { peers: vec![] }),
                _ => assert!(gives(&answer), "{request:?}: {answer:?}"),
            }
        }
    }
    // Between others: what may be had is given, and the rest is not there.
    a.write("open", &noise(3, 30));
    let open = a.share_with("open", None);
    let cids = vec![open, files[0], open];
    let answer = stranger.asks(&a, Request::GetMany { cids }).await;
    let Response::Many { items } = answer else {
        panic!("{answer:?}")
    };
    assert!(matches!(
        items.as_slice(),
        [Item::Blob { .. }, Item::NotFound, Item::Blob { .. }]
    ));
    assert_eq!(a.roll.denied(Action::Fetch), 2 * 4 * 5 + 1);

    friend.get(root, "films", &[&a.address]).await.unwrap();
    assert_eq!(
        fs::read(friend.path("films/deep/two")).unwrap(),
        noise(2, 100_000)
    );
    let refused = stranger.get(root, "films", &[&a.address]).await;
    assert!(
        matches!(
            refused,
            Err(cardume_exchange::FetchError::NotFound { .. } | cardume_exchange::FetchError::Gone { .. })
        ),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_share_without_a_list_has_too_is_everybodys_and_so_no_more_when_that_goes() {
    let (a, stranger) = (node().await, node().await);
    stranger.meet(&a.address).await;
    let bytes = noise(4, 50_000);
    a.write("films/one", &bytes);
    a.write("open/again", &bytes);
    a.share_with("films", Some(&[]));
    let have = || Request::Have {
        cid: Cid::blob(Hash::of(&bytes)),
        since: None,
    };
    assert_eq!(stranger.asks(&a, have()).await, Response::NotFound);
    let open = a.share_with("open", None);
    assert!(gives(&stranger.asks(&a, have()).await));
    a.store.remove_root(open).unwrap();
    assert_eq!(stranger.asks(&a, have()).await, Response::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_opens_what_its_group_may_have_for_as_long_as_it_holds() {
    let (a, member) = (node().await, node().await);
    member.meet(&a.address).await;
    a.write("paper", &noise(5, 100));
    let cid = a.share_with("paper", Some(&["group:press".into()]));
    let have = || Request::Have { cid, since: None };
    assert_eq!(member.asks(&a, have()).await, Response::NotFound);
    let until = SystemTime::now() + Duration::from_secs(3_600);
    a.roll.certify(member.peer, ["press".into()], until);
    assert!(gives(&member.asks(&a, have()).await));
    a.roll
        .certify(member.peer, ["press".into()], SystemTime::UNIX_EPOCH);
    assert_eq!(member.asks(&a, have()).await, Response::NotFound);
    a.roll.certify(member.peer, ["press".into()], until);
    a.roll.forget(&member.peer);
    assert_eq!(member.asks(&a, have()).await, Response::NotFound);
}
