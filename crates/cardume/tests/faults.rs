//! What must not go wrong when everything else does.

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::{Daemon, Home},
    files, flood,
    line::Line,
    patience::{self, until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

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
        .stderr(Stdio::piped())
        .spawn()?)
}

/// Bytes of content that have come from peers since the daemon started.
fn done(taker: &Daemon) -> anyhow::Result<u64> {
    let output = taker.run(["--json", "peer", "ls"])?;
    let peers = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
    Ok(peers.flatten().filter_map(|peer| peer["received"].as_u64()).sum())
}

#[test]
fn a_fetch_killed_half_way_goes_on_where_it_was() -> anyhow::Result<()> {
    const SIZE: u64 = 200 << 20;
    let (giver, cid, address) = giver(SIZE)?;
    let taker = Home::new(PROGRAM)?.start()?;
    let mut get = begin_get(&taker, &cid, &address)?;
    until("a third of the file", || Ok(done(&taker)? > SIZE / 3))?;
    let taker = taker.kill()?.start()?;
    patience::ended(&mut get)?;
    // It was asked of the daemon, so the daemon goes on with it by itself.
    until("the rest of the file", || Ok(taker.path().join("got").exists()))?;
    let fetched = done(&taker)?;
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
    files::random_file(&giver.path().join("film"), 128 << 20, 4)?;
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
    until("the import to begin", || {
        Ok(giver.json(["status"])?["operations"].as_u64() > Some(0) || share.try_wait()?.is_some())
    })?;
    let giver = giver.kill()?.start()?;
    patience::ended(&mut share)?;
    let shared = giver.json(["share", "film"])?;
    let bare = giver.json(["file", "stat", &expected])?;
    ensure!(
        bare["cid"] == shared["cid"],
        "the CID holds the BLAKE3 digest of the file"
    );
    Ok(())
}

#[test]
fn a_command_whose_daemon_is_killed_and_started_anew_ends_and_says_so() -> anyhow::Result<()> {
    let giver = Home::new(PROGRAM)?.start()?;
    // Nothing but a hole, and long to hash.
    fs::File::create(giver.path().join("film"))?.set_len(64 << 30)?;
    let share = patience::begun(giver.command().args(["share", "film"]))?;
    let giver = giver.kill()?.start()?;
    let ended = patience::output_of(share)?;
    let said = String::from_utf8(ended.stderr)?;
    ensure!(
        ended.status.code() == Some(1) && said.contains("started anew"),
        "{said}"
    );
    drop(giver);
    Ok(())
}

#[test]
fn a_thousand_garbage_connections_stop_neither_a_fetch_nor_the_answers() -> anyhow::Result<()> {
    let (giver, cid, address) = giver(200 << 20)?;
    let taker = Home::new(PROGRAM)?.start()?;
    let mut get = begin_get(&taker, &cid, &address)?;
    until("some of the file", || {
        Ok(done(&taker)? > 1 << 20 || get.try_wait()?.is_some())
    })?;
    let held = flood::garbage(giver.tcp()?, 1_000);
    let more = flood::garbage(taker.tcp()?, 200);
    for node in [&giver, &taker] {
        ensure!(node.json(["status"])?["ready"] == true, "it answers");
    }
    ensure!(
        patience::ended(&mut get)?.success(),
        "the fetch completes: {}",
        taker.log()
    );
    ensure!(files_equal(&giver, &taker)?, "the file is right");
    drop((held, more));
    Ok(())
}

