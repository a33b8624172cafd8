//! Content in and out.
use std::convert::Infallible;

use bytes::Bytes;
use cardume_api::{
    ClientError, Code, Entry, EntryKind, Held, NewManifest, NewRoot,
    client::{ByteRange, Place},
};
use cardume_content::{Cid, Hash};
use cardume_store::Mode;

use crate::daemon::Daemon;

fn held(daemon: &Daemon, bytes: &[u8]) -> Cid {
    let path = daemon.file("held", bytes);
    daemon.store.import(&path, Mode::Copy, &()).unwrap().cid
}

fn code(error: &ClientError) -> Option<Code> {
    error.code()
}

#[tokio::test]
async fn ranges_are_answered_as_the_rfc_says() {
    let daemon = Daemon::start().await;
    let cid = held(&daemon, b"0123456789");
    let table = [
        (None, 200, "0123456789", None),
        (Some("bytes=0-"), 206, "0123456789", Some("bytes 0-9/10")),
        (Some("bytes=2-4"), 206, "234", Some("bytes 2-4/10")),
        (Some("bytes=8-100"), 206, "89", Some("bytes 8-9/10")),
        (Some("bytes=-3"), 206, "789", Some("bytes 7-9/10")),
        (Some("bytes=-100"), 206, "0123456789", Some("bytes 0-9/10")),
        (Some("bytes=10-"), 416, "", Some("bytes */10")),
        (Some("bytes=-0"), 416, "", Some("bytes */10")),
        (Some("bytes=5-2"), 200, "0123456789", None),
        (Some("bytes=0-1,3-4"), 200, "0123456789", None),
        (Some("pieces=0-1"), 200, "0123456789", None),
    ];
    for (range, status, body, sent) in table {
        let field = range
            .map(|range| format!("range: {range}\r\n"))
            .unwrap_or_default();
        let answer = daemon.request("GET", &format!("/v1/content/{cid}"), &field).await;
        assert_eq!(answer.status, status, "{range:?}");
        assert_eq!(answer.field("content-range"), sent, "{range:?}");
        if status == 416 {
            assert_eq!(answer.problem().code, Code::Usage);
            continue;
        }
        assert_eq!(String::from_utf8_lossy(&answer.body), body, "{range:?}");
        assert_eq!(
            answer.field("content-length"),
            Some(body.len().to_string().as_str())
        );
        assert_eq!(answer.field("etag"), Some(format!("\"{cid}\"").as_str()));
        assert_eq!(answer.field("accept-ranges"), Some("bytes"));
    }
    daemon.stop().await;
}

#[tokio::test]
async fn an_empty_file_is_served_whole() {
    let daemon = Daemon::start().await;
    let cid = held(&daemon, b"");
    for field in ["", "range: bytes=-5\r\n"] {
        let answer = daemon.request("GET", &format!("/v1/content/{cid}"), field).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{field:?}");
    }
    let answer = daemon
        .request("GET", &format!("/v1/content/{cid}"), "range: bytes=0-\r\n")
        .await;
    assert_eq!(
        (answer.status, answer.field("content-range")),
        (416, Some("bytes */0"))
    );
    daemon.stop().await;
}

#[tokio::test]
async fn what_the_caller_has_is_not_sent_again() {
    let daemon = Daemon::start().await;
    let cid = held(&daemon, b"0123456789");
    let target = format!("/v1/content/{cid}");
    let answer = daemon
        .request("GET", &target, &format!("if-none-match: \"{cid}\"\r\n"))
        .await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    let answer = daemon.request("HEAD", &target, "range: bytes=2-3\r\n").await;
    assert_eq!(
        (answer.status, answer.body.len(), answer.field("content-length")),
        (206, 0, Some("2"))
    );
    let fields = "range: bytes=2-3\r\nif-range: \"another\"\r\n";
    assert_eq!(daemon.request("GET", &target, fields).await.status, 200);
    daemon.stop().await;
}

#[tokio::test]
async fn many_pieces_arrive_in_order() {
    let daemon = Daemon::start().await;
    let bytes: Vec<u8> = (0..5_000_003_u32).map(|n| (n * 31 / 7) as u8).collect();
    let place = Place::from(held(&daemon, &bytes));
    let mut body = daemon
        .client
        .content(&place, Some(ByteRange::From(1_000_001)))
        .await
        .unwrap();
    assert_eq!(body.len(), Some(4_000_002));
    let mut got = Vec::new();
    while let Some(chunk) = body.chunk().await.unwrap() {
        got.extend_from_slice(&chunk);
    }
    assert!(got == bytes[1_000_001..]);
    daemon.stop().await;
}

