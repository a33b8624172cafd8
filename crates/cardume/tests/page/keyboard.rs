//! The page by the keyboard alone.
use std::fs;

use anyhow::{Context, bail, ensure};
use cardume_testkit::browser::{self, Browser, ENTER, SHIFT, TAB};

use super::{looks::CONTROLS, node, page_of};

/// What has the focus: its id or its words, and whether it is seen to have it.
const FOCUS: &str = "
  const at = document.activeElement;
  const box = at.getBoundingClientRect();
  const style = getComputedStyle(at);
  const isInside = box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  const hasRing = at.matches(':focus-visible') && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  (window.walked ??= new Set()).add(at);
  return [at.id || at.textContent.trim(), isInside && hasRing, at === document.body];";
/// More stops than a page with so little in it has.
const STOPS: usize = 60;

/// Goes on with `key` until something has the focus; all that has it between is seen to have it.
fn walk(browser: &Browser, key: &str, to: &str) -> anyhow::Result<()> {
    let mut passed = Vec::new();
    for _ in 0..STOPS {
        browser.press(key)?;
        let focus = browser.run(FOCUS)?;
        let name = focus[0].as_str().context("a name")?.to_owned();
        // At the end of the page the focus is with the browser's own window for a stop.
        ensure!(
            focus[2] == true || focus[1] == true,
            "{name} has the focus, and nobody sees it"
        );
        if name == to {
            return Ok(());
        }
        passed.push(name);
    }
    bail!("{to} is not reached: {passed:?}")
}

#[test]
fn the_keyboard_alone_is_enough() -> anyhow::Result<()> {
    if !browser::available() {
        return Ok(());
    }
    let (shown, other) = (node()?, node()?);
    fs::write(other.path().join("film"), "a film")?;
    let link = other.json(["share", "film"])?["link"]
        .as_str()
        .context("a link")?
        .to_owned();
    let token = shown.json(["token", "new", "hand", "--scope", "admin"])?;
    let secret = token["secret"].as_str().context("a secret")?;
    let browser = Browser::start()?;
    browser.visit(&page_of(&shown)?.0)?;
    let forwards = TAB.to_string();

    walk(&browser, &forwards, "token")?;
    browser.press(secret)?;
    walk(&browser, &forwards, "Log in")?;
    browser.press(&ENTER.to_string())?;
    browser.until("document.querySelector('main#live #node')")?;

    walk(&browser, &forwards, "link")?;
    browser.press(&format!("{link}{ENTER}"))?;
    browser.until("document.querySelector('#files a[download=film]')")?;
    ensure!(
        browser.run("return document.activeElement.id")? == "link",
        "the focus stays"
    );

    walk(&browser, &forwards, "check")?;
    browser.press(&ENTER.to_string())?;
    browser.until(
        "document.querySelector('#fine') && document.querySelector('#checked').textContent.includes('wrong')",
    )?;
    ensure!(
        browser.run("return document.activeElement.id")? == "check",
        "the focus stays in what is shown anew"
    );
    walk(&browser, &forwards, "lines")?;

    // Back over all that was passed, and what came since.
    walk(&browser, &format!("{SHIFT}{TAB}"), "Log out")?;
    let left_out = format!(
        "return [...document.querySelectorAll(\"{CONTROLS}\")]
           .filter((one) => one.checkVisibility() && !window.walked.has(one)).map((one) => one.outerHTML)"
    );
    ensure!(
        browser.run(&left_out)? == serde_json::json!([]),
        "{}",
        browser.run(&left_out)?
    );
    browser.press(&ENTER.to_string())?;
    browser.until("document.querySelector('#token')")?;
    Ok(())
}
