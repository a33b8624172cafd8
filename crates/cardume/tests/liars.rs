//! Peers that lie, stall, or offer content that is itself an attack.

use std::{fs, path::Path, process::Output};

use anyhow::{Context, anyhow, ensure};
use cardume_content::{
    Cid, Hash, Manifest,
    manifest::{Entry, Name, Node},
};
use cardume_testkit::{
    daemon::{Daemon, Home},
    files,
    liar::{Liar, Manner},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?)
}

fn get(taker: &Home, cid: &str, peers: &[&str]) -> anyhow::Result<Output> {
    let mut arguments = vec!["--json", "get", cid, "-o", "got"];
    for peer in peers {
        arguments.extend(["--peer", peer]);
    }
    taker.run(arguments)
}

/// A daemon that does not look for long when everybody has failed.
fn taker() -> anyhow::Result<Daemon> {
    Home::new(PROGRAM)?.set(r#"exchange.give_up_after="1s""#).start()
}

/// Runs `test` with each of `cases` at the same time: what takes long is waiting.
fn each<T: Sync>(cases: &[T], test: impl Fn(&T) -> anyhow::Result<()> + Sync) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let running: Vec<_> = cases.iter().map(|case| scope.spawn(|| test(case))).collect();
        running
            .into_iter()
            .try_for_each(|test| test.join().map_err(|_| anyhow!("a case panicked"))?)
    })
}

#[test]
fn whatever_a_liar_does_the_file_comes_right_from_the_honest_peer() -> anyhow::Result<()> {
    let giver = Home::new(PROGRAM)?.start()?;
    let film = giver.path().join("film");
    files::random_file(&film, 6_000_001, 5)?;
    let bytes = fs::read(&film)?;
    let cid = giver.json(["share", "film"])?["cid"]
        .as_str()
        .context("cid")?
        .to_owned();
    let honest = giver.address(true)?;
    let runtime = runtime()?;
    let manners = [
        Manner::WrongByte,
        Manner::WrongSize,
        Manner::WrongRange,
        Manner::CutsShort,
        Manner::Stalls,
    ];
    each(&manners, |&manner| {
        let liar = runtime.block_on(Liar::start(manner, vec![bytes.clone()]))?;
        let taker = taker()?;
        let output = get(&taker, &cid, &[&liar.address.to_string(), &honest])?;
        ensure!(
            output.status.success(),
            "{manner:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(
            fs::read(taker.path().join("got"))? == bytes,
            "{manner:?}: the file is right"
        );
        if manner != Manner::Stalls {
            let peers = taker.run(["--json", "peer", "ls"])?;
            let liar_id = liar
                .address
                .to_string()
                .rsplit('/')
                .next()
                .context("peer id")?
                .to_owned();
            let listed = String::from_utf8_lossy(&peers.stdout).contains(&liar_id);
            ensure!(!listed, "{manner:?}: the liar is cut off");
        }
        Ok(())
    })
}

#[test]
fn a_liar_alone_gets_nothing_written_and_nothing_called_done() -> anyhow::Result<()> {
    let bytes = vec![7; 3_000_000];
    let cid = Cid::blob(Hash::of(&bytes)).to_string();
    let runtime = runtime()?;
    let manners = [
        Manner::WrongByte,
        Manner::WrongSize,
        Manner::WrongRange,
        Manner::CutsShort,
    ];
    each(&manners, |&manner| {
        let liar = runtime.block_on(Liar::start(manner, vec![bytes.clone()]))?;
        let taker = taker()?;
        let output = get(&taker, &cid, &[&liar.address.to_string()])?;
        ensure!(output.status.code() == Some(7), "{manner:?}: {output:?}");
        ensure!(
            !taker.path().join("got").exists(),
            "{manner:?}: nothing is called done"
        );
        let held = taker
            .json(["file", "stat", &cid])
            .is_ok_and(|stat| stat["held"] == true);
        ensure!(!held, "{manner:?}: nothing is served on");
        Ok(())
    })
}

/// A manifest with one entry, in which `from` is replaced by `to` after it was made: what an honest program
/// would not make.
fn forged(entry: Entry, from: &[u8], to: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Manifest::new(vec![entry])?.encode();
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .context("what to replace")?;
    ensure!(from.len() == to.len());
    bytes
        .get_mut(at..at + to.len())
        .context("in range")?
        .copy_from_slice(to);
    Ok(bytes)
}

fn file(name: &str, size: u64) -> anyhow::Result<Entry> {
    let cid = Cid::blob(Hash::of(b"x"));
    Ok(Entry {
        name: Name::new(name)?,
        node: Node::File {
            cid,
            size,
            executable: false,
        },
    })
}

#[test]
fn a_hostile_manifest_is_refused_before_anything_is_written() -> anyhow::Result<()> {
    const ODD_SIZE: u64 = 0x0102_0304_0506_0708;
    let link = Entry {
        name: Name::new("link")?,
        node: Node::Symlink {
            target: "aaaaaaaaaaa".into(),
        },
    };
    // A byte string in which a definite array claims a million elements (RFC 8949, major type 4).
    let claims = [&[0x82, 0x01, 0x9a, 0x00, 0x0f, 0x42, 0x40][..], &[0u8; 93][..]].concat();
    let hostile = [
        ("a name that climbs", forged(file("AAAA", 1)?, b"AAAA", b"../x")?),
        (
            "an absolute name",
            forged(file("AAAAAA", 1)?, b"AAAAAA", b"/etc/x")?,
        ),
        ("a symlink out", forged(link, b"aaaaaaaaaaa", b"../../etc/x")?),
        (
            "a size of 2^63",
            forged(
                file("AAAA", ODD_SIZE)?,
                &ODD_SIZE.to_be_bytes(),
                &(1u64 << 63).to_be_bytes(),
            )?,
        ),
        ("a million entries in a hundred bytes", claims),
    ];
    let runtime = runtime()?;
    each(&hostile, |(what, bytes)| {
        let cid = Cid::directory(Hash::of(bytes)).to_string();
        let liar = runtime.block_on(Liar::start(Manner::Honest, vec![bytes.clone(), b"x".to_vec()]))?;
        let taker = taker()?;
        let before = tree(taker.path())?;
        let output = get(&taker, &cid, &[&liar.address.to_string()])?;
        ensure!(!output.status.success(), "{what}: refused");
        ensure!(!output.stderr.is_empty(), "{what}: with a word why");
        ensure!(
            tree(taker.path())? == before,
            "{what}: nothing is written, not even a temporary file"
        );
        ensure!(!Path::new("/etc/x").exists(), "{what}");
        Ok(())
    })
}

/// Names beside the daemon's own files.
fn tree(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(path)?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| !matches!(name.as_str(), "log" | "s" | "data"));
    names.sort();
    Ok(names)
}
