//! A fleet that follows a channel: real daemons, real files, the command line.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use anyhow::{Context, ensure};
use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    files,
    patience::{PATIENCE, until},
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

/// A publisher with the channel `app`; its id and address.
fn publisher() -> anyhow::Result<(Daemon, String, String)> {
    let daemon = Home::new(PROGRAM)?.start()?;
    let made = daemon.json(["channel", "create", "app"])?;
    let id = made["channel"].as_str().context("channel")?.to_owned();
    let address = daemon.address(true)?;
    Ok((daemon, id, address))
}

/// A node that is to follow `id` at `app`, and knows the nodes at `others`.
fn follower(id: &str, others: &[&str]) -> anyhow::Result<Home> {
    let home = Home::new(PROGRAM)?;
    let to = home.path().join("app").display().to_string();
    let others = serde_json::to_string(others)?;
    Ok(home
        .set(format!("connect.bootstrap={others}"))
        .set(format!("follow.app.channel={id:?}"))
        .set(format!("follow.app.to={to:?}"))
        .set("follow.app.poll=\"1s\""))
}

fn publish(daemon: &Daemon, path: &Path) -> anyhow::Result<u64> {
    let path = path.to_str().context("a text")?;
    let published = daemon.json(["channel", "publish", "app", path])?;
    published["number"].as_u64().context("number")
}

fn row(daemon: &Daemon) -> anyhow::Result<Value> {
    daemon.json(["channel", "follow", "app"])
}

/// Waits until a version is there.
fn present(daemon: &Daemon, number: u64) -> anyhow::Result<Value> {
    let mut last = Value::Null;
    let waited = until("the version", || {
        last = row(daemon)?;
        Ok(last["present"] == number && last["state"] == "present")
    });
    waited.with_context(|| last.to_string())?;
    Ok(last)
}

/// Waits until an event says that a version is there: one that is kept, or one to come.
fn is_told(daemon: &Daemon, number: u64) -> anyhow::Result<()> {
    let mut command = daemon.command();
    command.args(["--json", "events", "--after", "of another run"]);
    let mut telling = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(telling.stdout.take().context("its output")?).lines();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let mut heard = Ok(Value::Null);
    while heard
        .as_ref()
        .is_ok_and(|event| event["event"] != "follow" || event["number"] != number)
    {
        heard = told
            .recv_timeout(PATIENCE)
            .map_err(anyhow::Error::new)
            .and_then(|line| Ok(serde_json::from_str(&line)?));
    }
    telling.kill()?;
    telling.wait()?;
    let event = heard.context("nothing is told")?;
    ensure!(event["name"] == "app" && event["cid"].is_string(), "{event}");
    Ok(())
}

/// A tree of `files` files that all say which version they are of in their first line, besides what differs from file to
/// file only; `changed` of them differ otherwise.
fn tree(path: &Path, files: u64) -> anyhow::Result<()> {
    files::random_tree(path, files, 20_000)?;
    fs::write(path.join("first"), "1")?;
    fs::write(path.join("last"), "1")?;
    Ok(())
}

fn change(path: &Path, version: u64, files: u64) -> anyhow::Result<()> {
    for file in 0..files {
        let path = path.join(format!("d0000/f{file:06}"));
        fs::remove_file(&path)?;
        files::random_file(&path, 20_000, 1_000_000 * version + file)?;
    }
    for name in ["first", "last"] {
        fs::write(path.join(name), version.to_string())?;
    }
    Ok(())
}

/// Reads a place again and again, as a program does that opens it and then reads; counts what was mixed or missing.
struct Reader {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<anyhow::Result<u64>>,
}

impl Reader {
    fn start(place: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut reads = 0;
            while !stopped.load(Ordering::Relaxed) {
                let opened = fs::canonicalize(&place).context("the place leads somewhere")?;
                let first = fs::read_to_string(opened.join("first")).context("the first file")?;
                let last = fs::read_to_string(opened.join("last")).context("the last file")?;
                ensure!(first == last, "version {first} and version {last} at once");
                reads += 1;
            }
            Ok(reads)
        });
        Self { stop, thread }
    }

    fn end(self) -> anyhow::Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the reader")?
    }
}

/// Has somebody say on the channel's topic what is no record of it, which is refused and counted.
fn refuses(follower: &Daemon, id: &str) -> anyhow::Result<()> {
    let liar = Home::new(PROGRAM)?
        .set(format!("connect.bootstrap=[{:?}]", follower.address(true)?))
        .start()?;
    let topic = format!("cardume-channel/{id}");
    files::random_file(&liar.path().join("large"), 20_000, 1)?;
    liar.json(["topic", "pub", &topic, "--wait", "1m", "nonsense"])?;
    liar.json(["topic", "pub", &topic, "--file", "large"])?;
    for reason in ["malformed", "oversized"] {
        let count = format!("cardume_channel_records_refused_total{{reason=\"{reason}\"}} 1\n");
        until(&count, || Ok(follower.ask("/metrics")?.contains(&count)))?;
    }
    Ok(())
}

