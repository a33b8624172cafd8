//! The command line, and real daemons on loopback that it talks to.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cardume_testkit::{
    daemon::{Daemon, Home, error, status},
    files::random_file,
    patience,
};
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
/// Nobody has it: 64 times `a`, as BLAKE3.
const UNKNOWN: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn home() -> Home {
    Home::new(PROGRAM).unwrap()
}

fn daemon() -> Daemon {
    home().start().unwrap()
}

/// A tree with a nested file, an empty one, a program and a link.
fn tree(path: &Path) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    fs::create_dir_all(path.join("inner")).unwrap();
    random_file(&path.join("inner/large.bin"), 3_000_000, 1).unwrap();
    fs::write(path.join("empty"), "").unwrap();
    fs::write(path.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(path.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("inner/large.bin", path.join("link")).unwrap();
}

fn same_tree(a: &Path, b: &Path) {
    let output = Command::new("diff").arg("-r").args([a, b]).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(
        fs::read_link(a.join("link")).unwrap(),
        fs::read_link(b.join("link")).unwrap()
    );
}

#[test]
fn what_one_node_shares_another_gets() {
    let (giver, getter) = (daemon(), daemon());
    random_file(&giver.path().join("a.bin"), 5_000_000, 7).unwrap();
    tree(&giver.path().join("tree"));

    let file = giver.json(["share", "a.bin"]).unwrap();
    for key in ["cid", "link", "name", "size", "files"] {
        assert!(!file[key].is_null(), "{key} in {file}");
    }
    let got = getter
        .json(["get", file["link"].as_str().unwrap(), "-o", "b.bin"])
        .unwrap();
    assert_eq!(
        fs::read(getter.path().join("b.bin")).unwrap(),
        fs::read(giver.path().join("a.bin")).unwrap()
    );
    assert_eq!((&got["cid"], &got["size"]), (&file["cid"], &5_000_000.into()));
    assert_eq!(got["fetched"], 5_000_000);
    assert_eq!(got["sources"][0]["peer"], giver.peer_id().unwrap().as_str());
    assert!(got["seconds"].is_number() && got["sources"][0]["bytes"].is_number());
    assert_eq!(got["path"], getter.path().join("b.bin").to_str().unwrap());

    let shared = giver.json(["share", "tree"]).unwrap();
    let output = getter.run(["get", shared["link"].as_str().unwrap()]).unwrap();
    assert!(output.status.success(), "{}", error(&output));
    same_tree(&giver.path().join("tree"), &getter.path().join("tree"));

    let peers = getter.json(["peer", "ls"]).unwrap();
    for key in [
        "peer_id",
        "name",
        "address",
        "agent",
        "path",
        "transport",
        "rtt_ms",
        "sent",
        "received",
    ] {
        assert!(peers.get(key).is_some(), "{key} in {peers}");
    }
    let status = getter.json(["status"]).unwrap();
    for key in [
        "peer_id", "version", "uptime_s", "ready", "listen", "external", "peers",
    ] {
        assert!(!status[key].is_null(), "{key} in {status}");
    }
}

#[test]
fn people_read_two_lines_and_programs_get_bytes() {
    let daemon = daemon();
    fs::write(daemon.path().join("a.txt"), "0123456789").unwrap();
    let output = daemon.run(["share", "a.txt"]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("bafkr4i") && lines[1].starts_with(&format!("cardume:{}", lines[0])));
    for (range, bytes) in [("2-4", "234"), ("8-", "89"), ("-3", "789"), ("7-99", "789")] {
        let range = format!("--range={range}");
        let output = daemon.run(["get", lines[0], &range, "-o", "-"]).unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), bytes, "{range}");
    }
    for (command, key, value) in [
        ("pin", "pinned", true),
        ("unpin", "pinned", false),
        ("pin", "pinned", true),
    ] {
        let told = daemon.json(["file", command, lines[0]]).unwrap();
        assert_eq!((&told["cid"], &told[key]), (&lines[0].into(), &value.into()));
    }
    assert_eq!(
        daemon.run(["file", "cat", lines[0]]).unwrap().stdout,
        b"0123456789"
    );
    let picture = daemon.run(["share", "--qr", "a.txt"]).unwrap();
    assert_eq!(String::from_utf8_lossy(&picture.stdout), text);
    assert!(error(&picture).contains('█'));
}

