//! The page, in a real browser.

mod keyboard;
mod looks;
mod origin;
mod parts;

use std::fs;

use anyhow::{Context, ensure};
use cardume_testkit::{
    browser::{self, Browser, ENTER},
    daemon::{Daemon, Home},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

fn node() -> anyhow::Result<Daemon> {
    let home = Home::new(PROGRAM)?.set("mdns.enabled=false");
    home.set("node.name=\"den\"").start()
}

/// Where a node has its page, and an address that lets a browser in.
fn page_of(daemon: &Daemon) -> anyhow::Result<(String, String)> {
    let login = daemon.json(["open", "--print"])?;
    let url = login["url"].as_str().context("an address")?;
    let (page, _) = url.split_once("/open").context("a path")?;
    Ok((page.to_owned(), url.to_owned()))
}

/// A browser that was let in by `cardume open`.
fn opened(daemon: &Daemon) -> anyhow::Result<Browser> {
    let browser = Browser::start()?;
    browser.visit(&page_of(daemon)?.1)?;
    browser.until("document.querySelector('main#live #node')")?;
    ensure!(
        browser.run("return location.pathname + location.search")? == "/",
        "the code is gone"
    );
    Ok(browser)
}

#[test]
fn what_happens_is_seen_as_it_happens_and_files_are_got_and_shared() -> anyhow::Result<()> {
    if !browser::available() {
        return Ok(());
    }
    let (shown, other) = (node()?, node()?);
    let browser = opened(&shown)?;
    browser.run("window.mark = 1")?;
    browser.until("document.querySelector('#peers').textContent.includes('Nobody')")?;
    other.json(["peer", "connect", &shown.address(true)?])?;
    let peer = other.peer_id()?;
    browser.until(&format!("document.querySelector('#peers [title=\"{peer}\"]')"))?;

    fs::write(other.path().join("film"), vec![7; 300_000])?;
    let link = other.json(["share", "film"])?["link"]
        .as_str()
        .context("a link")?
        .to_owned();
    browser.write("#link", &format!("{link}{ENTER}"))?;
    browser.until("document.querySelector('#work').textContent.includes('done, 293.0 KiB')")?;
    browser.until("document.querySelector('#files a[download=film]')")?;
    let size = browser.run(
        "return fetch(document.querySelector('#files a').href).then((r) => r.blob()).then((b) => b.size)",
    )?;
    ensure!(size == 300_000, "it is read here: {size}");

    let note = shown.path().join("a <b>note");
    fs::write(&note, "a note")?;
    browser.write("#file", note.to_str().context("a path")?)?;
    browser.until("document.querySelector('#said').textContent.startsWith('Shared: cardume:bafk')")?;
    browser.until("document.querySelector('#files').textContent.includes('a <b>note')")?;
    browser.click("#files summary")?;
    browser.until("document.querySelector('#files img').naturalWidth > 0")?;

    browser.write("#link", &format!("no link{ENTER}"))?;
    browser.until("document.querySelector('#said').textContent.startsWith('Not asked for')")?;
    ensure!(
        browser.run("return window.mark")? == 1,
        "it is the same page all the time"
    );
    let complaints = browser.complaints()?;
    // The one that was asked for: what is no link is refused.
    ensure!(
        complaints.len() == 1 && complaints[0].contains("/v1/fetches"),
        "{complaints:?}"
    );

    browser.click("header button")?;
    browser.until("document.querySelector('#token')")?;
    Ok(())
}
