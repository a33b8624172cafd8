//! The command line over TCP: tokens, and the address of the page.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

use std::{fs, process::Output};

use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    patience,
    proxy::Proxy,
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

/// A daemon with a port, and where that is.
fn daemon() -> (Daemon, String) {
    daemon_at(Home::new(PROGRAM).unwrap())
}

fn daemon_at(home: Home) -> (Daemon, String) {
    let listen = format!(
        r#"control.listen=["unix:{}", "127.0.0.1:0"]"#,
        home.socket().display()
    );
    let daemon = home.set(listen).start().unwrap();
    let login = daemon.json(["open", "--print"]).unwrap();
    let url = login["url"].as_str().unwrap().to_owned();
    let end = url.find("/open?code=").unwrap();
    (daemon, url[..end].to_owned())
}

/// Runs a command line over TCP, with the token in the file of this name.
fn remote(daemon: &Home, address: &str, token: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = daemon.command();
    command.env("CARDUME_API", address).args(arguments);
    if let Some(token) = token {
        command.env("CARDUME_TOKEN_FILE", token);
    }
    patience::output(&mut command).unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(status(output), 0, "{}", error(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_token_works_from_elsewhere_until_it_is_replaced_or_taken_back() {
    let (daemon, address) = daemon();
    let made = daemon
        .run([
            "token",
            "new",
            "ci",
            "--scope",
            "read,content",
            "--expires",
            "90d",
        ])
        .unwrap();
    fs::write(daemon.path().join("ci"), text(&made)).unwrap();
    assert_eq!(text(&made).lines().count(), 1, "nothing but the secret");
    let id = text(&remote(&daemon, &address, Some("ci"), &["id"]));
    assert_eq!(id.trim(), daemon.peer_id().unwrap());

    let listed = daemon.json(["token", "ls"]).unwrap();
    assert_eq!(
        (&listed["name"], listed["scopes"].as_array().unwrap().len()),
        (&"ci".into(), 2)
    );
    assert!(
        listed["expires"].is_number() && listed["used"].is_number(),
        "{listed}"
    );
    assert!(!listed.to_string().contains(text(&made).trim()));

    let stop = remote(&daemon, &address, Some("ci"), &["stop"]);
    assert_eq!(status(&stop), 5, "{}", error(&stop));
    assert!(error(&stop).contains("scope admin"), "{}", error(&stop));

    let rotated = text(&daemon.run(["token", "rotate", "ci"]).unwrap());
    assert_eq!(status(&remote(&daemon, &address, Some("ci"), &["id"])), 5);
    fs::write(daemon.path().join("ci"), rotated).unwrap();
    assert_eq!(status(&remote(&daemon, &address, Some("ci"), &["id"])), 0);
    text(&daemon.run(["token", "revoke", "ci"]).unwrap());
    assert_eq!(status(&remote(&daemon, &address, Some("ci"), &["id"])), 5);
    assert_eq!(status(&daemon.run(["token", "revoke", "ci"]).unwrap()), 4);
}

#[test]
fn content_goes_both_ways_over_tcp() {
    let (daemon, address) = daemon();
    let made = daemon
        .run(["token", "new", "ci", "--scope", "read,content"])
        .unwrap();
    fs::write(daemon.path().join("ci"), text(&made)).unwrap();
    fs::write(daemon.path().join("a.txt"), "over TCP").unwrap();
    let shared = text(&remote(
        &daemon,
        &address,
        Some("ci"),
        &["--json", "share", "--copy", "a.txt"],
    ));
    let shared: Value = serde_json::from_str(&shared).unwrap();
    let cid = shared["cid"].as_str().unwrap();
    text(&remote(
        &daemon,
        &address,
        Some("ci"),
        &["get", cid, "-o", "b.txt"],
    ));
    assert_eq!(fs::read(daemon.path().join("b.txt")).unwrap(), b"over TCP");
}

#[test]
fn a_daemon_behind_a_proxy_with_tls_is_asked_by_who_trusts_the_proxy() {
    let (daemon, address) = daemon();
    let made = daemon.run(["token", "new", "ci", "--scope", "read"]).unwrap();
    fs::write(daemon.path().join("ci"), text(&made)).unwrap();
    let proxy = Proxy::before(address.strip_prefix("http://").unwrap().parse().unwrap()).unwrap();
    let ask = |authority: &str| {
        let mut command = daemon.command();
        command
            .args(["--api", &proxy.url(), "id"])
            .env("CARDUME_TOKEN_FILE", daemon.path().join("ci"))
            .env("CARDUME_CA_FILE", authority);
        patience::output(&mut command).unwrap()
    };
    let id = text(&ask(proxy.authority().to_str().unwrap()));
    assert_eq!(id.trim(), daemon.peer_id().unwrap());

    let stranger = ask("");
    assert_eq!(status(&stranger), 3, "{}", error(&stranger));
    assert!(error(&stranger).contains("certificate"), "{}", error(&stranger));
    let wrong = ask("nowhere.pem");
    assert_eq!(status(&wrong), 2, "{}", error(&wrong));
    assert!(error(&wrong).contains("CARDUME_CA_FILE"), "{}", error(&wrong));
}

#[test]
fn a_daemon_elsewhere_examines_itself_and_what_it_finds_is_told_as_its_own() {
    let nobody = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let home = Home::new(PROGRAM).unwrap();
    let (daemon, address) = daemon_at(home.set(format!("rendezvous.points=[\"{nobody}\"]")));
    patience::until("the point is asked in vain", || {
        Ok(daemon.json(["net", "rendezvous"])?["points"][0]["problem"].is_string())
    })
    .unwrap();
    // Somebody whose own configuration is broken, and no matter here.
    let caller = Home::new(PROGRAM).unwrap();
    fs::create_dir_all(caller.path().join("config/cardume")).unwrap();
    fs::write(
        caller.path().join("config/cardume/cardume.toml"),
        "nonsense = 1\n",
    )
    .unwrap();
    for scope in ["read", "admin"] {
        let made = daemon.run(["token", "new", scope, "--scope", scope]).unwrap();
        fs::write(caller.path().join(scope), text(&made)).unwrap();
    }
    let refused = remote(&caller, &address, Some("read"), &["doctor"]);
    assert_eq!(status(&refused), 5, "{}", error(&refused));

    let arguments = ["--json", "doctor", "--bundle", "bundle"];
    let examined = remote(&caller, &address, Some("admin"), &arguments);
    assert_eq!(status(&examined), 1, "something is wrong: {}", error(&examined));
    let said = error(&examined);
    assert!(
        said.contains(&format!("by the daemon at {address} itself")),
        "{said}"
    );
    let found: Value = serde_json::from_slice(&examined.stdout).unwrap();
    let data = daemon.path().join("data");
    assert_eq!(found["data_dir"], data.to_str().unwrap(), "{found}");
    let own = daemon.run(["--json", "doctor"]).unwrap();
    let own: Value = serde_json::from_slice(&own.stdout).unwrap();
    let outcomes = |report: &Value| -> Vec<(Value, Value)> {
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|one| (one["check"].clone(), one["state"].clone()))
            .collect()
    };
    assert_eq!(outcomes(&found), outcomes(&own));
    assert!(outcomes(&found).contains(&("rendezvous".into(), "wrong".into())));
    let bundle: Value = serde_json::from_slice(&fs::read(caller.path().join("bundle")).unwrap()).unwrap();
    assert_eq!(bundle["report"], found);
    assert_eq!(bundle["config"]["rendezvous"]["points"][0], nobody, "{bundle}");
    assert_eq!(bundle["system"], Value::Null, "that would be the caller's");

    let shown = remote(&caller, &address, Some("admin"), &["doctor"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("\nWRONG  rendezvous "), "{shown}");
    daemon.kill().unwrap();
    let gone = remote(&caller, &address, Some("admin"), &["doctor"]);
    assert_eq!(status(&gone), 3, "{}", error(&gone));
}

#[test]
fn what_is_wrong_with_a_token_is_said() {
    let (daemon, address) = daemon();
    let without = remote(&daemon, &address, None, &["status"]);
    assert_eq!(status(&without), 5);
    assert!(error(&without).contains("token"), "{}", error(&without));
    fs::write(daemon.path().join("empty"), "\n").unwrap();
    fs::write(daemon.path().join("wrong"), "cardume_nonsense").unwrap();
    for (file, expected) in [("missing", 2), ("empty", 2), ("wrong", 5)] {
        let output = remote(&daemon, &address, Some(file), &["status"]);
        assert_eq!(status(&output), expected, "{file}: {}", error(&output));
    }
    let bad = daemon
        .run(["token", "new", "x", "--scope", "everything"])
        .unwrap();
    assert_eq!(status(&bad), 2);
    assert!(
        error(&bad).contains("read, content, tunnels, compute, admin"),
        "{}",
        error(&bad)
    );
}

#[test]
fn what_an_administrator_does_is_in_the_log() {
    let (daemon, _) = daemon();
    text(&daemon.run(["token", "new", "ci", "--scope", "read"]).unwrap());
    // The log is written beside the answer.
    let mut line = Value::Null;
    patience::until("it is written down", || {
        let log = daemon.log();
        let found = log
            .lines()
            .find(|line| line.contains("\"audit\"") && line.contains("/v1/tokens") && line.ends_with('}'));
        line = found.map(serde_json::from_str).transpose()?.unwrap_or_default();
        Ok(!line.is_null())
    })
    .unwrap();
    assert_eq!(line["target"], "audit", "{line}");
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(line["who"], format!("uid {uid}"), "{line}");
    assert_eq!(line["status"], 201, "{line}");
}
