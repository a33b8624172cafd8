//! What a page of another origin can do to a node, in a browser that is logged in at it: nothing.
use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener},
    sync::mpsc::{Receiver, channel},
    thread,
};

use anyhow::{Context, ensure};
use cardume_testkit::{browser, daemon::Daemon};

use super::{node, opened, page_of};

/// Serves a page at another port of this host, and tells the heads of what it is asked.
fn elsewhere() -> anyhow::Result<(String, Receiver<String>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let origin = format!("http://{}", listener.local_addr()?);
    let (heads, asked) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let body = "<!doctype html><title>elsewhere</title><p>Win a prize";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            // A test that has ended wants no more of it.
            let _ = stream.write_all(answer.as_bytes());
            if heads.send(head.join("\n")).is_err() {
                return;
            }
        }
    });
    Ok((origin, asked))
}

/// What a hostile page would want changed.
const CALLS: [(&str, &str, &str); 7] = [
    ("POST", "/v1/stop", ""),
    ("POST", "/v1/doctor", ""),
    ("POST", "/v1/content", "evil"),
    ("POST", "/v1/fetches", r#"{"link":"cardume:x"}"#),
    ("POST", "/v1/tokens", r#"{"name":"evil","scopes":["admin"]}"#),
    (
        "PUT",
        "/v1/blocked/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
        "",
    ),
    ("POST", "/logout", ""),
];

/// All that those calls could have changed.
fn state(daemon: &Daemon) -> anyhow::Result<String> {
    let mut all = String::new();
    for path in ["tokens", "files", "operations", "blocked"] {
        let answer = daemon.ask(&format!("/v1/{path}"))?;
        let (_, body) = answer.split_once("\r\n\r\n").context("a body")?;
        all += body;
    }
    Ok(all)
}

#[test]
fn a_page_of_another_origin_is_refused_and_changes_nothing() -> anyhow::Result<()> {
    if !browser::available() {
        return Ok(());
    }
    let daemon = node()?;
    let (own, _) = page_of(&daemon)?;
    let browser = opened(&daemon)?;
    let before = state(&daemon)?;
    let (origin, asked) = elsewhere()?;
    browser.visit(&origin)?;
    // Browsers know hosts and no ports where cookies are concerned: what is refused here had one.
    ensure!(
        asked.recv()?.contains("cardume-"),
        "it comes with the session's cookie"
    );
    for (method, path, body) in CALLS {
        let body = match body {
            "" => "undefined".to_owned(),
            body => serde_json::Value::from(body).to_string(),
        };
        for mode in ["cors", "no-cors"] {
            let told = browser.run(&format!(
                "return fetch('{own}{path}', {{method: '{method}', mode: '{mode}', credentials: 'include', body: {body}}}) \
                 .then((answer) => answer.type, (error) => error.name)"
            ))?;
            // Opaque: it was sent, and nothing of the answer can be read.
            ensure!(told == "TypeError" || told == "opaque", "{method} {path}: {told}");
        }
    }
    let read =
        format!("return fetch('{own}/page/live', {{credentials: 'include'}}).catch((error) => error.name)");
    ensure!(browser.run(&read)? == "TypeError", "it reads nothing");
    for (path, name, value) in [
        ("/v1/stop", "a", "b"),
        ("/v1/content", "a", "b"),
        ("/login", "token", "evil"),
        ("/logout", "a", "b"),
    ] {
        browser.visit(&origin)?;
        browser.run(&format!(
            "const form = document.createElement('form');
             form.method = 'post'; form.action = '{own}{path}'; form.enctype = 'text/plain';
             const field = document.createElement('input'); field.name = '{name}'; field.value = '{value}';
             form.append(field); document.body.append(form); form.submit()"
        ))?;
        browser.until("location.pathname !== '/' && document.body")?;
        let told = browser.run("return document.body.textContent")?;
        let told = told.as_str().context("text")?;
        ensure!(
            told.contains("pages of other origins may not use this node"),
            "{path}: {told}"
        );
    }
    browser.visit(&origin)?;
    browser.run(&format!(
        "const frame = document.createElement('iframe'); frame.src = '{own}/'; frame.id = 'frame'; document.body.append(frame);
         return new Promise((done) => frame.addEventListener('load', () => done()))"
    ))?;
    ensure!(
        browser
            .run("return document.querySelector('#frame').contentDocument")?
            .is_null()
    );

    ensure!(state(&daemon)? == before, "nothing has changed");
    browser.visit(&own)?;
    browser.until("document.querySelector('main#live #node')")?;
    Ok(())
}