#[test]
fn the_exit_status_says_what_went_wrong() {
    let daemon = daemon();
    fs::write(daemon.path().join("a.txt"), "a").unwrap();
    let link = daemon.json(["share", "a.txt"]).unwrap()["link"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::write(daemon.path().join("there"), "mine").unwrap();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["nonsense"], 2, "nonsense"),
        (&["get", "nonsense"], 2, "no link and no CID"),
        (&["get", UNKNOWN, "--timeout", "1s"], 4, "no peer with"),
        (&["file", "rm", UNKNOWN], 4, "bafkr4i"),
        (&["share", "missing.txt"], 4, "missing.txt"),
        (&["get", &link, "-o", "there"], 8, "--force"),
        (&["key", "gen", "there"], 8, "there"),
        (&["--set", "kad.mode=x", "config", "check"], 78, "kad.mode"),
        (&["--api", "unix:///no/such", "status"], 3, "cardume daemon"),
    ];
    for (arguments, wanted, words) in cases {
        let output = daemon.run(arguments.iter()).unwrap();
        assert_eq!(status(&output), wanted, "{arguments:?}: {}", error(&output));
        assert!(
            error(&output).contains(words),
            "{arguments:?}: {}",
            error(&output)
        );
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    assert_eq!(fs::read(daemon.path().join("there")).unwrap(), b"mine");
    assert_eq!(
        status(&daemon.run(["get", &link, "-o", "there", "--force"]).unwrap()),
        0
    );
    assert_eq!(fs::read(daemon.path().join("there")).unwrap(), b"a");
}

#[test]
fn a_second_daemon_on_the_same_directory_is_told_who_has_it() {
    let daemon = daemon();
    let mut second = daemon.command();
    second.args(["daemon", "--set", "mdns.enabled=false", "--data-dir"]);
    let output = patience::output(second.arg(daemon.path().join("data"))).unwrap();
    assert_eq!(status(&output), 8, "{}", error(&output));
    assert!(
        error(&output).contains(&daemon.pid().to_string()),
        "{}",
        error(&output)
    );
}

#[test]
fn a_port_in_use_is_named_with_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let home = home();
    let mut daemon = home.command();
    daemon.args(["daemon", "--set", "mdns.enabled=false", "--set"]);
    let output = patience::output(daemon.arg(format!("listen.addresses={address}"))).unwrap();
    assert_eq!(status(&output), 1, "{}", error(&output));
    let error = error(&output);
    assert!(
        error.contains(&address) && error.contains("listen.addresses"),
        "{error}"
    );
}

#[test]
fn a_daemon_that_is_told_to_stop_drains_and_ends_well() {
    let running = daemon();
    fs::write(running.path().join("a.txt"), "a").unwrap();
    running.json(["share", "a.txt"]).unwrap();
    let (home, ended) = running.stop().unwrap();
    assert_eq!(ended.code(), Some(0));
    assert!(!home.socket().exists());
    let output = home.run(["status"]).unwrap();
    assert_eq!(status(&output), 3, "{}", error(&output));

    let again = home.start().unwrap();
    assert_eq!(again.json(["file", "ls"]).unwrap()["name"], "a.txt");
    let output = again.run(["stop"]).unwrap();
    assert_eq!(status(&output), 0, "{}", error(&output));
    assert_eq!(status(&again.run(["status"]).unwrap()), 3);
}

#[test]
fn a_hangup_changes_nothing() {
    let daemon = daemon();
    daemon.signal(Signal::HUP).unwrap();
    assert!(daemon.json(["status"]).unwrap()["ready"].as_bool().unwrap());
}

