//! Who may do what, with real daemons and the command line.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    patience,
};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

/// A node that finds nobody by itself.
fn quiet() -> anyhow::Result<Home> {
    Ok(Home::new(PROGRAM)?.set("mdns.enabled=false"))
}

/// A home whose configuration knows a peer.
fn knows(home: Home, friend: &Daemon) -> anyhow::Result<Home> {
    let home = home.set(format!("peer.friend.id=\"{}\"", friend.peer_id()?));
    Ok(home.set("peer.friend.groups=[\"family\"]"))
}

fn write(path: &Path, bytes: &str) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().context("a directory")?)?;
    Ok(fs::write(path, bytes)?)
}

/// Gets it once; the exit status.
fn get(taker: &Daemon, link: &str, to: &str) -> anyhow::Result<i32> {
    let got = taker.run(["get", "--timeout", "2s", link, "-o", to])?;
    Ok(status(&got))
}

#[test]
fn a_share_with_a_list_is_for_those_on_it_and_stays_so_as_it_changes() -> anyhow::Result<()> {
    let (friend, stranger) = (quiet()?.start()?, quiet()?.start()?);
    let home = knows(quiet()?, &friend)?;
    let films = home.path().join("films");
    write(&films.join("one"), "the first film")?;
    write(&home.path().join("note"), "a note")?;
    let share = format!("share.films.path={:?}", films.to_string_lossy());
    let giver = home
        .set(share)
        .set("share.films.settle=\"50ms\"")
        .set("share.films.allow=[\"group:family\"]")
        .start()?;
    let link_of = |files: u64| {
        patience::until("it is shared", || {
            let status = giver.json(["status"])?;
            Ok(status["shares"][0]["state"] == "shared" && status["shares"][0]["files"] == files)
        })?;
        let listed = giver.json(["file", "ls"])?;
        ensure!(listed["allow"] == json!(["group:family"]), "{listed}");
        Ok(listed["link"].as_str().context("a link")?.to_owned())
    };
    let link = link_of(1)?;
    ensure!(
        get(&stranger, &link, "films")? == 4,
        "it is not there for a stranger"
    );
    ensure!(get(&friend, &link, "films")? == 0);
    ensure!(fs::read_to_string(friend.path().join("films/one"))? == "the first film");

    // What is added to it, by its own id.
    write(&films.join("two"), "the second film")?;
    let link = link_of(2)?;
    let entries = giver.run(["--json", "file", "ls", &link])?;
    let entries = String::from_utf8(entries.stdout)?;
    let two = entries
        .lines()
        .find(|line| line.contains("\"two\""))
        .context("an entry")?;
    let two: serde_json::Value = serde_json::from_str(two)?;
    let cid = two["cid"].as_str().context("its id")?;
    let query = link.split_once('?').context("addresses")?.1;
    let two = format!("cardume:{cid}?{query}");
    ensure!(get(&stranger, &two, "two")? == 4);
    ensure!(get(&friend, &two, "two")? == 0);
    let stat = giver.json(["file", "stat", cid])?;
    ensure!(stat["allow"] == json!(["group:family"]), "{stat}");
    let counted = giver.json(["status"])?;
    ensure!(counted["denied"]["fetch"].as_u64() > Some(0), "{counted}");
    patience::until("it is written down", || {
        Ok(giver.log().contains("denied; more of this peer"))
    })?;

    // By the command line, and after a restart.
    let wrong = giver.run(["share", "--allow", "frend", "note"])?;
    ensure!(
        status(&wrong) == 2 && error(&wrong).contains("frend"),
        "{}",
        error(&wrong)
    );
    let note = giver.json(["share", "--allow", "friend", "note"])?;
    ensure!(note["allow"] == json!(["friend"]), "{note}");
    let (home, _) = giver.stop()?;
    let giver = home.start()?;
    let link = giver.json(["share", "note"])?;
    ensure!(
        link["allow"] == json!(["friend"]),
        "sharing it again opens nothing: {link}"
    );
    let link = link["link"].as_str().context("a link")?;
    ensure!(get(&stranger, link, "note")? == 4);
    ensure!(get(&friend, link, "note")? == 0);
    Ok(())
}

