//! For everybody: light and dark, wide and narrow, read by eyes or by a screen reader.
use std::{fs, path::Path};

use anyhow::{Context, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use cardume_testkit::browser::{self, Browser, ENTER};

use super::{
    node, opened, page_of,
    parts::{begin, shared, trio},
};

/// Everything that can be clicked on or typed into.
pub(super) const CONTROLS: &str = "button, input, a, summary, [tabindex='0']";
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

/// What those who do not see the page go by: one heading of the first rank and no rank left out after it, all in a
/// landmark, and a name for each part.
const ORDER: &str = "
  const wrong = [];
  let rank = 0;
  for (const heading of document.querySelectorAll('h1, h2, h3, h4')) {
    const own = Number(heading.tagName[1]);
    if (own > rank + 1 || (own === 1 && rank > 0)) wrong.push(`heading ${heading.textContent}`);
    rank = own;
  }
  for (const child of document.body.children) {
    if (!['HEADER', 'MAIN'].includes(child.tagName)) wrong.push(`outside of all landmarks: ${child.outerHTML.slice(0, 80)}`);
  }
  for (const part of document.querySelectorAll('section, form[id], [role=group], [role=log]')) {
    if (!document.getElementById(part.getAttribute('aria-labelledby'))) wrong.push(`no name: ${part.outerHTML.slice(0, 80)}`);
  }
  for (const picture of document.querySelectorAll('svg, img')) {
    if (!picture.alt && !picture.getAttribute('aria-label')) wrong.push(`no words: ${picture.outerHTML.slice(0, 80)}`);
  }
  return wrong;";

#[test]
fn it_is_for_everybody_in_light_and_dark_wide_and_narrow() -> anyhow::Result<()> {
    if !browser::available() {
        return Ok(());
    }
    let [ana, den, ben] = trio()?;
    fs::write(ana.path().join("recipes"), "a book")?;
    den.json(["get", &shared(&ana, "recipes")?])?;
    let browser = opened(&den)?;
    let letters = den.path().join("letters.tar");
    browser.write("#file", letters.to_str().context("a path")?)?;
    browser.until("document.querySelector('#said').textContent.startsWith('Shared: cardume:bafk')")?;
    let link = browser.run("return document.querySelector('#said').textContent.slice('Shared: '.length)")?;
    begin(&ben, link.as_str().context("a link")?)?;
    // Something to read in the log.
    let nobody = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
    for line in [
        &["token", "new", "phone", "--scope", "read"][..],
        &["peer", "ping", "ana"],
        &["peer", "block", nobody],
        &["peer", "unblock", nobody],
        &["peer", "ping", "ben"],
        &["reload"],
        &["token", "revoke", "phone"],
    ] {
        ensure!(den.run(line)?.status.success(), "{line:?}");
    }
    for (daemon, name) in [(&ana, "harbour.webm"), (&ben, "atlas.pdf")] {
        browser.write("#link", &format!("{}{ENTER}", shared(daemon, name)?))?;
    }
    browser.click("#check")?;
    browser.until("document.querySelector('#fine')")?;
    browser.until(
        "document.querySelector('#files a') && document.querySelectorAll('#peers tbody tr').length === 2",
    )?;
    let both = "document.querySelector('svg.flows path.line.sent') && document.querySelector('svg.flows path.line.received')";
    browser.until(both)?;
    let samples = match std::env::var_os("CARDUME_PICTURES") {
        Some(_) => 16,
        None => 3,
    };
    browser.until(&format!(
        "document.querySelector('#plot .sent').getAttribute('points').split(' ').length > {samples}"
    ))?;
    for (name, width, scheme) in [
        ("light", 1200, "light"),
        ("dark", 1200, "dark"),
        ("phone", 390, "light"),
    ] {
        browser.look(width, 900, scheme)?;
        let pale = browser.run(PALE)?;
        ensure!(pale == serde_json::json!([]), "{name}: {pale}");
        axe(&browser).context(name)?;
        let over = browser.run("return document.documentElement.scrollWidth - innerWidth")?;
        ensure!(over.as_i64() <= Some(0), "{name}: {over} pixels too wide");
        if let Some(directory) = std::env::var_os("CARDUME_PICTURES") {
            take(
                &browser,
                &Path::new(&directory).join(format!("page-{name}.png")),
                width,
                scheme,
            )?;
        }
    }
    let labels = browser.labels(CONTROLS)?;
    ensure!(
        labels.len() > 6 && labels.iter().all(|label| !label.is_empty()),
        "{labels:?}"
    );
    let wrong = browser.run(ORDER)?;
    ensure!(wrong == serde_json::json!([]), "{wrong}");
    ensure!(browser.complaints()?.is_empty());
    Ok(())
}

#[test]
fn who_is_not_let_in_yet_finds_the_way_too() -> anyhow::Result<()> {
    if !browser::available() {
        return Ok(());
    }
    let daemon = node()?;
    let browser = Browser::start()?;
    // There for a minute: nobody is logged in.
    let (page, _) = page_of(&daemon)?;
    browser.visit(&page)?;
    browser.until("document.querySelector('#token')")?;
    for scheme in ["light", "dark"] {
        browser.look(390, 900, scheme)?;
        let pale = browser.run(PALE)?;
        ensure!(pale == serde_json::json!([]), "{scheme}: {pale}");
        axe(&browser).context(scheme)?;
    }
    let wrong = browser.run(ORDER)?;
    ensure!(wrong == serde_json::json!([]), "{wrong}");
    Ok(())
}

/// Has axe-core look at the page, if a file with it is named: `cargo xtask axe` does.
fn axe(browser: &Browser) -> anyhow::Result<()> {
    let Some(path) = std::env::var_os("CARDUME_AXE") else {
        return Ok(());
    };
    let axe = fs::read_to_string(path)?;
    let found = browser.run(&format!(
        "{axe}; return axe.run().then((seen) => [seen.passes.length, seen.violations.map((rule) => [rule.id, rule.help, rule.nodes.map((node) => node.html)])])"
    ))?;
    ensure!(found[0].as_u64() > Some(0), "it has looked at nothing: {found}");
    ensure!(found[1] == serde_json::json!([]), "{:#}", found[1]);
    Ok(())
}

/// Takes a picture of the whole page.
fn take(browser: &Browser, path: &Path, width: u32, scheme: &str) -> anyhow::Result<()> {
    browser.run("scrollTo(0, 0)")?;
    let height = browser.run("return document.documentElement.scrollHeight")?;
    browser.look(
        width,
        u32::try_from(height.as_u64().context("a height")?)?,
        scheme,
    )?;
    fs::write(path, BASE64.decode(browser.picture()?)?)?;
    Ok(())
}