/// Starts a daemon with these sinks, uses it, and tells how it ended.
fn survive(sink: impl FnOnce(&mut Command)) {
    let home = home();
    let mut command = home.alone();
    command.args(["--set", "log.level=trace", "daemon"]);
    sink(&mut command);
    let mut child = command.spawn().unwrap();
    let ask = |arguments: &[&str]| patience::output(home.alone().args(arguments)).unwrap();
    let output = ask(&["status", "--wait", "20s"]);
    assert_eq!(status(&output), 0, "{}", error(&output));
    fs::write(home.path().join("a.txt"), "a").unwrap();
    let output = ask(&["share", "a.txt"]);
    assert_eq!(status(&output), 0, "{}", error(&output));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(patience::ended(&mut child).unwrap().code(), Some(0));
}

#[test]
fn a_log_that_nobody_can_take_does_not_stop_a_daemon() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    survive(|command| {
        command.stdout(full()).stderr(full());
    });
    // A pipe whose reader is gone, and one whose reader never reads.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    survive(|command| {
        command.stdout(Stdio::null()).stderr(writer);
    });
    let (reader, writer) = std::io::pipe().unwrap();
    survive(|command| {
        command.stdout(Stdio::null()).stderr(writer);
    });
    drop(reader);
}

#[test]
fn data_that_nobody_takes_ends_a_command() {
    let home = home();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ended = home.command().arg("version").stdout(full).status().unwrap();
    assert_eq!(ended.code(), Some(9));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = home.command();
    command
        .args(["config", "example"])
        .stdout(writer)
        .stderr(Stdio::piped());
    let output = patience::output_of(command.spawn().unwrap()).unwrap();
    assert_eq!((status(&output), error(&output).as_str()), (141, ""));
}

