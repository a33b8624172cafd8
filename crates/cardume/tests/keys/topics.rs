//! `[topic.*]`: what is said and heard, and how messages are handed on.

use std::{fs, io::Write as _, process::Stdio};

use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    files::random_file,
    patience,
    web::Web,
};

use crate::{bootstrap, documents, home};

/// An author, and a reader that keeps what it hears in its history.
fn pair(author: Home, reader: Home) -> [Daemon; 2] {
    let author = author.start().unwrap();
    let reader = reader
        .set(bootstrap(&author))
        .set("topic.t.history=100")
        .start()
        .unwrap();
    [author, reader]
}

fn publish(author: &Daemon, more: &[&str]) {
    let all = [&["topic", "pub", "t", "--wait", "1m"], more].concat();
    let said = author.run(all).unwrap();
    assert_eq!(status(&said), 0, "{}", error(&said));
}

/// A count of the topic.
fn count(daemon: &Daemon, pointer: &str) -> Option<u64> {
    let topics = documents(daemon, &["topic", "ls"]);
    let topic = topics.iter().find(|topic| topic["topic"] == "t")?;
    topic.pointer(pointer)?.as_u64()
}

#[test]
fn what_is_larger_than_a_message_of_its_topic_travels_as_content() {
    let [author, reader] = pair(home().set("topic.t.max_message=\"1KiB\""), home());
    random_file(&author.path().join("two"), 2_000, 7).unwrap();
    publish(&author, &["--file", "two"]);
    publish(&author, &["small"]);
    let reading = ["topic", "sub", "t", "--history", "9", "--count", "2"];
    let heard = documents(&reader, &reading);
    let of = |is_small: bool| {
        heard
            .iter()
            .find(|message| (message["text"] == "small") == is_small)
    };
    assert!(of(false).unwrap()["cid"].is_string(), "{heard:?}");
    assert!(of(true).unwrap()["cid"].is_null(), "{heard:?}");
}

#[test]
fn content_that_is_larger_than_its_topic_takes_is_not_taken() {
    let [author, reader] = pair(home(), home().set("topic.t.max_content=\"1KiB\""));
    random_file(&author.path().join("large"), 300_000, 7).unwrap();
    publish(&author, &["--file", "large"]);
    // It is fetched for somebody who reads.
    let mut reading = reader.command();
    let reading = reading
        .args(["topic", "sub", "t", "--history", "9"])
        .stdout(Stdio::null());
    let mut reading = reading.stdin(Stdio::null()).spawn().unwrap();
    patience::until("it is told", || {
        Ok(reader.log().contains("topic.max_content is 1024"))
    })
    .unwrap();
    reading.kill().unwrap();
    reading.wait().unwrap();
}

#[test]
fn more_of_an_author_than_the_rate_of_a_topic_is_not_taken() {
    let free = || {
        home()
            .set("gossipsub.max_rate=10000")
            .set("gossipsub.max_peer_rate=10000")
    };
    let [author, reader] = pair(free(), free().set("topic.t.max_rate=1"));
    publish(&author, &["the first"]);
    let mut saying = author.command();
    saying.args(["topic", "pub", "t", "--lines"]);
    let mut saying = saying
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = saying.stdin.take().unwrap();
    (0..50).for_each(|number| writeln!(lines, "{number}").unwrap());
    drop(lines);
    assert!(patience::ended(&mut saying).unwrap().success());
    patience::until("some is too much", || Ok(count(&reader, "/excess") > Some(0))).unwrap();
}

#[test]
fn as_many_commands_run_at_once_as_may() {
    let reader = home();
    let at = reader.path().join("running");
    fs::create_dir(&at).unwrap();
    // Each waits for another.
    let script = "touch \"$0/$$\"; until [ $(ls \"$0\" | wc -l) -ge 2 ]; do sleep 0.01; done";
    let command = serde_json::json!(["/bin/sh", "-c", script, at]);
    let reader = reader
        .set(format!("topic.t.deliver.exec.command={command}"))
        .set("topic.t.deliver.exec.concurrency=2");
    let [author, reader] = pair(home(), reader);
    publish(&author, &["one"]);
    publish(&author, &["two"]);
    patience::until("both to have run", || {
        Ok(count(&reader, "/deliveries/0/delivered") == Some(2))
    })
    .unwrap();
}

#[test]
fn a_webhook_is_believed_when_the_authority_of_its_certificate_is_named() {
    let web = Web::start().unwrap();
    web.put("/hook", "");
    let hooked = || home().set(format!("topic.t.deliver.webhook.url={:?}", web.url("/hook")));
    let trusting = hooked().set(format!("topic.t.deliver.webhook.ca_file={:?}", web.authority()));
    let [author, reader] = pair(home(), trusting);
    let other = hooked()
        .set(bootstrap(&author))
        .set("topic.t.deliver.webhook.attempts=1")
        .start()
        .unwrap();
    patience::until("both to be there", || Ok(count(&author, "/peers") == Some(2))).unwrap();
    publish(&author, &["hello"]);
    patience::until("it is taken", || {
        Ok(count(&reader, "/deliveries/0/delivered") == Some(1))
    })
    .unwrap();
    patience::until("it is given up", || {
        Ok(count(&other, "/deliveries/0/failed") == Some(1))
    })
    .unwrap();
}
