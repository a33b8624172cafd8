//! The API over TCP: who shows a token gets in, and nobody else.
use std::time::Duration;

use cardume_api::{Client, Code, Event, NewSecret, Scope};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::daemon::{Answer, Daemon, within};

fn bearer(secret: &str) -> String {
    format!("authorization: Bearer {secret}\r\n")
}

fn refused(answer: &Answer, status: u16, code: Code) {
    assert_eq!(
        (answer.status, answer.problem().code),
        (status, code),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_token_gets_in_and_without_one_there_are_numbers_alone() {
    let daemon = Daemon::start().await;
    let secret = daemon.token("ci", &[Scope::Read], None).await;
    let answer = daemon.remote("GET", "/v1/status", &bearer(&secret)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for path in ["/livez", "/readyz", "/metrics"] {
        let status = daemon.remote("GET", path, "").await.status;
        assert!(matches!(status, 200 | 503), "{path}: {status}");
    }
    for fields in ["", "authorization: Basic YTpi\r\n", "cookie: cardume=x\r\n"] {
        let answer = daemon.remote("GET", "/v1/status", fields).await;
        refused(&answer, 401, Code::Denied);
        assert!(answer.field("www-authenticate").unwrap().starts_with("Bearer"));
    }
    // Nobody learns without a token what there is.
    refused(&daemon.remote("GET", "/v1/nonsense", "").await, 401, Code::Denied);
    let answer = daemon.remote("GET", "/v1/nonsense", &bearer(&secret)).await;
    refused(&answer, 404, Code::NotFound);
    daemon.stop().await;
}

#[tokio::test]
async fn the_client_shows_its_token() {
    let daemon = Daemon::start().await;
    let secret = daemon.token("ci", &[Scope::Read], None).await;
    let remote = Client::from_address(&format!("http://{}", daemon.port)).unwrap();
    let error = remote.status().await.unwrap_err();
    assert_eq!((error.code(), error.exit_status()), (Some(Code::Denied), 5));
    let remote = remote.with_token(secret);
    assert_eq!(remote.status().await.unwrap().name, "tester");
    assert_eq!(remote.stop().await.unwrap_err().code(), Some(Code::Denied));
    daemon.stop().await;
}

#[tokio::test]
async fn a_scope_that_is_too_small_is_named() {
    let daemon = Daemon::start().await;
    let read = daemon.token("read", &[Scope::Read], None).await;
    let content = daemon
        .token("content", &[Scope::Content, Scope::Tunnels, Scope::Compute], None)
        .await;
    let admin = daemon.token("admin", &[Scope::Admin], None).await;
    for (secret, method, path) in [
        (&read, "POST", "/v1/content"),
        (&read, "POST", "/v1/stop"),
        (&read, "DELETE", "/v1/rates"),
        (&content, "GET", "/v1/status"),
        (&content, "POST", "/v1/stop"),
        (&content, "GET", "/v1/tokens"),
    ] {
        let answer = daemon.remote(method, path, &bearer(secret)).await;
        refused(&answer, 403, Code::Denied);
        assert!(answer.problem().detail.contains("takes the scope"), "{answer:?}");
    }
    for (secret, method, path) in [
        (&read, "GET", "/v1/files"),
        (&content, "POST", "/v1/gc"),
        (&admin, "GET", "/v1/tokens"),
        (&admin, "GET", "/v1/status"),
        (&admin, "POST", "/v1/stop"),
    ] {
        let fields = format!("{}content-length: 0\r\n", bearer(secret));
        let answer = daemon.remote(method, path, &fields).await;
        assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
    }
    within(daemon.stop.cancelled()).await;
    daemon.stop().await;
}

#[tokio::test]
async fn no_token_has_the_node_open_paths() {
    let daemon = Daemon::start().await;
    let secret = daemon.token("admin", &[Scope::Admin], None).await;
    let path = daemon.file("secret", b"secret");
    let body = format!(r#"{{"path": {path:?}}}"#);
    let length = body.len();
    let fields = format!(
        "{}content-type: application/json\r\ncontent-length: {length}\r\n",
        bearer(&secret)
    );
    let request = format!(
        "POST /v1/shares HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{fields}\r\n{body}",
        daemon.port
    );
    refused(&daemon.remote_raw(&request).await, 403, Code::Denied);
    daemon.stop().await;
}

#[tokio::test]
async fn names_that_are_not_this_hosts_and_pages_elsewhere_are_refused() {
    let daemon = Daemon::start().await;
    let secret = daemon.token("admin", &[Scope::Admin], None).await;
    let get = async |path: &str, host: &str, more: &str| {
        let fields = bearer(&secret);
        let request = format!("GET {path} HTTP/1.1\r\n{host}connection: close\r\n{fields}{more}\r\n");
        daemon.remote_raw(&request).await
    };
    for host in [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "node.example.evil",
    ] {
        let host = format!("host: {host}\r\n");
        refused(&get("/v1/status", &host, "").await, 403, Code::Denied);
        refused(&get("/metrics", &host, "").await, 403, Code::Denied);
        refused(&get("/open?code=x", &host, "").await, 403, Code::Denied);
    }
    refused(&get("/v1/status", "", "").await, 403, Code::Denied);
    refused(
        &get("http://evil.example/v1/status", "host: localhost\r\n", "").await,
        403,
        Code::Denied,
    );
    let own = "host: node.example\r\n";
    for host in [
        own,
        "host: localhost:1\r\n",
        "host: [::1]\r\n",
        "host: 192.0.2.1\r\n",
    ] {
        assert_eq!(get("/v1/status", host, "").await.status, 200, "{host}");
    }
    for page in [
        "origin: http://evil.example\r\n",
        "origin: null\r\n",
        "origin: http://node.example:81\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ] {
        refused(&get("/v1/status", own, page).await, 403, Code::Denied);
    }
    let answer = get("/v1/status", own, "origin: https://node.example\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("access-control-allow-origin"), None);
    let preflight = daemon
        .remote("OPTIONS", "/v1/status", "origin: http://evil.example\r\n")
        .await;
    refused(&preflight, 403, Code::Denied);
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_is_over_taken_back_or_replaced_is_refused_and_a_restart_changes_nothing() {
    let daemon = Daemon::start().await;
    let over = daemon.token("over", &[Scope::Read], Some(0)).await;
    let gone = daemon.token("gone", &[Scope::Read], None).await;
    let old = daemon.token("kept", &[Scope::Read], None).await;
    assert_eq!(
        daemon.remote("GET", "/v1/files", &bearer(&gone)).await.status,
        200
    );
    daemon.client.revoke_token("gone").await.unwrap();
    let new = daemon
        .client
        .rotate_token("kept", &NewSecret::default())
        .await
        .unwrap();
    for secret in [&over, &gone, &old, &format!("{}x", new.secret)] {
        let answer = daemon.remote("GET", "/v1/files", &bearer(secret)).await;
        refused(&answer, 401, Code::Denied);
    }
    let error = daemon.client.revoke_token("gone").await.unwrap_err();
    assert_eq!(error.code(), Some(Code::NotFound));
    let directory = daemon.stop().await;
    let daemon = Daemon::start_with(directory, |config| config).await;
    for (secret, status) in [(&new.secret, 200), (&old, 401), (&gone, 401), (&over, 401)] {
        let answer = daemon.remote("GET", "/v1/files", &bearer(secret)).await;
        assert_eq!(answer.status, status);
    }
    let told = daemon.client.tokens().await.unwrap();
    let names: Vec<_> = told.iter().map(|token| token.name.as_str()).collect();
    assert_eq!(names, ["kept"], "what is over makes room");
    daemon.stop().await;
}

#[tokio::test]
async fn events_end_with_the_token_that_reads_them() {
    let daemon = Daemon::start().await;
    let secret = daemon.token("reader", &[Scope::Read], None).await;
    let mut stream = TcpStream::connect(daemon.port).await.unwrap();
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
        bearer(&secret)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    within(stream.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    daemon.client.revoke_token("reader").await.unwrap();
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(8), async {
        // The connection itself may wait for another request.
        while !rest.ends_with(b"0\r\n\r\n") && stream.read_buf(&mut rest).await.unwrap() > 0 {}
    });
    read.await
        .expect("the stream ends long before the connection is idle for too long");
    daemon.stop().await;
}

#[tokio::test]
async fn whoever_guesses_is_told_to_wait_and_whoever_knows_is_not() {
    let daemon = Daemon::start().await;
    let secret = daemon.token("ci", &[Scope::Read], None).await;
    let mut statuses = Vec::new();
    for guess in 0..12 {
        let answer = daemon
            .remote("GET", "/v1/files", &bearer(&format!("cardume_{guess}")))
            .await;
        if answer.status == 429 {
            refused(&answer, 429, Code::Limit);
            assert!(answer.field("retry-after").unwrap().parse::<u64>().unwrap() <= 60);
        }
        statuses.push(answer.status);
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    assert_eq!(
        daemon.remote("GET", "/v1/files", &bearer(&secret)).await.status,
        200
    );
    daemon.stop().await;
}

#[tokio::test]
async fn what_changes_the_node_is_told_once_with_who_did_it() {
    let daemon = Daemon::start().await;
    let mut events = daemon.client.events(None).await.unwrap();
    let secret = daemon.token("boss", &[Scope::Admin], None).await;
    let reader = daemon.token("reader", &[Scope::Read], None).await;
    let fields = |secret| format!("{}content-length: 0\r\n", bearer(secret));
    assert_eq!(
        daemon
            .remote("DELETE", "/v1/rates", &fields(&secret))
            .await
            .status,
        200
    );
    assert_eq!(
        daemon.remote("GET", "/v1/tokens", &fields(&secret)).await.status,
        200
    );
    assert_eq!(
        daemon.remote("POST", "/v1/gc", &fields(&secret)).await.status,
        202
    );
    assert_eq!(
        daemon.remote("POST", "/v1/stop", &fields(&reader)).await.status,
        403
    );
    let uid = format!("uid {}", rustix::process::geteuid().as_raw());
    let expected = [
        (uid.as_str(), "POST", "/v1/tokens", 201),
        (&uid, "POST", "/v1/tokens", 201),
        ("token boss", "DELETE", "/v1/rates", 200),
        ("token reader", "POST", "/v1/stop", 403),
    ];
    for expected in expected {
        let told = within(async {
            loop {
                let event = events.next().await.unwrap().unwrap().event;
                if let Event::Audit {
                    who,
                    method,
                    path,
                    status,
                } = event
                {
                    return (who, method, path, status);
                }
            }
        });
        let (who, method, path, status) = told.await;
        assert_eq!((who.as_str(), method.as_str(), path.as_str(), status), expected);
    }
    daemon.stop().await;
}

#[tokio::test]
async fn idle_connections_are_closed_and_keep_nobody_out() {
    let daemon = Daemon::start().await;
    let secret = daemon.token("ci", &[Scope::Read], None).await;
    let began = std::time::Instant::now();
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(TcpStream::connect(daemon.port).await.unwrap());
    }
    for mut stream in idle {
        // One that is closed at once may be reset.
        let _ = within(stream.read_to_end(&mut Vec::new())).await;
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(
        daemon.remote("GET", "/v1/files", &bearer(&secret)).await.status,
        200
    );
    daemon.stop().await;
}

#[tokio::test]
async fn a_body_is_refused_before_it_is_read() {
    let daemon = Daemon::start().await;
    let mut stream = TcpStream::connect(daemon.port).await.unwrap();
    let request = "POST /v1/content HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\r\nbegin";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    within(stream.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 401");
    daemon.stop().await;
}