#[test]
fn a_fleet_fetches_what_has_changed_and_never_sees_half_of_it() -> anyhow::Result<()> {
    let (publisher, id, address) = publisher()?;
    let source = publisher.path().join("build");
    tree(&source, 2_000)?;
    let first = follower(&id, &[&address])?.start()?;
    ensure!(publish(&publisher, &source)? == 1, "the first");
    let all = present(&first, 1)?["fetched"].as_u64().context("fetched")?;
    ensure!(all >= 2_000 * 20_000, "{all}");
    let inode = |path: &str| -> anyhow::Result<u64> {
        use std::os::unix::fs::MetadataExt;
        Ok(fs::metadata(first.path().join("app").join(path))?.ino())
    };
    let before = inode("d0019/f001999")?;

    let reader = Reader::start(first.path().join("app"));
    change(&source, 2, 20)?;
    ensure!(publish(&publisher, &source)? == 2, "the second");
    let row = present(&first, 2)?;
    let fetched = row["fetched"].as_u64().context("fetched")?;
    println!("{all} bytes at first, and then {fetched} for 400,000 that have changed");
    ensure!(
        (400_000..410_000).contains(&fetched),
        "1 % has changed: {fetched} bytes"
    );
    ensure!(
        inode("d0019/f001999")? == before,
        "what has not changed is not written again"
    );
    ensure!(row["versions"] == serde_json::json!([1, 2]), "{row}");

    // Back, until told otherwise, and on.
    let held = first.json(["channel", "follow", "app", "--at", "1"])?;
    ensure!(held["held"] == 1, "{held}");
    present(&first, 1)?;
    ensure!(
        fs::read_to_string(first.path().join("app/first"))? == "1",
        "the old one"
    );
    change(&source, 3, 3)?;
    publish(&publisher, &source)?;
    until("the newest to be known", || Ok(self::row(&first)?["newest"] == 3))?;
    ensure!(self::row(&first)?["present"] == 1, "held");
    let unknown = first.run(["channel", "follow", "app", "--at", "9"])?;
    ensure!(status(&unknown) == 4, "{}", error(&unknown));
    first.json(["channel", "follow", "app", "--newest"])?;
    present(&first, 3)?;
    is_told(&first, 3)?;
    ensure!(reader.end()? > 0, "it has read");
    refuses(&first, &id)?;

    // The publisher is gone: one other follower is enough, for the record and for the content.
    let other = first.address(true)?;
    let (home, _) = publisher.stop()?;
    let second = follower(&id, &[&other])?.start()?;
    present(&second, 3)?;
    ensure!(
        fs::read_to_string(second.path().join("app/last"))? == "3",
        "the newest"
    );
    drop(home);
    Ok(())
}

/// What lies at the place: which version, whole.
fn whole(home: &Home) -> anyhow::Result<u64> {
    let opened = fs::canonicalize(home.path().join("app")).context("the place leads somewhere")?;
    let [first, last] = ["first", "last"].map(|name| fs::read_to_string(opened.join(name)));
    let (first, last) = (first?, last?);
    ensure!(first == last, "version {first} and version {last} at once");
    let files: u64 = fs::read_dir(opened)?
        .filter_map(|entry| Some(fs::read_dir(entry.ok()?.path()).ok()?.count() as u64))
        .sum();
    ensure!(files == 100, "{files} files");
    Ok(first.parse()?)
}

/// The number in the name of a version.
fn number(version: &Path) -> Option<u64> {
    version.file_name()?.to_str()?.split_once('-')?.0.parse().ok()
}

