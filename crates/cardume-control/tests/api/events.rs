//! What happens, as it happens.
use cardume_api::{Event, NewShare, State};
use tokio::{io::AsyncWriteExt, net::UnixStream};

use crate::daemon::{Answer, Daemon, within};

async fn share(daemon: &Daemon, name: &str) {
    let share = NewShare {
        path: daemon.file(name, name.as_bytes()),
        mode: None,
        name: None,
        allow: None,
    };
    let begun = daemon.client.share(&share).await.unwrap();
    within(daemon.client.wait(&begun, |_| ())).await.unwrap();
}

#[tokio::test]
async fn a_reader_that_comes_back_misses_nothing() {
    let daemon = Daemon::start().await;
    let mut events = daemon.client.events(None).await.unwrap();
    share(&daemon, "one").await;
    let first = within(events.next()).await.unwrap().unwrap();
    assert!(
        matches!(&first.event, Event::Operation(one) if one.state == State::Running),
        "{first:?}"
    );
    let second = within(events.next()).await.unwrap().unwrap();
    drop(events);
    let mut again = daemon.client.events(Some(first.id)).await.unwrap();
    assert_eq!(within(again.next()).await.unwrap().unwrap(), second);
    daemon.stop().await;
}

#[tokio::test]
async fn events_of_an_earlier_run_are_told_as_lost() {
    let daemon = Daemon::start().await;
    let mut events = daemon.client.events(Some("1-7".into())).await.unwrap();
    let lost = within(events.next()).await.unwrap().unwrap();
    assert_eq!(lost.event, Event::Lost { count: None });
    daemon.stop().await;
}

#[tokio::test]
async fn a_reader_does_not_hold_the_node_open() {
    let daemon = Daemon::start().await;
    let mut stream = UnixStream::connect(&daemon.socket).await.unwrap();
    stream
        .write_all(b"GET /v1/events HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    // The head says that the reader is in.
    stream.readable().await.unwrap();
    daemon.stop().await;
    let answer = Answer::read(stream).await;
    assert_eq!(
        (answer.status, answer.field("content-type")),
        (200, Some("text/event-stream"))
    );
}