#[test]
fn a_relay_with_a_list_keeps_places_for_those_on_it() -> anyhow::Result<()> {
    let friend_home = quiet()?.start()?;
    let relay = knows(quiet()?, &friend_home)?
        .set("nat.relay_server=true")
        .set("nat.relay_limits.allow=[\"friend\"]")
        .start()?;
    let relays = format!("nat.relays=[{:?}]", relay.address(false)?);
    let (home, _) = friend_home.stop()?;
    let friend = home.set(relays.clone()).start()?;
    let stranger = quiet()?.set(relays).start()?;
    patience::until("a place for who is on the list", || {
        Ok(friend.json(["net", "relays"])?[0]["state"] == "held")
    })?;
    patience::until("none for who is not", || {
        let denied = relay.json(["status"])?["denied"]["reserve"].as_u64();
        let place = &stranger.json(["net", "relays"])?[0];
        Ok(denied > Some(0) && place["state"] != "held" && !place["problem"].is_null())
    })?;
    Ok(())
}

/// Waits until the one root of a node is for those on this list; its link.
fn link_for(node: &Daemon, list: &str) -> anyhow::Result<String> {
    let mut link = None;
    patience::until("a root with a list", || {
        let listed = node.run(["--json", "file", "ls"])?;
        let root: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        if root["allow"] == json!([list]) {
            link = root["link"].as_str().map(ToOwned::to_owned);
        }
        Ok(link.is_some())
    })?;
    link.context("a link")
}

#[test]
fn what_a_fetch_with_a_list_brings_is_for_those_on_it() -> anyhow::Result<()> {
    let (friend, stranger) = (quiet()?.start()?, quiet()?.start()?);
    let source = quiet()?.start()?;
    write(&source.path().join("films/one"), "the first film")?;
    let shared = source.json(["share", "films"])?;
    let home = knows(quiet()?, &friend)?;
    let to = home.path().join("films");
    let keeper = home
        .set(format!("fetch.films.from={}", shared["link"]))
        .set(format!("fetch.films.to={:?}", to.to_string_lossy()))
        .set("fetch.films.allow=[\"group:family\"]")
        .start()?;
    let link = link_for(&keeper, "group:family")?;
    source.stop()?;
    ensure!(get(&stranger, &link, "films")? == 4);
    ensure!(get(&friend, &link, "films")? == 0);
    ensure!(fs::read_to_string(friend.path().join("films/one"))? == "the first film");

    // Another list is in force as soon as what is there has been looked at.
    friend.stop()?;
    let other = stranger.peer_id()?;
    let keeper = keeper.stop()?.0.set(format!("fetch.films.allow=[{other:?}]"));
    let keeper = keeper.start()?;
    let link = link_for(&keeper, &other)?;
    ensure!(get(&stranger, &link, "films")? == 0);
    Ok(())
}

#[test]
fn what_a_follow_with_a_list_brings_is_for_those_on_it() -> anyhow::Result<()> {
    let (friend, stranger) = (quiet()?.start()?, quiet()?.start()?);
    let publisher = quiet()?.start()?;
    let made = publisher.json(["channel", "create", "app"])?;
    write(&publisher.path().join("app/first"), "version 1")?;
    publisher.json(["channel", "publish", "app", "app"])?;
    let home = knows(quiet()?, &friend)?;
    let to = home.path().join("app");
    let follower = home
        .set(format!("connect.bootstrap=[{:?}]", publisher.address(true)?))
        .set(format!("follow.app.channel={}", made["channel"]))
        .set(format!("follow.app.to={:?}", to.to_string_lossy()))
        .set("follow.app.poll=\"1s\"")
        .set("follow.app.allow=[\"friend\"]")
        .start()?;
    let link = link_for(&follower, "friend")?;
    publisher.stop()?;
    ensure!(get(&stranger, &link, "app")? == 4);
    ensure!(get(&friend, &link, "app")? == 0);
    ensure!(fs::read_to_string(friend.path().join("app/first"))? == "version 1");
    Ok(())
}