#[test]
fn a_file_that_changes_while_it_is_fetched_is_never_mixed() -> anyhow::Result<()> {
    const SIZE: u64 = 150 << 20;
    let (giver, cid, address) = giver(SIZE)?;
    let original = fs::read(giver.path().join("film"))?;
    let taker = Home::new(PROGRAM)?
        .set(r#"exchange.give_up_after="1s""#)
        .start()?;
    let mut get = begin_get(&taker, &cid, &address)?;
    until("some of the file", || Ok(done(&taker)? > 10 << 20))?;
    files::random_file(&giver.path().join("film"), SIZE, 99)?;
    // Nobody has the old content any more, so the command may only end with all of it, or without it.
    until("the end", || Ok(get.try_wait()?.is_some()))?;
    let output = get.wait_with_output()?;
    let path = taker.path().join("got");
    if output.status.success() {
        ensure!(fs::read(path)? == original, "old content, every byte of it");
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(4), "{output:?}");
    ensure!(said.contains("changed or removed"), "it says why: {said}");
    ensure!(!path.exists(), "nothing is called done");
    Ok(())
}

#[test]
fn a_source_that_turns_away_is_tried_again_for_longer_than_one_that_is_not_there() -> anyhow::Result<()> {
    const TURNED_AWAY: usize = 4;

    let (giver, cid, address) = giver(1 << 20)?;
    let door = TcpListener::bind("127.0.0.1:0")?;
    let busy = address.replace(
        &format!("/tcp/{}/", giver.tcp()?.port()),
        &format!("/tcp/{}/", door.local_addr()?.port()),
    );
    let to = giver.tcp()?;
    thread::spawn(move || -> std::io::Result<()> {
        for turn in 0..TURNED_AWAY {
            let (mut caller, _) = door.accept()?;
            // What is closed unread is reset.
            if turn % 2 == 0 {
                let _ = caller.read(&mut [0; 1 << 10])?;
            }
        }
        let (caller, _) = door.accept()?;
        let callee = TcpStream::connect(to)?;
        let (mut back, mut forth) = (callee.try_clone()?, caller.try_clone()?);
        thread::spawn(move || std::io::copy(&mut back, &mut forth));
        std::io::copy(&mut &caller, &mut &callee).map(drop)
    });
    let taker = Home::new(PROGRAM)?
        .set(r#"exchange.give_up_after="100ms""#)
        .start()?;
    let mut get = begin_get(&taker, &cid, &busy)?;
    ensure!(patience::ended(&mut get)?.success(), "{}", taker.log());
    ensure!(files_equal(&giver, &taker)?, "the file is right");
    Ok(())
}

#[test]
fn a_named_peer_gets_in_while_garbage_holds_every_place() -> anyhow::Result<()> {
    let friend = at("127.0.0.2")?.start()?;
    let stranger = at("127.0.0.3")?.start()?;
    let node = Home::new(PROGRAM)?
        // The garbage stays as long as the test does.
        .set(r#"connect.accept_timeout="2m""#)
        .set(format!(r#"peer.friend.id="{}""#, friend.peer_id()?))
        .set(format!(r#"peer.friend.addresses=["{}"]"#, friend.address(false)?))
        .start()?;
    let mut held = flood::garbage(node.tcp()?, 300);
    let address = node.address(false)?;
    let id = node.peer_id()?;
    // The node may still be taking the garbage in; and what it hung up on may have had a place while others found none.
    until("every place to be taken", || {
        let got_in = stranger.run(["peer", "connect", &address])?.status.success();
        if got_in {
            stranger.run(["peer", "disconnect", &id])?;
            held.extend(flood::garbage(node.tcp()?, 30));
        }
        Ok(!got_in)
    })?;
    let connected = friend.run(["peer", "connect", &address])?;
    ensure!(connected.status.success(), "{connected:?}: {}", node.log());
    drop(held);
    Ok(())
}

#[test]
fn whoever_connects_and_says_nothing_is_hung_up_on() -> anyhow::Result<()> {
    let node = Home::new(PROGRAM)?
        .set(r#"connect.accept_timeout="300ms""#)
        .start()?;
    for mut silent in flood::garbage(node.tcp()?, 6) {
        silent.set_read_timeout(Some(patience::PATIENCE))?;
        // What the node says first may come; then it ends, or is cut off, well before anybody's patience does.
        if let Err(error) = std::io::copy(&mut silent, &mut std::io::sink()) {
            ensure!(error.kind() == std::io::ErrorKind::ConnectionReset, "{error}");
        }
    }
    Ok(())
}

/// A home at an address of its own, which its QUIC connections come from.
fn at(ip: &str) -> anyhow::Result<Home> {
    Ok(Home::new(PROGRAM)?.set(format!(r#"listen.addresses=["/ip4/{ip}/udp/0/quic-v1"]"#)))
}

/// A line that takes long enough for the content to be cut while it comes.
const LINE: Line = Line {
    round_trip: Duration::from_millis(10),
    rate: 20 << 20,
};

/// A fetch whose path dies goes on over another one to the same peer.
fn goes_on_elsewhere(dies_over_tcp: bool) -> anyhow::Result<()> {
    const SIZE: u64 = 32 << 20;
    let (giver, cid, _) = giver(SIZE)?;
    let taker = Home::new(PROGRAM)?.start()?;
    let way = giver.address(dies_over_tcp)?;
    let at = |text: &str| -> anyhow::Result<SocketAddr> {
        let port = text.split('/').nth(4).context("a port")?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port.parse()?)))
    };
    let line = match dies_over_tcp {
        true => LINE.tcp(at(&way)?)?,
        false => LINE.udp(at(&way)?)?,
    };
    let port = way.split('/').nth(4).context("a port")?;
    let through = way.replace(port, &line.at.port().to_string());
    let mut get = begin_get(&taker, &cid, &through)?;
    until("some of the file", || {
        Ok(done(&taker)? > SIZE / 8 || get.try_wait()?.is_some())
    })?;
    // Where else the peer is, the taker has learnt from it.
    line.cut();
    let began = Instant::now();
    let status = patience::ended(&mut get)?;
    ensure!(status.success(), "{status}, after {:?}", began.elapsed());
    ensure!(files_equal(&giver, &taker)?, "the file is right");
    Ok(())
}

#[test]
fn a_fetch_goes_on_when_its_path_over_quic_dies() -> anyhow::Result<()> {
    goes_on_elsewhere(false)
}

#[test]
fn a_fetch_goes_on_when_its_path_over_tcp_dies() -> anyhow::Result<()> {
    goes_on_elsewhere(true)
}
