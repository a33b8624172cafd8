//! Content from a web server, by link, with real daemons.
use std::fs;

use anyhow::{Context, ensure};
use cardume_content::{Cid, Hash};
use cardume_testkit::{
    daemon::{Home, error, status},
    web::{Manner, Web},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

fn home(web: &Web) -> anyhow::Result<Home> {
    let authority = web.authority().to_str().context("a path in UTF-8")?;
    Ok(Home::new(PROGRAM)?
        .set(format!("origin.ca_file={authority:?}"))
        .set("origin.patience=\"200ms\""))
}

#[test]
fn a_link_with_an_origin_is_enough_and_share_prints_it() -> anyhow::Result<()> {
    let web = Web::start()?;
    let node = home(&web)?.start()?;
    let content = b"what operators have on the web already".repeat(50_000);
    web.put("/pub/image.iso", content.clone());
    fs::write(node.path().join("image.iso"), &content)?;
    let shared = node.json(["share", "image.iso", "--origin", &web.url("/pub/")])?;
    let link = shared["link"].as_str().context("a link")?;
    ensure!(link.contains("&w=https://127.0.0.1"), "{link}");
    let refused = node.run(["share", "image.iso", "--origin", "http://example.org/"])?;
    ensure!(status(&refused) == 2, "{}", error(&refused));

    let cid = Cid::blob(Hash::of(&content));
    let link = format!("cardume:{cid}?n=image.iso&w={}", web.url("/pub/"));
    let getter = home(&web)?.start()?;
    let got = getter.json(["get", &link, "-o", "got"])?;
    ensure!(
        got["origin"] == content.len() && got["fetched"] == content.len(),
        "{got}"
    );
    ensure!(
        fs::read(getter.path().join("got"))? == content,
        "the file is right"
    );
    Ok(())
}

#[test]
fn an_origin_with_another_file_is_told_from_one_that_is_not_there() -> anyhow::Result<()> {
    let web = Web::start()?;
    let getter = home(&web)?.set("exchange.give_up_after=\"200ms\"").start()?;
    let content = b"as it was shared".repeat(1_000);
    web.put("/x", content.clone());
    web.behave(Manner::Lies);
    let cid = Cid::blob(Hash::of(&content));
    let wrong = getter.run(["get", &format!("cardume:{cid}?w={}", web.url("/x")), "-o", "got"])?;
    ensure!(status(&wrong) == 7, "{}", error(&wrong));
    ensure!(error(&wrong).contains("do not verify"), "{}", error(&wrong));
    let missing = getter.run(["get", &format!("cardume:{cid}?w={}", web.url("/y")), "-o", "got"])?;
    ensure!(status(&missing) == 4, "{}", error(&missing));
    ensure!(error(&missing).contains("404"), "{}", error(&missing));
    ensure!(!getter.path().join("got").exists(), "nothing is there");
    Ok(())
}
