//! Tunnels between two nodes: real streams, real sockets.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod datagrams;
mod pair;

use std::collections::BTreeMap;

use cardume_access::{Action, Names};
use cardume_tunnel::{CloseError, Config, OpenError, Place, Protocol, State};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use pair::{PATIENCE, ask, echo, pair, until};

#[tokio::test]
async fn bytes_pass_both_ways_and_ends_are_seen() {
    let pair = pair().await;
    pair.there
        .expose("echo", Protocol::Tcp, echo().await, &["here"])
        .await;
    let at = pair.here.forward("echo", Protocol::Tcp).await;
    let text: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (one, other) = tokio::join!(ask(at, &text), ask(at, b"short"));
    assert!(one == text, "{} bytes", one.len());
    assert_eq!(other, b"short");
    for node in [&pair.here, &pair.there] {
        until("both are over", || node.status("echo").connections == 0).await;
        let status = node.status("echo");
        assert_eq!((status.opened, status.failed), (2, 0));
        assert_eq!((status.received, status.sent), (3_000_005, 3_000_005));
    }
}

#[tokio::test]
async fn unix_sockets_are_services_and_places_to_listen_at() {
    let pair = pair().await;
    let directory = tempfile::tempdir().unwrap();
    let [service, door] = ["service", "door"].map(|name| directory.path().join(name));
    let listener = UnixListener::bind(&service).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"from a socket").await.unwrap();
        }
    });
    // One that was left there by somebody who was killed.
    drop(std::os::unix::net::UnixListener::bind(&door).unwrap());
    let config = Config::expose(Protocol::Tcp, Place::Unix(service), vec!["here".into()]);
    pair.there.tunnels.open("s", config).await.unwrap();
    let config = Config::forward(Protocol::Tcp, Place::Unix(door.clone()), "there".into(), None);
    pair.here.tunnels.open("s", config).await.unwrap();
    let mut answer = String::new();
    let mut stream = UnixStream::connect(&door).await.unwrap();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "from a socket");
    pair.here.tunnels.close("s").unwrap();
    until("its file goes with it", || !door.exists()).await;
}

#[tokio::test]
async fn who_may_not_use_a_service_learns_no_more_than_that_there_is_none() {
    let pair = pair().await;
    pair.there
        .expose("secret", Protocol::Tcp, echo().await, &[])
        .await;
    let mut told = Vec::new();
    for name in ["secret", "nothing"] {
        let at = pair.here.forward(name, Protocol::Tcp).await;
        assert_eq!(ask(at, b"hello").await, b"");
        until("it is told", || pair.here.status(name).problem.is_some()).await;
        told.push(pair.here.status(name).problem);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(pair.there.roll.denied(Action::Tunnel), 1);
    assert_eq!(pair.there.status("secret").opened, 0);
    // Of the right name, and of another kind.
    pair.there
        .expose("dns", Protocol::Udp, echo().await, &["here"])
        .await;
    let at = pair.here.forward("dns", Protocol::Tcp).await;
    assert_eq!(ask(at, b"hello").await, b"");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_told_and_costs_nothing() {
    let pair = pair().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    pair.there.expose("dead", Protocol::Tcp, nobody, &["here"]).await;
    let at = pair.here.forward("dead", Protocol::Tcp).await;
    assert_eq!(ask(at, b"hello").await, b"");
    until("both know", || {
        let problems = [&pair.here, &pair.there].map(|node| node.status("dead").problem);
        problems[0].as_deref() == Some("the service does not answer there")
            && problems[1]
                .as_ref()
                .is_some_and(|problem| problem.contains("refused"))
    })
    .await;
}

#[tokio::test]
async fn there_are_as_many_connections_as_each_side_says() {
    let pair = pair().await;
    let config = Config {
        max_connections: 2,
        ..Config::expose(Protocol::Tcp, Place::Socket(echo().await), vec!["here".into()])
    };
    pair.there.tunnels.open("few", config).await.unwrap();
    let at = pair.here.forward("few", Protocol::Tcp).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        held.push(stream);
    }
    assert_eq!(ask(at, b"one more").await, b"");
    let problem = pair.here.status("few").problem.unwrap();
    assert!(problem.contains("as many"), "{problem}");
    drop(held.pop());
    until("there is room", || pair.there.status("few").connections == 1).await;
    assert_eq!(ask(at, b"now").await, b"now");

    let config = Config {
        max_connections: 1,
        service: Some("few".into()),
        ..Config::forward(
            Protocol::Tcp,
            "127.0.0.1:0".parse().unwrap(),
            "there".into(),
            None,
        )
    };
    let status = pair.here.tunnels.open("one", config).await.unwrap();
    let State::Ready(Some(Place::Socket(at))) = status.state else {
        panic!("{status:?}")
    };
    let mut first = TcpStream::connect(at).await.unwrap();
    first.write_all(b"x").await.unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'x');
    // The second waits for the first, and is served then.
    let second = tokio::spawn(async move { ask(at, b"patience").await });
    until("the second waits", || pair.here.status("one").connections == 1).await;
    drop(first);
    assert_eq!(second.await.unwrap(), b"patience");
}

