//! The page, in a real browser.

use std::fs;

use anyhow::{Context, ensure};
use cardume_testkit::{
    browser::{self, Browser},
    daemon::{Daemon, Home},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

/// The key, as WebDriver has it.
const ENTER: char = '\u{e007}';
/// Everything that can be clicked on or typed into.
const CONTROLS: &str = "button, input, a, summary, [tabindex='0']";
/// The texts whose colours differ too little from what is behind them (WCAG 2.2, 1.4.3: 4.5 to 1).
const PALE: &str = "
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const pale = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility()) continue;
    const [one, other] = [light(numbers(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) pale.push(`${element.tagName} ${element.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return pale;";

fn node() -> anyhow::Result<Daemon> {
    let home = Home::new(PROGRAM)?.set("mdns.enabled=false");
    home.set("node.name=\"den\"").start()
}

/// A browser that was let in by `cardume open`.
fn opened(daemon: &Daemon) -> anyhow::Result<Browser> {
    let browser = Browser::start()?;
    let login = daemon.json(["open", "--print"])?;
    browser.visit(login["url"].as_str().context("an address")?)?;
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

#[test]
fn it_is_for_everybody_in_light_and_dark_wide_and_narrow() -> anyhow::Result<()> {
    if !browser::available() {
        return Ok(());
    }
    let (shown, other) = (node()?, node()?);
    fs::write(other.path().join("film"), "a film")?;
    let shared = other.json(["share", "film"])?;
    shown.json(["get", shared["link"].as_str().context("a link")?])?;
    let browser = opened(&shown)?;
    browser.until("document.querySelector('#files a') && document.querySelector('#peers table')")?;
    for (name, width, scheme) in [
        ("light", 1200, "light"),
        ("dark", 1200, "dark"),
        ("phone", 390, "light"),
    ] {
        browser.look(width, 900, scheme)?;
        let pale = browser.run(PALE)?;
        ensure!(pale == serde_json::json!([]), "{name}: {pale}");
        let over = browser.run("return document.documentElement.scrollWidth - innerWidth")?;
        ensure!(over.as_i64() <= Some(0), "{name}: {over} pixels too wide");
        if let Some(directory) = std::env::var_os("CARDUME_PICTURES") {
            let path = std::path::Path::new(&directory).join(format!("page-{name}.base64"));
            fs::write(path, browser.picture()?)?;
        }
    }
    let labels = browser.labels(CONTROLS)?;
    ensure!(
        labels.len() > 6 && labels.iter().all(|label| !label.is_empty()),
        "{labels:?}"
    );
    let headings = "return [...document.querySelectorAll('h1, h2, h3')].map((h) => h.tagName).join(' ')";
    let headings = browser.run(headings)?;
    let headings = headings.as_str().context("headings")?;
    ensure!(
        headings.starts_with("H1 H2") && headings.matches("H1").count() == 1,
        "{headings}"
    );
    let unnamed = "return [...document.querySelectorAll('section, form[id]')].filter((s) => !s.ariaLabelledByElements?.length && !document.getElementById(s.getAttribute('aria-labelledby'))).length";
    ensure!(browser.run(unnamed)? == 0, "every part has a heading");
    ensure!(browser.complaints()?.is_empty());
    Ok(())
}
