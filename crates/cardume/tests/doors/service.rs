//! A daemon under a service manager: told of, stopped in the middle of work, and used by a group.
use std::{
    fs,
    io::Read,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixDatagram,
        process::CommandExt,
    },
    process::{Child, Command, Stdio},
    time::Duration,
};

use cardume_testkit::{
    daemon::{Home, error, status},
    files::random_file,
    patience,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::{PROGRAM, home};

/// Larger than what sockets and pipes hold on the way.
const SIZE: u64 = 24 << 20;

fn terminate(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
}

#[test]
fn the_service_manager_hears_that_a_daemon_is_ready_and_that_it_stops() {
    let home = home();
    let manager = UnixDatagram::bind(home.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut daemon = home
        .alone()
        .args(["daemon", "--data-dir", "data"])
        .env("NOTIFY_SOCKET", home.path().join("notify"))
        .env("WATCHDOG_USEC", "3000000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let heard = || {
        let mut text = [0; 256];
        let size = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..size]).into_owned()
    };
    assert!(heard().starts_with("EXTEND_TIMEOUT_USEC="));
    assert!(heard().starts_with("READY=1\n"));
    for _ in 0..2 {
        let turned = heard();
        assert!(
            turned.starts_with("WATCHDOG=1\nSTATUS=0 peers; 0 B/s sent"),
            "{turned}"
        );
    }
    terminate(&daemon);
    let stopping = loop {
        let text = heard();
        if !text.starts_with("WATCHDOG=1\n") {
            break text;
        }
    };
    assert!(stopping.starts_with("STOPPING=1\n"), "{stopping}");
    assert_eq!(patience::ended(&mut daemon).unwrap().code(), Some(0));
}

/// What a manager hears from a daemon until one of its messages begins with `first`; that one last.
fn heard_until(manager: &UnixDatagram, first: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let mut text = [0; 256];
        let size = manager.recv(&mut text).unwrap();
        let text = String::from_utf8_lossy(&text[..size]).into_owned();
        let is_last = text.starts_with(first);
        heard.push(text);
        if is_last {
            return heard;
        }
    }
}

fn monotonic_usec() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

