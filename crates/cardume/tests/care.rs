//! What is stored, kept well: by real daemons, through the command line.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    files,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A giver that shares a file of 6 MiB, and a taker that has got it.
fn pair() -> anyhow::Result<(Daemon, Daemon, String)> {
    let (giver, taker) = (Home::new(PROGRAM)?.start()?, Home::new(PROGRAM)?.start()?);
    files::random_file(&giver.path().join("film"), 6 << 20, 5)?;
    let shared = giver.json(["share", "film"])?;
    let link = shared["link"].as_str().context("link")?;
    let got = taker.run(["get", link, "-o", "film"])?;
    ensure!(got.status.success(), "{}", error(&got));
    // It is listed once the disk has it for good.
    let began = Instant::now();
    while taker.run(["file", "ls"])?.stdout.is_empty() {
        ensure!(began.elapsed() < PATIENCE, "what was got is listed");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok((giver, taker, link.to_owned()))
}

#[test]
fn what_is_broken_is_found_and_made_whole_or_told() -> anyhow::Result<()> {
    let (giver, taker, link) = pair()?;
    let path = taker.path().join("film");
    let right = fs::read(&path)?;
    let mut wrong = right.clone();
    *wrong.get_mut(3 << 20).context("a byte")? ^= 1;
    fs::write(&path, &wrong)?;
    for _ in 0..2 {
        let verified = taker.run(["file", "verify"])?;
        ensure!(status(&verified) == 7, "{}", error(&verified));
    }
    let repaired = taker.json(["file", "repair", &link])?;
    ensure!(
        repaired["repaired"] == 1 && repaired["left"] == serde_json::json!([]),
        "{repaired}"
    );
    ensure!(
        repaired["fetched"].as_u64() <= Some(3 << 20),
        "pieces, not the file: {repaired}"
    );
    ensure!(fs::read(&path)? == right, "as it was");
    ensure!(
        taker.run(["file", "verify", &link])?.status.success(),
        "all right"
    );

    // The giver's own file: told of, and left alone unless it says so.
    let path = giver.path().join("film");
    fs::write(&path, &wrong)?;
    let left = giver.run(["file", "repair"])?;
    ensure!(status(&left) == 7, "{}", error(&left));
    ensure!(fs::read(&path)? == wrong, "never overwritten");
    let taker_at = taker.address(true)?;
    let repaired = giver.json(["file", "repair", "--overwrite", &link, "--peer", &taker_at])?;
    ensure!(repaired["repaired"] == 1, "{repaired}");
    ensure!(fs::read(&path)? == right, "as it was");
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_before_it_starts_and_garbage_gives_room() -> anyhow::Result<()> {
    let (_giver, taker, link) = pair()?;
    let small = Home::new(PROGRAM)?.set("store.quota=4MiB").start()?;
    files::random_file(&small.path().join("copy"), 3 << 20, 6)?;
    let copy = small.json(["share", "--copy", "copy"])?;
    files::random_file(&small.path().join("more"), 3 << 20, 7)?;
    let refused = small.run(["share", "--copy", "more"])?;
    ensure!(status(&refused) == 9, "{}", error(&refused));
    ensure!(error(&refused).contains("store.quota"), "{}", error(&refused));
    // What lies outside the store takes only its tree.
    let got = small.run(["get", "--sync", &link, "-o", "film"])?;
    ensure!(got.status.success(), "{}", error(&got));
    let du = small.json(["file", "du"])?;
    ensure!(
        du["quota"] == 4 << 20 && du["data"] == 3 << 20 && du["in_place"] == 6 << 20,
        "{du}"
    );
    let cid = copy["cid"].as_str().context("cid")?;
    let one = small.json(["file", "du", cid])?;
    ensure!(one["roots"][0]["data"] == 3 << 20, "{one}");

    ensure!(small.run(["file", "rm", cid])?.status.success(), "forgotten");
    let collected = small.json(["file", "gc"])?;
    ensure!(collected["bytes"].as_u64() >= Some(3 << 20), "{collected}");
    ensure!(
        small.run(["share", "--copy", "more"])?.status.success(),
        "there is room again"
    );
    let status_now = small.json(["status"])?;
    ensure!(
        status_now["store"]["state"] == "ok" && status_now["store"]["quota"] == 4 << 20,
        "{status_now}"
    );

    let full = Home::new(PROGRAM)?.set("store.keep_free=1000TiB").start()?;
    let refused = full.run(["get", &link, "-o", "film"])?;
    ensure!(
        status(&refused) == 9 && error(&refused).contains("store.keep_free"),
        "{}",
        error(&refused)
    );
    ensure!(
        fs::read_dir(full.path())?
            .all(|entry| entry.is_ok_and(|entry| { !entry.file_name().to_string_lossy().contains("film") })),
        "nothing is left"
    );
    drop(taker);
    Ok(())
}
