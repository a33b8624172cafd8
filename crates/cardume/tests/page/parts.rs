//! The doctor, the log, and who serves what.
use std::process::Stdio;

use anyhow::{Context, ensure};
use cardume_testkit::{
    browser::{self, ENTER},
    daemon::{Daemon, Home},
    files::random_file,
};

use super::{PROGRAM, node, opened};

#[test]
fn the_doctor_looks_when_somebody_asks() -> anyhow::Result<()> {
    if !browser::available() {
        return Ok(());
    }
    let nobody = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    let home = Home::new(PROGRAM)?.set(format!("connect.bootstrap=[\"{nobody}\"]"));
    let shown = home.start()?;
    let browser = opened(&shown)?;
    // Two states of the page later it has still not looked.
    let state = "document.querySelector('#node dd').textContent";
    for _ in 0..2 {
        let before = browser.run(&format!("return {state}"))?;
        browser.until(&format!("{state} !== {before}"))?;
    }
    ensure!(browser.run("return document.querySelectorAll('.findings').length")? == 0);
    browser.click("#check")?;
    browser.until("document.querySelector('#checked').textContent === '1 thing is wrong'")?;
    let first = browser.run("return document.querySelector('.findings li').textContent")?;
    let first = first.as_str().context("text")?;
    ensure!(
        first.starts_with("wrongbootstrap") && first.contains("no bootstrap peer answers"),
        "{first}"
    );
    ensure!(first.contains("→ see that they run"), "{first}");

    // It finds what the command finds.
    let told = shown.run(["--json", "doctor"])?;
    let told: serde_json::Value = serde_json::from_slice(&told.stdout)?;
    let mut told: Vec<String> = told["findings"]
        .as_array()
        .context("findings")?
        .iter()
        .map(|one| format!("{} {}", one["check"], one["state"]).replace('"', ""))
        .collect();
    let seen = "return [...document.querySelectorAll('.findings li')]
        .map((li) => `${li.querySelector('.check').textContent} ${li.querySelector('.word').textContent}`)";
    let seen = browser.run(seen)?;
    let mut seen: Vec<String> = serde_json::from_value(seen)?;
    told.sort();
    seen.sort();
    ensure!(seen == told, "{seen:?} is not {told:?}");
    ensure!(browser.complaints()?.is_empty());
    Ok(())
}

#[test]
fn the_log_is_shown_as_it_is_written_to_who_may_read_it() -> anyhow::Result<()> {
    if !browser::available() {
        return Ok(());
    }
    let shown = node()?;
    let browser = opened(&shown)?;
    let has = |text: &str| format!("document.querySelector('#lines').textContent.includes({text:?})");
    browser.until(&has("ready"))?;
    let peer = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    ensure!(shown.run(["peer", "block", peer])?.status.success());
    browser.until(&has(&format!("blocked peer={peer}")))?;
    browser.until("document.querySelector('#lines .level.info').textContent === 'info'")?;
    let at_end = "document.querySelector('#lines').scrollTop + document.querySelector('#lines').clientHeight
        >= document.querySelector('#lines').scrollHeight - 8";
    browser.until(at_end)?;
    ensure!(browser.complaints()?.is_empty());

    let token = shown.json(["token", "new", "eye", "--scope", "read"])?;
    let secret = token["secret"].as_str().context("a secret")?;
    browser.click("header button")?;
    browser.until("document.querySelector('#token')")?;
    browser.write("#token", &format!("{secret}{ENTER}"))?;
    browser.until("document.querySelector('main#live #node')")?;
    let more = "return document.querySelectorAll('#log, #doctor, #get').length";
    ensure!(browser.run(more)? == 0, "who may only look sees neither");
    for call in ["'/v1/log'", "'/v1/log/stream'", "'/v1/doctor', {method: 'POST'}"] {
        let status = browser.run(&format!("return fetch({call}).then((answer) => answer.status)"))?;
        ensure!(status == 403, "{call}: {status}");
    }
    Ok(())
}

/// A node, and two others that it knows by name. All give so slowly that they can be looked at while they do.
pub(super) fn trio() -> anyhow::Result<[Daemon; 3]> {
    let named = |name: &str, upload: &str| {
        let home = Home::new(PROGRAM)?.set(format!("node.name={name:?}"));
        anyhow::Ok(home.set(format!("rates.upload=\"{upload}\"")))
    };
    let (ana, ben) = (
        named("ana", "900KB/s")?.start()?,
        named("ben", "200KB/s")?.start()?,
    );
    let mut den = named("den", "600KB/s")?;
    for (name, daemon) in [("ana", &ana), ("ben", &ben)] {
        den = den.set(format!("peer.{name}.id={:?}", daemon.peer_id()?));
    }
    let den = den.start()?;
    for (daemon, name, seed) in [
        (&ana, "harbour.webm", 1),
        (&den, "letters.tar", 2),
        (&ben, "atlas.pdf", 3),
    ] {
        random_file(&daemon.path().join(name), 60_000_000, seed)?;
    }
    Ok([ana, den, ben])
}

/// Has a daemon share a file of its own, and tells its link.
pub(super) fn shared(daemon: &Daemon, name: &str) -> anyhow::Result<String> {
    let shared = daemon.json(["share", name])?;
    Ok(shared["link"].as_str().context("a link")?.to_owned())
}

/// Has a daemon get something, and waits for nothing.
pub(super) fn begin(daemon: &Daemon, link: &str) -> anyhow::Result<()> {
    let mut command = daemon.command();
    command.args(["get", link, "-o", "got"]);
    let mut get = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // It ends with the daemon that it asks.
    std::thread::spawn(move || get.wait());
    Ok(())
}

#[test]
fn who_serves_what_is_drawn_and_told_in_words() -> anyhow::Result<()> {
    if !browser::available() {
        return Ok(());
    }
    let [ana, den, ben] = trio()?;
    let browser = opened(&den)?;
    browser.until("document.querySelector('#flows').textContent.includes('just now')")?;
    begin(&ben, &shared(&den, "letters.tar")?)?;
    browser.write("#link", &format!("{}{ENTER}", shared(&ana, "harbour.webm")?))?;
    let has = |text: &str| {
        format!("document.querySelector('svg.flows')?.getAttribute('aria-label').match(/{text}/)")
    };
    browser.until(&has("ana serves harbour.webm to den, [1-9][0-9.]* KiB"))?;
    browser.until(&has("den serves letters.tar to ben, [1-9][0-9.]* KiB"))?;
    browser.until("document.querySelector('svg.flows path.line.received') && document.querySelector('svg.flows path.line.sent')")?;
    browser.click("#flows-table summary")?;
    let rows = "return [...document.querySelectorAll('#flows-table tbody tr')].map((row) => row.cells[0].textContent + ' ' + row.cells[1].textContent)";
    ensure!(browser.run(rows)? == serde_json::json!(["ana serves this node", "ben is served"]));
    ensure!(browser.complaints()?.is_empty());
    Ok(())
}