#[test]
fn the_service_manager_hears_when_a_reload_begins_and_that_it_has_ended_also_when_it_is_refused() {
    let home = home();
    let manager = UnixDatagram::bind(home.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(patience::PATIENCE)).unwrap();
    let config = home.path().join("c.toml");
    fs::write(&config, "[rates]\nupload = \"1MB/s\"\n").unwrap();
    let mut daemon = home
        .alone()
        .arg("--config")
        .arg(&config)
        .args(["daemon", "--data-dir", "data"])
        .env("NOTIFY_SOCKET", home.path().join("notify"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    heard_until(&manager, "READY=1\n");
    for text in ["[rates]\nupload = \"2MB/s\"\n", "[rates]\nuplaod = \"3MB/s\"\n"] {
        fs::write(&config, text).unwrap();
        let before = monotonic_usec();
        kill_process(Pid::from_child(&daemon), Signal::HUP).unwrap();
        let begun = heard_until(&manager, "RELOADING=1\n").pop().unwrap();
        let after = monotonic_usec();
        let mut lines = begun.lines().skip(1);
        let since = lines.next().unwrap().strip_prefix("MONOTONIC_USEC=").unwrap();
        let since: i64 = since.parse().unwrap();
        assert!((before..=after).contains(&since), "{before} {since} {after}");
        assert_eq!(lines.next(), Some("STATUS=reading the configuration"));
        let ended = heard_until(&manager, "READY=1\n");
        assert!(
            ended.iter().all(|text| !text.starts_with("STOPPING=1")),
            "{ended:?}"
        );
    }
    terminate(&daemon);
    heard_until(&manager, "STOPPING=1\n");
    assert_eq!(patience::ended(&mut daemon).unwrap().code(), Some(0));
}

/// Reads the first bytes of a file from a daemon, has the daemon stop, and then reads on.
fn read_while_it_stops(home: Home) -> (Vec<u8>, std::process::Output, Vec<u8>) {
    let daemon = home.start().unwrap();
    let file = daemon.path().join("a.bin");
    random_file(&file, SIZE, 5).unwrap();
    let cid = daemon.json(["share", "a.bin"]).unwrap()["cid"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut reader = daemon
        .command()
        .args(["get", &cid, "-o", "-"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = reader.stdout.take().unwrap();
    let mut got = vec![0; 1 << 16];
    pipe.read_exact(&mut got).unwrap();
    daemon.signal(Signal::TERM).unwrap();
    patience::until("the door is closed", || Ok(!daemon.socket().exists())).unwrap();
    let ended = std::thread::spawn(move || patience::output_of(reader).unwrap());
    pipe.read_to_end(&mut got).unwrap();
    (got, ended.join().unwrap(), fs::read(file).unwrap())
}

#[test]
fn what_is_being_read_when_a_daemon_stops_is_read_to_its_end() {
    let (got, output, file) = read_while_it_stops(home());
    assert_eq!(status(&output), 0, "{}", error(&output));
    assert!(got == file, "{} of {} bytes", got.len(), file.len());
}

#[test]
fn what_is_cut_off_when_a_daemon_stops_says_so() {
    let (got, output, file) = read_while_it_stops(home().set("shutdown.grace=1ms"));
    assert_eq!(status(&output), 1, "{}", error(&output));
    assert!(error(&output).contains("daemon"), "{}", error(&output));
    assert!(got.len() < file.len() && file.starts_with(&got));
}

#[test]
fn whoever_waits_for_an_operation_hears_that_the_daemon_stops() {
    let daemon = home().start().unwrap();
    let unknown = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let getting = patience::begun(daemon.command().args(["get", unknown, "-o", "x"])).unwrap();
    daemon.stop().unwrap();
    let output = patience::output_of(getting).unwrap();
    assert_eq!(status(&output), 6, "{}", error(&output));
    assert!(
        error(&output).contains("the node is stopping"),
        "{}",
        error(&output)
    );
}

#[test]
fn a_group_gets_the_socket_in_a_directory_of_its_own() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: becoming another user needs root");
        return;
    }
    let home = home();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let program = home.path().join("cardume");
    fs::copy(PROGRAM, &program).unwrap();
    let socket = home.path().join("door/c.sock");
    let mut daemon = home
        .alone()
        .args(["--set", "control.group=4321", "--set"])
        .arg(format!("control.listen=unix:{}", socket.display()))
        .args(["daemon", "--data-dir", "data"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let api = format!("unix://{}", socket.display());
    let ready = ["--api", &api, "status", "--wait", "20s"];
    let output = patience::output(home.alone().args(ready)).unwrap();
    assert_eq!(status(&output), 0, "{}", error(&output));

    let (file, directory) = (
        fs::metadata(&socket).unwrap(),
        fs::metadata(socket.parent().unwrap()).unwrap(),
    );
    assert_eq!((file.mode() & 0o777, file.gid()), (0o660, 4321));
    assert_eq!((directory.mode() & 0o777, directory.gid()), (0o750, 4321));
    let ask = |gid| {
        let mut command = Command::new(&program);
        command.env_clear().current_dir("/").uid(65_534).gid(gid);
        patience::output(command.args(["--api", &api, "status"])).unwrap()
    };
    let member = ask(4321);
    assert_eq!(status(&member), 0, "{}", error(&member));
    let other = ask(65_534);
    assert_eq!(status(&other), 5, "{}", error(&other));
    terminate(&daemon);
    assert_eq!(patience::ended(&mut daemon).unwrap().code(), Some(0));
}

#[test]
fn a_group_that_is_not_there_is_named_with_the_place_that_names_it() {
    let home = home();
    let config = home.path().join("c.toml");
    fs::write(&config, "[control]\ngroup = \"no-such-group\"\n").unwrap();
    let output =
        patience::output(
            home.alone()
                .arg("--config")
                .arg(&config)
                .args(["daemon", "--data-dir", "data"]),
        )
        .unwrap();
    assert_eq!(status(&output), 78, "{}", error(&output));
    let said = error(&output);
    assert!(
        said.contains("c.toml:2:1: control.group: ") && said.contains("groupadd"),
        "{said}"
    );
}