#[tokio::test]
async fn what_configuration_takes_away_ends_and_the_rest_goes_on() {
    let pair = pair().await;
    let service = Config::expose(Protocol::Tcp, Place::Socket(echo().await), vec!["here".into()]);
    let table = |names: &[&str]| -> BTreeMap<String, Config> {
        names
            .iter()
            .map(|name| ((*name).to_owned(), service.clone()))
            .collect()
    };
    pair.there.tunnels.configure(&table(&["kept", "gone"]));
    let mut streams = Vec::new();
    for name in ["kept", "gone"] {
        let at = pair.here.forward(name, Protocol::Tcp).await;
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        streams.push(stream);
    }
    let [kept, gone] = &mut streams[..] else {
        unreachable!()
    };
    pair.there.tunnels.configure(&table(&["kept"]));
    let ended = tokio::time::timeout(PATIENCE, gone.read_u8()).await.unwrap();
    assert!(ended.is_err(), "it is cut");
    kept.write_all(b"y").await.unwrap();
    assert_eq!(kept.read_u8().await.unwrap(), b'y');

    // The name means nobody now; configuration that is as before is looked at anew.
    pair.there.roll.rename(Names::default());
    pair.there.tunnels.configure(&table(&["kept"]));
    let ended = tokio::time::timeout(PATIENCE, kept.read_u8()).await.unwrap();
    assert!(ended.is_err(), "it is cut");
}

#[tokio::test]
async fn tunnels_are_opened_and_closed_while_it_runs() {
    let pair = pair().await;
    let here = &pair.here.tunnels;
    let listen: Place = "127.0.0.1:0".parse().unwrap();
    let forward = |listen: &Place| Config::forward(Protocol::Tcp, listen.clone(), "there".into(), None);
    here.configure(&[("written".to_owned(), forward(&listen))].into());
    here.open("asked", forward(&listen)).await.unwrap();
    assert!(matches!(
        here.open("asked", forward(&listen)).await,
        Err(OpenError::Taken(_))
    ));
    assert!(matches!(
        here.open("a b", forward(&listen)).await,
        Err(OpenError::Mistake(_))
    ));
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let busy = Place::Socket(taken.local_addr().unwrap());
    let refused = here.open("busy", forward(&busy)).await;
    assert!(matches!(refused, Err(OpenError::Listen(_))), "{refused:?}");
    let names = || -> Vec<String> { here.list().into_iter().map(|status| status.name).collect() };
    assert_eq!(names(), ["asked", "written"]);
    assert!(matches!(here.close("written"), Err(CloseError::Configured(_))));
    assert!(matches!(here.close("nothing"), Err(CloseError::Unknown(_))));
    here.configure(&BTreeMap::new());
    assert_eq!(names(), ["asked"], "what was asked for stays until it is closed");
    let State::Ready(Some(Place::Socket(at))) = pair.here.status("asked").state else {
        panic!("it listens")
    };
    here.close("asked").unwrap();
    until("nobody listens any more", || {
        std::net::TcpStream::connect(at).is_err()
    })
    .await;
}

#[tokio::test]
async fn what_cannot_listen_tries_again_by_itself() {
    let pair = pair().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = taken.local_addr().unwrap();
    let config = Config::forward(Protocol::Tcp, Place::Socket(at), "there".into(), None);
    pair.here.tunnels.configure(&[("late".to_owned(), config)].into());
    until(
        "it says why",
        || matches!(pair.here.status("late").state, State::Failed(reason) if reason.contains("in use")),
    )
    .await;
    drop(taken);
    until("it listens", || {
        pair.here.status("late").state == State::Ready(Some(Place::Socket(at)))
    })
    .await;
}
