//! What must not go wrong when everything else does.

use std::{
    fs,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::{Daemon, Home},
    files, flood,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn wait_for(what: &str, mut done: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !done()? {
        ensure!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Ok(())
}

/// A giver with one shared file of `size` bytes; returns its CID and address.
fn giver(size: u64) -> anyhow::Result<(Daemon, String, String)> {
    let giver = Home::new(PROGRAM)?.start()?;
    files::random_file(&giver.path().join("film"), size, 3)?;
    let cid = giver.json(["share", "film"])?["cid"]
        .as_str()
        .context("cid")?
        .to_owned();
    let address = giver.address(true)?;
    Ok((giver, cid, address))
}

fn begin_get(taker: &Daemon, cid: &str, peer: &str) -> anyhow::Result<Child> {
    let mut command = taker.command();
    command.args(["get", cid, "--peer", peer, "-o", "got"]);
    Ok(command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?)
}

/// Bytes of content that a running or ended operation has brought so far.
fn done(taker: &Daemon) -> anyhow::Result<u64> {
    let part = fs::read_dir(taker.path())?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().ends_with(".cardume-part"));
    use std::os::unix::fs::MetadataExt;
    Ok(part
        .and_then(|entry| entry.metadata().ok())
        .map_or(0, |metadata| metadata.blocks() * 512))
}

#[test]
fn a_fetch_killed_half_way_goes_on_where_it_was() -> anyhow::Result<()> {
    const SIZE: u64 = 400 << 20;
    let (giver, cid, address) = giver(SIZE)?;
    let taker = Home::new(PROGRAM)?.start()?;
    let mut get = begin_get(&taker, &cid, &address)?;
    wait_for("a third of the file", || Ok(done(&taker)? > SIZE / 3))?;
    let taker = taker.kill()?.start()?;
    get.wait()?;
    let got = taker.json(["get", &cid, "--peer", &address, "-o", "got"])?;
    let fetched = got["fetched"].as_u64().context("fetched")?;
    ensure!(
        fetched < SIZE * 2 / 3 + SIZE / 20,
        "{fetched} of {SIZE} bytes came again"
    );
    ensure!(files_equal(&giver, &taker)?, "the file is right");
    Ok(())
}

fn files_equal(giver: &Daemon, taker: &Daemon) -> anyhow::Result<bool> {
    let status = std::process::Command::new("cmp")
        .arg(giver.path().join("film"))
        .arg(taker.path().join("got"))
        .status()?;
    Ok(status.success())
}

#[test]
fn a_share_killed_while_it_hashes_leaves_a_store_that_opens_and_shares_rightly() -> anyhow::Result<()> {
    let giver = Home::new(PROGRAM)?.start()?;
    files::random_file(&giver.path().join("film"), 256 << 20, 4)?;
    let expected = blake3::Hasher::new()
        .update_mmap(giver.path().join("film"))?
        .finalize()
        .to_hex()
        .to_string();
    let mut share = giver
        .command()
        .args(["share", "film"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    wait_for("the import to begin", || {
        Ok(giver.json(["status"])?["operations"].as_u64() > Some(0) || share.try_wait()?.is_some())
    })?;
    let giver = giver.kill()?.start()?;
    share.wait()?;
    let shared = giver.json(["share", "film"])?;
    let bare = giver.json(["file", "stat", &expected])?;
    ensure!(
        bare["cid"] == shared["cid"],
        "the CID holds the BLAKE3 digest of the file"
    );
    Ok(())
}

#[test]
fn a_thousand_garbage_connections_stop_neither_a_fetch_nor_the_answers() -> anyhow::Result<()> {
    let (giver, cid, address) = giver(200 << 20)?;
    let taker = Home::new(PROGRAM)?.start()?;
    let held = flood::garbage(giver.tcp()?, 1_000);
    let mut get = begin_get(&taker, &cid, &address)?;
    let more = flood::garbage(taker.tcp()?, 200);
    ensure!(giver.json(["status"])?["ready"] == true, "the giver answers");
    ensure!(get.wait()?.success(), "the fetch completes: {}", taker.log());
    ensure!(files_equal(&giver, &taker)?, "the file is right");
    drop((held, more));
    Ok(())
}

#[test]
fn a_file_that_changes_while_it_is_fetched_is_never_mixed() -> anyhow::Result<()> {
    let (giver, cid, address) = giver(300 << 20)?;
    let original = fs::read(giver.path().join("film"))?;
    let taker = Home::new(PROGRAM)?.start()?;
    let mut get = begin_get(&taker, &cid, &address)?;
    wait_for("some of the file", || Ok(done(&taker)? > 10 << 20))?;
    files::random_file(&giver.path().join("film"), 300 << 20, 99)?;
    // Nobody has the old content any more, so the command may only end with all of it, or without it.
    let began = Instant::now();
    let status = loop {
        if let Some(status) = get.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > Duration::from_secs(90) {
            get.kill()?;
            get.wait()?;
            break None;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    };
    let path = taker.path().join("got");
    match status {
        Some(status) if status.success() => {
            ensure!(fs::read(path)? == original, "old content, every byte of it")
        }
        _ => ensure!(!path.exists(), "nothing is called done"),
    }
    Ok(())
}
