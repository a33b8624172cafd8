//! Long work.
use cardume_api::{Code, Kind, Mode, NewFetch, NewShare, Operation, Outcome, State};
use cardume_content::{Cid, Hash, Link};

use crate::daemon::{Daemon, within};

fn share(path: std::path::PathBuf) -> NewShare {
    NewShare {
        path,
        mode: None,
        name: None,
        allow: None,
    }
}

async fn ended(daemon: &Daemon, operation: &Operation) -> Operation {
    within(daemon.client.wait(operation, |_| ())).await.unwrap()
}

#[tokio::test]
async fn a_share_ends_in_a_link() {
    let daemon = Daemon::start().await;
    let path = daemon.file("film.mkv", &[7; 300_000]);
    let begun = daemon.client.share(&share(path.clone())).await.unwrap();
    assert_eq!(begun.kind, Kind::Share);
    let mut seen = Vec::new();
    let done = within(daemon.client.wait(&begun, |now| seen.push(now.state)))
        .await
        .unwrap();
    assert_eq!((done.state, seen.last()), (State::Done, Some(&State::Done)));
    let Some(Outcome::Shared(shared)) = done.result else {
        panic!("{done:?}")
    };
    assert_eq!(
        (shared.name.as_str(), shared.size, shared.files),
        ("film.mkv", 300_000, 1)
    );
    let link: Link = shared.link.parse().unwrap();
    assert_eq!(
        (link.cid, link.name.as_deref(), link.size),
        (shared.cid, Some("film.mkv"), Some(300_000))
    );
    assert_eq!(shared.cid, Cid::blob(Hash::of(&[7; 300_000])));
    let files = daemon.client.files().await.unwrap();
    let place = path.canonicalize().unwrap().to_string_lossy().into_owned();
    assert_eq!((files[0].cid, files[0].path.as_ref()), (shared.cid, Some(&place)));
    assert_eq!(
        daemon.client.operation(&begun.id).await.unwrap().state,
        State::Done
    );

    let copy = NewShare {
        mode: Some(Mode::Copy),
        name: Some("other".into()),
        allow: None,
        ..share(daemon.file("b", b"b"))
    };
    let done = ended(&daemon, &daemon.client.share(&copy).await.unwrap()).await;
    let Some(Outcome::Shared(shared)) = done.result else {
        panic!("{done:?}")
    };
    assert_eq!(shared.name, "other");

    let verified = ended(&daemon, &daemon.client.verify(None).await.unwrap()).await;
    let Some(Outcome::Verified(verified)) = verified.result else {
        panic!("{verified:?}")
    };
    assert_eq!((verified.bytes, verified.broken), (300_001, vec![]));
    daemon.stop().await;
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_shared() {
    let daemon = Daemon::start().await;
    let error = daemon
        .client
        .share(&share("/nonexistent/file".into()))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(Code::NotFound));
    let error = daemon.client.share(&share("relative".into())).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Usage));
    daemon.stop().await;
}

/// A file that takes long to hash and no room on the disk.
fn endless(daemon: &Daemon) -> std::path::PathBuf {
    let path = daemon.file("endless", b"");
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    path
}

#[tokio::test]
async fn a_share_that_is_cancelled_ends_soon_and_leaves_nothing() {
    let daemon = Daemon::start().await;
    let begun = daemon.client.share(&share(endless(&daemon))).await.unwrap();
    assert_eq!(daemon.client.status().await.unwrap().operations, 1);
    daemon.client.cancel(&begun.id).await.unwrap();
    let ended = ended(&daemon, &begun).await;
    assert_eq!(ended.state, State::Cancelled);
    assert_eq!(ended.error.unwrap().code, Code::Cancelled);
    daemon.client.cancel(&begun.id).await.unwrap();
    assert_eq!(daemon.client.files().await.unwrap(), []);
    daemon.stop().await;
}

fn fetch(cid: Cid) -> NewFetch {
    NewFetch {
        link: cid.to_string(),
        ..NewFetch::default()
    }
}

#[tokio::test]
async fn a_fetch_is_cancelled_and_listed() {
    let daemon = Daemon::start().await;
    let cid = Cid::blob(Hash::of(b"nobody has this"));
    let begun = daemon.client.fetch(&fetch(cid)).await.unwrap();
    assert_eq!(
        (begun.kind, begun.subject.as_str()),
        (Kind::Fetch, cid.to_string().as_str())
    );
    daemon.client.cancel(&begun.id).await.unwrap();
    assert_eq!(ended(&daemon, &begun).await.state, State::Cancelled);
    let listed = daemon.client.operations().await.unwrap();
    assert_eq!(listed.iter().map(|one| &one.id).collect::<Vec<_>>(), [&begun.id]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_fetch_that_waits_for_the_disk_ends_when_all_is_durable() {
    let daemon = Daemon::start().await;
    let bytes = vec![9; 300_000];
    let body = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(bytes.clone()))]);
    let uploaded = daemon.client.upload(body).await.unwrap();
    let path = daemon.directory.path().join("synced");
    let wanted = NewFetch {
        destination: Some(path.clone()),
        sync: true,
        ..fetch(uploaded.cid)
    };
    let begun = daemon.client.fetch(&wanted).await.unwrap();
    assert_eq!(ended(&daemon, &begun).await.state, State::Done);
    assert_eq!(daemon.store.unsettled(), 0);
    assert_eq!(std::fs::read(path).unwrap(), bytes);
    let names = daemon.client.files().await.unwrap();
    assert_eq!(
        names.first().map(|file| file.cid),
        Some(uploaded.cid),
        "it is on record"
    );
    daemon.stop().await;
}

#[tokio::test]
async fn a_fetch_that_makes_no_sense_is_refused_at_once() {
    let daemon = Daemon::start().await;
    let cid = Cid::blob(Hash::of(b"a"));
    let relative = NewFetch {
        destination: Some("here".into()),
        ..fetch(cid)
    };
    let stray = NewFetch {
        peers: vec!["/ip4/192.0.2.1/tcp/1".parse().unwrap()],
        ..fetch(cid)
    };
    let climbing = NewFetch {
        path: Some("../up".into()),
        ..fetch(cid)
    };
    let nonsense = NewFetch {
        link: "ipfs://what".into(),
        ..fetch(cid)
    };
    for bad in [relative, stray, climbing, nonsense] {
        let error = daemon.client.fetch(&bad).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Usage), "{bad:?}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn the_node_stops_in_the_middle_of_work() {
    let daemon = Daemon::start().await;
    let begun = daemon.client.share(&share(endless(&daemon))).await.unwrap();
    daemon
        .client
        .fetch(&fetch(Cid::blob(Hash::of(b"nobody has this"))))
        .await
        .unwrap();
    assert_eq!(begun.state, State::Running);
    daemon.stop().await;
}