async fn upload(daemon: &Daemon, bytes: &[u8]) -> Cid {
    let pieces: Vec<Result<_, Infallible>> = bytes
        .chunks(7)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let uploaded = daemon.client.upload(futures::stream::iter(pieces)).await.unwrap();
    assert_eq!(
        (uploaded.cid, uploaded.size),
        (Cid::blob(Hash::of(bytes)), bytes.len() as u64)
    );
    uploaded.cid
}

fn file(name: &str, cid: Cid) -> Entry {
    Entry {
        name: name.into(),
        kind: EntryKind::File,
        cid: Some(cid),
        size: 0,
        files: None,
        executable: false,
        target: None,
    }
}

#[tokio::test]
async fn a_caller_without_paths_uploads_a_directory_and_shares_it() {
    let daemon = Daemon::start().await;
    let (a, b) = (upload(&daemon, b"first").await, upload(&daemon, b"second!").await);
    let manifest = |entries| NewManifest { entries };
    let sub = daemon
        .client
        .upload_manifest(&manifest(vec![file("b", b)]))
        .await
        .unwrap();
    let entries = vec![
        Entry {
            kind: EntryKind::Dir,
            ..file("sub", sub.cid)
        },
        file("a", a),
    ];
    let top = daemon.client.upload_manifest(&manifest(entries)).await.unwrap();
    assert_eq!((top.size, top.files), (12, 2));
    let root = NewRoot {
        cid: top.cid,
        name: "both".into(),
        allow: None,
    };
    let shared = daemon.client.add_root(&root).await.unwrap();
    assert_eq!((shared.size, shared.files, shared.name.as_str()), (12, 2, "both"));
    assert!(
        shared
            .link
            .starts_with(&format!("cardume:{}?n=both&s=12", top.cid)),
        "{}",
        shared.link
    );

    let entries = daemon.client.list(&top.cid.into()).await.unwrap();
    assert_eq!(
        entries
            .iter()
            .map(|entry| entry.name.as_str())
            .collect::<Vec<_>>(),
        ["a", "sub"]
    );
    let below = Place {
        path: vec!["sub".into(), "b".into()],
        ..top.cid.into()
    };
    let stat = daemon.client.stat(&below).await.unwrap();
    assert_eq!(
        (stat.cid, stat.size, stat.held, stat.name.as_deref()),
        (b, 7, Held::Complete, Some("b"))
    );
    let mut body = daemon.client.content(&below, None).await.unwrap();
    assert_eq!(body.chunk().await.unwrap().unwrap(), "second!");
    let error = daemon.client.content(&top.cid.into(), None).await.unwrap_err();
    assert_eq!(code(&error), Some(Code::Usage));
    let error = daemon.client.list(&a.into()).await.unwrap_err();
    assert_eq!(code(&error), Some(Code::Usage));
    daemon.stop().await;
}

#[tokio::test]
async fn a_directory_of_what_is_not_there_is_refused() {
    let daemon = Daemon::start().await;
    let missing = Cid::blob(Hash::of(b"missing"));
    let make = async |entry| {
        daemon
            .client
            .upload_manifest(&NewManifest { entries: vec![entry] })
            .await
    };
    let error = make(file("a", missing)).await.unwrap_err();
    assert_eq!(code(&error), Some(Code::NotFound));
    let held = upload(&daemon, b"held").await;
    for name in ["..", "a/b", "", "a\0"] {
        let error = make(file(name, held)).await.unwrap_err();
        assert_eq!(code(&error), Some(Code::Usage), "{name:?}");
    }
    let error = make(Entry {
        kind: EntryKind::Dir,
        ..file("a", held)
    })
    .await
    .unwrap_err();
    assert_eq!(code(&error), Some(Code::Usage));
    let root = NewRoot {
        cid: missing,
        name: "missing".into(),
        allow: None,
    };
    let error = daemon.client.add_root(&root).await.unwrap_err();
    assert_eq!(code(&error), Some(Code::NotFound));
    daemon.stop().await;
}

#[tokio::test]
async fn a_pinned_root_is_unpinned_before_it_goes() {
    let daemon = Daemon::start().await;
    let cid = upload(&daemon, b"kept").await;
    daemon
        .client
        .add_root(&NewRoot {
            cid,
            name: "kept".into(),
            allow: None,
        })
        .await
        .unwrap();
    daemon.client.pin(cid, true).await.unwrap();
    assert!(daemon.client.files().await.unwrap()[0].pinned);
    let error = daemon.client.remove(cid).await.unwrap_err();
    assert_eq!(error.exit_status(), 8);
    daemon.client.pin(cid, false).await.unwrap();
    daemon.client.remove(cid).await.unwrap();
    assert_eq!(daemon.client.files().await.unwrap(), []);
    assert_eq!(daemon.client.remove(cid).await.unwrap_err().exit_status(), 4);
    daemon.stop().await;
}
