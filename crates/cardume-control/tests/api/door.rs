//! Who gets in, and what is refused at the door.
use std::{
    io::Read,
    io::Write,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use cardume_api::{Client, ClientError, Code};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::daemon::{Answer, Daemon, within};

#[tokio::test]
async fn a_node_tells_how_it_is() {
    let daemon = Daemon::start().await;
    let status = daemon.client.status().await.unwrap();
    assert_eq!(
        (status.name.as_str(), status.network.as_str()),
        ("tester", "test")
    );
    assert!(!status.ready, "without a swarm no node is ready");
    assert_eq!(daemon.client.config().await.unwrap()["node"]["name"], "tester");
    daemon.stop().await;
}

#[tokio::test]
async fn a_swarm_that_does_not_turn_shows() {
    let daemon = Daemon::start().await;
    assert_eq!(daemon.request("GET", "/livez", "").await.status, 503);
    assert_eq!(daemon.request("GET", "/readyz", "").await.status, 503);
    let metrics = daemon.request("GET", "/metrics", "").await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    for name in [
        "cardume_build_info{version=\"0.0.0\"} 1",
        "cardume_peers 0",
        "cardume_ready 0",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_document() {
    let daemon = Daemon::start().await;
    let answer = daemon.request("GET", "/v1/nonsense", "").await;
    assert_eq!((answer.status, answer.problem().code), (404, Code::NotFound));
    let answer = daemon.request("PATCH", "/v1/status", "").await;
    assert_eq!((answer.status, answer.problem().code), (405, Code::Usage));
    let answer = daemon.request("GET", "/v1/content/nonsense", "").await;
    assert_eq!((answer.status, answer.problem().code), (400, Code::Usage));
    daemon.stop().await;
}

fn post(target: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn json_that_makes_no_sense_is_the_callers_mistake() {
    let daemon = Daemon::start().await;
    for body in [
        "{",
        "[]",
        "{}",
        r#"{"path": "/x", "surprise": 1}"#,
        r#"{"path": "x"}"#,
    ] {
        let answer = daemon.raw(&post("/v1/shares", body)).await;
        assert_eq!(
            (answer.status, answer.problem().code),
            (400, Code::Usage),
            "{body}"
        );
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let daemon = Daemon::start().await;
    let body = format!(r#"{{"path": "/{}"}}"#, "x".repeat(2 << 20));
    let answer = daemon.raw(&post("/v1/shares", &body)).await;
    assert_eq!((answer.status, answer.problem().code), (413, Code::Limit));
    daemon.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let daemon = Daemon::start().await;
    let long = format!("x-long: {}\r\n", "x".repeat(20 << 10));
    assert_eq!(daemon.request("GET", "/v1/status", &long).await.status, 431);
    let many: String = (0..80).map(|n| format!("x-{n}: y\r\n")).collect();
    assert_eq!(daemon.request("GET", "/v1/status", &many).await.status, 431);
    daemon.stop().await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let daemon = Daemon::start().await;
    let mut slow = UnixStream::connect(&daemon.socket).await.unwrap();
    slow.write_all(b"GET /v1/status HTTP/1.1\r\nhost: lo")
        .await
        .unwrap();
    let began = Instant::now();
    let _ = within(slow.read_to_end(&mut Vec::new())).await;
    let took = began.elapsed();
    assert!(took <= Duration::from_secs(15), "{took:?}");
    daemon.stop().await;
}

#[tokio::test]
async fn web_pages_are_refused() {
    let daemon = Daemon::start().await;
    for field in ["origin: http://localhost\r\n", "sec-fetch-site: cross-site\r\n"] {
        let answer = daemon.request("GET", "/v1/status", field).await;
        assert_eq!(
            (answer.status, answer.problem().code),
            (403, Code::Denied),
            "{field}"
        );
    }
    daemon.stop().await;
}

#[tokio::test]
async fn another_user_is_refused_even_where_the_file_mode_would_let_it_in() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can become another user");
        return;
    }
    let daemon = Daemon::start().await;
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(daemon.directory.path(), 0o755);
    open(daemon.socket.parent().unwrap(), 0o755);
    let socket = daemon.socket.clone();
    let closed = tokio::task::spawn_blocking(move || as_nobody(&socket))
        .await
        .unwrap();
    assert_eq!(closed, None, "the file mode keeps others out");
    open(&daemon.socket, 0o666);
    let socket = daemon.socket.clone();
    let answer = tokio::task::spawn_blocking(move || as_nobody(&socket))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert!(answer.contains(r#""code":"denied""#), "{answer}");
    daemon.stop().await;
}

/// Asks as a user without rights, from a thread that is thrown away with its user; none if it cannot connect.
fn as_nobody(socket: &std::path::Path) -> Option<String> {
    let socket = socket.to_owned();
    let asking = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65_534);
        let nogroup = rustix::process::Gid::from_raw(65_534);
        rustix::thread::set_thread_groups(&[]).unwrap();
        rustix::thread::set_thread_res_gid(nogroup, nogroup, nogroup).unwrap();
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let mut stream = std::os::unix::net::UnixStream::connect(socket).ok()?;
        stream
            .write_all(b"GET /v1/status HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        Some(answer)
    });
    asking.join().unwrap()
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_are_served_later() {
    let daemon = Daemon::start().await;
    let mut waiting = Vec::new();
    for _ in 0..80 {
        waiting.push(UnixStream::connect(&daemon.socket).await.unwrap());
    }
    let mut last = waiting.pop().unwrap();
    last.write_all(b"GET /v1/config HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    drop(waiting);
    assert_eq!(Answer::read(last).await.status, 200);
    daemon.stop().await;
}

#[tokio::test]
async fn no_daemon_is_told_from_one_that_refuses() {
    let daemon = Daemon::start().await;
    let (client, socket) = (daemon.client.clone(), daemon.socket.clone());
    let error = client.operation("none").await.unwrap_err();
    assert_eq!((error.code(), error.exit_status()), (Some(Code::NotFound), 4));
    let _directory = daemon.stop().await;
    assert!(!socket.exists());
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error:?}");
    assert_eq!(error.exit_status(), 3);
    let nowhere = Client::from_address("unix:///nonexistent/c.sock").unwrap();
    assert!(matches!(
        nowhere.status().await,
        Err(ClientError::NoDaemon { .. })
    ));
}

#[tokio::test]
async fn a_caller_can_stop_the_node() {
    let daemon = Daemon::start().await;
    daemon.client.stop().await.unwrap();
    within(daemon.stop.cancelled()).await;
    daemon.stop().await;
}