#[test]
fn without_a_daemon_share_and_get_run_a_node_themselves() {
    let (giver, getter) = (home(), home());
    random_file(&giver.path().join("a.bin"), 2_000_000, 3).unwrap();
    let mut sharing = giver
        .alone()
        .args(["share", "a.bin"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sharing.stdout.take().unwrap()).lines();
    let (_cid, link) = (lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap());

    let output = patience::output(getter.alone().args(["--json", "get", &link])).unwrap();
    assert_eq!(status(&output), 0, "{}", error(&output));
    assert!(
        error(&output).contains("no daemon is running"),
        "{}",
        error(&output)
    );
    assert_eq!(
        fs::read(getter.path().join("a.bin")).unwrap(),
        fs::read(giver.path().join("a.bin")).unwrap()
    );
    // Nothing is left but the file.
    let kept = fs::read_dir(getter.path().join("cache/cardume")).map(Iterator::count);
    assert_eq!(kept.unwrap_or(0), 0);

    kill_process(Pid::from_child(&sharing), Signal::INT).unwrap();
    let ended = patience::ended(&mut sharing).unwrap();
    let mut said = String::new();
    sharing.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(said.contains("no daemon is running"), "{said}");
}

#[test]
fn an_interrupted_get_ends_with_130_and_leaves_no_operation() {
    let daemon = daemon();
    let child = daemon
        .command()
        .args(["get", UNKNOWN, "--progress", "json"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let running = || daemon.json(["status"]).unwrap()["operations"].as_u64().unwrap();
    wait_until(|| running() == 1);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = patience::output_of(child).unwrap();
    assert_eq!(status(&output), 130, "{}", error(&output));
    assert!(error(&output).contains("the same command"), "{}", error(&output));
    wait_until(|| running() == 0);
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "it did not happen");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_key_file_is_for_its_owner_alone_and_knows_its_peer_id() {
    use std::os::unix::fs::PermissionsExt;
    let home = home();
    let made = home.json(["key", "gen", "my.key"]).unwrap();
    let mode = fs::metadata(home.path().join("my.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        home.json(["key", "show", "my.key"]).unwrap()["peer_id"],
        made["peer_id"]
    );
    assert_eq!(
        home.json(["id", "--key", "my.key"]).unwrap()["peer_id"],
        made["peer_id"]
    );
}

#[test]
fn every_command_has_a_manual_page_and_completions() {
    let home = home();
    assert!(home.run(["man", "pages"]).unwrap().status.success());
    for page in [
        "cardume.1",
        "cardume-get.1",
        "cardume-config-show.1",
        "cardume-net-kad-providers.1",
    ] {
        let text = fs::read_to_string(home.path().join("pages").join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = home.run(["completions", shell]).unwrap();
        assert!(
            String::from_utf8(output.stdout).unwrap().contains("disconnect"),
            "{shell}"
        );
    }
}

#[test]
fn a_daemon_is_found_by_its_data_directory_wherever_its_socket_is() {
    let home = home();
    let data = home.path().join("data");
    let mut child = home
        .alone()
        .arg("daemon")
        .arg("--data-dir")
        .arg(&data)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for place in [Some(&data), None] {
        let mut command = home.alone();
        if let Some(data) = place {
            command.arg("--data-dir").arg(data);
        }
        let output = patience::output(command.args(["status", "--wait", "20s"])).unwrap();
        assert_eq!(status(&output), 0, "{place:?}: {}", error(&output));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(patience::ended(&mut child).unwrap().code(), Some(0));
    assert!(!data.join("cardume.sock").exists());
}

/// A command line of another user, who is in the group that may use the socket. Needs root.
fn as_operator(daemon: &Daemon, program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("CARDUME_API", format!("unix://{}", daemon.socket().display()));
    command
        .current_dir(daemon.path().join("theirs"))
        .uid(65_534)
        .gid(65_534);
    command
}

#[test]
fn another_user_reaches_no_file_through_the_daemon_but_can_send_and_take_bytes() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: becoming another user needs root");
        return;
    }
    let home = home().set("control.group=65534");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let program = home.path().join("cardume");
    fs::copy(PROGRAM, &program).unwrap();
    let theirs = home.path().join("theirs");
    tree(&theirs.join("tree"));
    chown(&theirs, Some(65_534), Some(65_534)).unwrap();
    fs::write(home.path().join("secret"), "mine").unwrap();
    fs::set_permissions(home.path().join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let daemon = home.start().unwrap();
    let run = |arguments: &[&str]| patience::output(as_operator(&daemon, &program).args(arguments)).unwrap();

    let secret = daemon.path().join("secret");
    for arguments in [&["share"] as &[&str], &["share", "--copy"]] {
        let output = run(&[arguments, &[secret.to_str().unwrap()]].concat());
        assert_eq!(status(&output), 5, "{}", error(&output));
    }
    let output = run(&["share", "tree"]);
    assert_eq!(status(&output), 5);
    assert!(error(&output).contains("--copy"), "{}", error(&output));

    let output = run(&["share", "--copy", "tree"]);
    assert_eq!(status(&output), 0, "{}", error(&output));
    let sent = String::from_utf8(output.stdout).unwrap();
    let own = daemon.json(["share", "--copy", "theirs/tree"]).unwrap();
    assert_eq!(
        sent.lines().next(),
        own["cid"].as_str(),
        "the same tree has the same CID"
    );

    let output = run(&["get", sent.lines().nth(1).unwrap(), "-o", "back"]);
    assert_eq!(status(&output), 0, "{}", error(&output));
    same_tree(&theirs.join("tree"), &theirs.join("back"));
    let output = run(&[
        "get",
        sent.lines().nth(1).unwrap(),
        "-o",
        "some",
        "--only",
        "inner/*",
    ]);
    assert_eq!(status(&output), 0, "{}", error(&output));
    let names: Vec<_> = fs::read_dir(theirs.join("some"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["inner"]);
    let output = run(&["stop"]);
    assert_eq!(status(&output), 5, "{}", error(&output));
}
