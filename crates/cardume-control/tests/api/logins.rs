//! Browsers that log in, as bytes on the wire.
use cardume_api::{Code, Scope};
use tokio::net::TcpStream;

use crate::daemon::{Answer, Daemon, within};

/// `/open?code=…`, of an address that `cardume open` would print.
fn target(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let (address, path) = rest.split_once('/').unwrap();
    (address.to_owned(), format!("/{path}"))
}

/// The cookie that an answer sets, as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    let set = answer.field("set-cookie").unwrap();
    assert!(
        set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Path=/"),
        "{set}"
    );
    format!("cookie: other=1; {}\r\n", set.split(';').next().unwrap())
}

fn form(token: &str) -> String {
    let body = format!("token={token}");
    let length = body.len();
    format!("content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn a_code_is_exchanged_once_for_a_cookie_and_leaves_the_address_bar() {
    let daemon = Daemon::start().await;
    let login = daemon.client.login().await.unwrap();
    let (address, target) = target(&login.url);
    assert_eq!((address, login.expires_s), (daemon.port.to_string(), 60));
    let opened = daemon.remote("GET", &target, "sec-fetch-site: none\r\n").await;
    assert_eq!((opened.status, opened.field("location")), (303, Some("/")));
    assert_eq!(opened.field("referrer-policy"), Some("no-referrer"));
    let again = daemon.remote("GET", &target, "").await;
    assert_eq!((again.status, again.problem().code), (401, Code::Denied));
    let cookie = cookie(&opened);
    assert_eq!(daemon.remote("GET", "/v1/status", &cookie).await.status, 200);
    daemon.stop().await;
}

#[tokio::test]
async fn a_cookie_changes_nothing_unless_the_nodes_own_page_sends_it() {
    let daemon = Daemon::start().await;
    let (_, target) = target(&daemon.client.login().await.unwrap().url);
    let cookie = cookie(&daemon.remote("GET", &target, "").await);
    let own = format!("origin: http://{}\r\n", daemon.port);
    for page in [
        "",
        "origin: http://evil.example\r\n",
        "origin: null\r\n",
        "origin: http://127.0.0.1:1\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
        "sec-fetch-site: none\r\n",
        &format!("{own}sec-fetch-site: same-site\r\n"),
    ] {
        let fields = format!("{cookie}{page}content-length: 0\r\n");
        let answer = daemon.remote("POST", "/v1/stop", &fields).await;
        assert_eq!(
            (answer.status, answer.problem().code),
            (403, Code::Denied),
            "{page}"
        );
    }
    assert!(!daemon.stop.is_cancelled());
    for page in [own.as_str(), "sec-fetch-site: same-origin\r\n"] {
        let fields = format!("{cookie}{page}content-length: 0\r\n");
        assert_eq!(
            daemon.remote("POST", "/v1/gc", &fields).await.status,
            202,
            "{page}"
        );
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_logs_in_with_its_scopes_and_its_end_ends_that() {
    let daemon = Daemon::start().await;
    let secret = daemon.token("ci", &[Scope::Read], None).await;
    let own = format!("origin: http://{}\r\n", daemon.port);
    let login = async |page: &str, secret: &str| {
        let host = daemon.port;
        daemon
            .remote_raw(&format!(
                "POST /login HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{page}{}",
                form(secret)
            ))
            .await
    };
    assert_eq!(login(&own, "cardume_wrong").await.status, 401);
    assert_eq!(login("", &secret).await.status, 403);
    assert_eq!(
        login("origin: http://evil.example\r\n", &secret).await.status,
        403
    );
    assert_eq!(login(&own, &"x".repeat(5_000)).await.status, 400);
    let answer = login(&own, &secret).await;
    assert_eq!(answer.status, 303, "{answer:?}");
    let cookie = cookie(&answer);
    assert_eq!(daemon.remote("GET", "/v1/files", &cookie).await.status, 200);
    let fields = format!("{cookie}{own}content-length: 0\r\n");
    assert_eq!(daemon.remote("POST", "/v1/stop", &fields).await.status, 403);
    daemon.client.revoke_token("ci").await.unwrap();
    assert_eq!(daemon.remote("GET", "/v1/files", &cookie).await.status, 401);
    daemon.stop().await;
}

#[tokio::test]
async fn who_logs_out_is_out() {
    let daemon = Daemon::start().await;
    let (_, target) = target(&daemon.client.login().await.unwrap().url);
    let cookie = cookie(&daemon.remote("GET", &target, "").await);
    let own = format!("{cookie}origin: http://{}\r\ncontent-length: 0\r\n", daemon.port);
    assert_eq!(daemon.remote("POST", "/logout", &cookie).await.status, 403);
    assert_eq!(daemon.remote("GET", "/v1/files", &cookie).await.status, 200);
    assert_eq!(daemon.remote("POST", "/logout", &own).await.status, 303);
    assert_eq!(daemon.remote("GET", "/v1/files", &cookie).await.status, 401);
    daemon.stop().await;
}

#[tokio::test]
async fn a_node_without_a_port_opens_one_for_a_browser_and_closes_it_after_the_last() {
    let without = |config: cardume_control::Config| cardume_control::Config {
        listen: None,
        ..config
    };
    let mut daemon = Daemon::start_with(tempfile::tempdir().unwrap(), without).await;
    assert_eq!(daemon.port.port(), 0);
    let (address, first) = target(&daemon.client.login().await.unwrap().url);
    daemon.port = address.parse().unwrap();
    assert!(daemon.port.ip().is_loopback());
    let (again, second) = target(&daemon.client.login().await.unwrap().url);
    assert_eq!(again, address);
    for target in [first, second] {
        let cookie = cookie(&daemon.remote("GET", &target, "").await);
        assert_eq!(daemon.remote("GET", "/v1/files", &cookie).await.status, 200);
        let own = format!("{cookie}origin: http://{address}\r\ncontent-length: 0\r\n");
        assert_eq!(daemon.remote("POST", "/logout", &own).await.status, 303);
    }
    let closed = async { while TcpStream::connect(&address).await.is_ok() {} };
    within(closed).await;
    daemon.stop().await;
}