/// Numbers of the versions that are complete.
fn versions(home: &Home) -> Vec<u64> {
    let mut numbers: Vec<u64> = names(home)
        .iter()
        .filter_map(|name| number(Path::new(name)))
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Names in the directory of the versions.
fn names(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.path().join(".app.versions"));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_follower_that_is_away_or_killed_ends_at_the_newest_version() -> anyhow::Result<()> {
    let (publisher, id, address) = publisher()?;
    let source = publisher.path().join("build");
    tree(&source, 100)?;
    publish(&publisher, &source)?;
    let next = |version: u64| -> anyhow::Result<()> {
        change(&source, version, 2)?;
        ensure!(publish(&publisher, &source)? == version, "numbers go on");
        Ok(())
    };
    let follower = follower(&id, &[&address])?;
    let told = follower.path().join("told");
    let script = format!("echo $CHANNEL_NUMBER >> {}", told.display());
    let on_update = serde_json::json!(["/bin/sh", "-c", script]);
    let follower = follower
        .set(format!("follow.app.on_update={on_update}"))
        .set("follow.app.keep=1")
        .start()?;
    present(&follower, 1)?;

    // Down for three versions: it ends at the last, and has never had the others.
    let (home, _) = follower.stop()?;
    for version in 2..=4 {
        next(version)?;
    }
    let mut follower = home.start()?;
    present(&follower, 4)?;
    ensure!(whole(&follower)? == 4, "the last");
    until("the old one to be all that is kept", || {
        Ok(versions(&follower) == [1, 4])
    })?;

    // Killed while it fetches, when the version is complete, and when it has just been switched to.
    for (version, point) in [(5, "fetching"), (6, "complete"), (7, "switched")] {
        next(version)?;
        let place = follower.path().join("app");
        let leads = || fs::read_link(&place).is_ok_and(|to| number(&to) == Some(version));
        until(point, || {
            let is_coming = || {
                names(&follower)
                    .iter()
                    .any(|name| name.ends_with(".cardume-part"))
            };
            let is_complete = || versions(&follower).contains(&version);
            Ok(leads() || point == "complete" && is_complete() || point == "fetching" && is_coming())
        })?;
        let home = follower.kill()?;
        let there = whole(&home)?;
        ensure!(
            there == version || there + 1 == version,
            "{there} when killed {point}"
        );
        follower = home.start()?;
        present(&follower, version)?;
        ensure!(whole(&follower)? == version, "it went on");
    }
    let ran = || fs::read_to_string(&told).unwrap_or_default();
    until(
        "the program to have run",
        || Ok(ran().lines().last() == Some("7")),
    )?;
    ensure!(ran().starts_with("1\n4\n"), "{}", ran());
    Ok(())
}

#[test]
fn a_file_is_published_whenever_it_changes_and_fetched_by_its_channel() -> anyhow::Result<()> {
    let home = Home::new(PROGRAM)?;
    let file = home.path().join("notes");
    fs::write(&file, "one")?;
    let publisher = home
        .set(format!("publish.notes.path={:?}", file.display().to_string()))
        .set("publish.notes.settle=\"100ms\"")
        .start()?;
    let newest = || publisher.json(["channel", "show", "notes"]);
    until("the first version", || Ok(newest()?["number"] == 1))?;
    let id = newest()?["channel"].as_str().context("channel")?.to_owned();
    let reader = Home::new(PROGRAM)?;
    let to = reader.path().join("notes");
    let reader = reader
        .set(format!("connect.bootstrap={:?}", [publisher.address(true)?]))
        .set(format!("fetch.notes.from={id:?}"))
        .set(format!("fetch.notes.to={:?}", to.display().to_string()))
        .start()?;
    let reads = |text: &str| {
        until(
            text,
            || Ok(fs::read_to_string(&to).is_ok_and(|read| read == text)),
        )
    };
    reads("one")?;
    // A daemon that is started anew has nothing new to say.
    let publisher = publisher.stop()?.0.start()?;
    fs::write(file.with_extension("new"), "two")?;
    fs::rename(file.with_extension("new"), &file)?;
    until("the second version", || {
        Ok(publisher.json(["channel", "show", "notes"])?["number"] == 2)
    })?;
    let refused = publisher.run(["channel", "publish", "other", "notes"])?;
    ensure!(status(&refused) == 4, "{}", error(&refused));
    let again = publisher.run(["channel", "create", "notes"])?;
    ensure!(status(&again) == 8, "{}", error(&again));
    let name = publisher.run(["channel", "create", "a/b"])?;
    ensure!(status(&name) == 2, "{}", error(&name));
    drop(reader);
    Ok(())
}

#[test]
fn a_directory_is_followed_in_place_file_by_file() -> anyhow::Result<()> {
    let (publisher, id, address) = publisher()?;
    let source = publisher.path().join("build");
    tree(&source, 100)?;
    publish(&publisher, &source)?;
    let follower = follower(&id, &[&address])?
        .set("follow.app.mode=\"in-place\"")
        .start()?;
    present(&follower, 1)?;
    let place = follower.path().join("app");
    ensure!(place.symlink_metadata()?.is_dir(), "no link");
    fs::write(place.join("mine"), "mine")?;

    change(&source, 2, 2)?;
    fs::remove_file(source.join("d0000/f000099"))?;
    fs::write(source.join("new"), "new")?;
    ensure!(publish(&publisher, &source)? == 2, "the second");
    let fetched = present(&follower, 2)?["fetched"].as_u64().context("fetched")?;
    ensure!(
        (40_000..60_000).contains(&fetched),
        "what has changed: {fetched} bytes"
    );
    ensure!(!place.join("d0000/f000099").exists(), "what is gone goes");
    ensure!(
        fs::read_to_string(place.join("new"))? == "new",
        "what is new comes"
    );
    ensure!(
        fs::read_to_string(place.join("last"))? == "2",
        "what has changed changes"
    );
    ensure!(place.join("mine").exists(), "what was somebody else's stays");

    // Killed while files take their places.
    change(&source, 3, 50)?;
    ensure!(publish(&publisher, &source)? == 3, "the third");
    let coming = place.with_file_name(".app.versions").join(".coming");
    until("files to take their places", || {
        Ok(coming.symlink_metadata().is_ok() || fs::read_to_string(place.join("last"))? == "3")
    })?;
    let follower = follower.kill()?.start()?;
    present(&follower, 3)?;
    for name in ["first", "last"] {
        ensure!(fs::read_to_string(place.join(name))? == "3", "{name}");
    }
    Ok(())
}
