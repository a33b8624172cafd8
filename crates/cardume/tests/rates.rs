//! Limits between real daemons, and changed while they run.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

use std::{
    fs,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use cardume_testkit::{
    daemon::{Daemon, Home},
    files::random_file,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");
/// Whatever takes longer has failed.
const GUARD: Duration = Duration::from_secs(60);
const SIZE: u64 = 6_000_000;

fn home() -> Home {
    Home::new(PROGRAM).unwrap()
}

/// Shares a file, and begins to get it elsewhere.
fn begin(giver: &Daemon, getter: &Daemon) -> Child {
    random_file(&giver.path().join("a.bin"), SIZE, 7).unwrap();
    let shared = giver.json(["share", "a.bin"]).unwrap();
    let mut command = getter.command();
    command.args(["get", shared["link"].as_str().unwrap(), "-o", "b.bin"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whether content has begun to come in.
fn wait_for_content(getter: &Daemon) {
    let began = Instant::now();
    while getter.json(["net", "rates"]).unwrap()["download"] == 0 {
        assert!(began.elapsed() < GUARD, "nothing comes in");
    }
}

fn finish(mut get: Child, giver: &Daemon, getter: &Daemon) {
    let began = Instant::now();
    let status = loop {
        match get.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(began.elapsed() < GUARD, "it never ends"),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    };
    assert!(status.success());
    let read = |daemon: &Daemon, name| fs::read(daemon.path().join(name)).unwrap();
    assert!(read(giver, "a.bin") == read(getter, "b.bin"));
}

#[test]
fn a_limited_transfer_takes_its_time_and_delays_nothing_else() {
    let giver = home().set("rates.upload=\"3MB/s\"").start().unwrap();
    let getter = home().start().unwrap();
    let began = Instant::now();
    let mut get = begin(&giver, &getter);
    let mut answers = 0;
    while get.try_wait().unwrap().is_none() {
        for daemon in [&giver, &getter] {
            let asked = Instant::now();
            assert_eq!(daemon.json(["status"]).unwrap()["ready"], true);
            assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
            answers += 1;
        }
        assert!(began.elapsed() < GUARD, "it never ends");
    }
    let took = began.elapsed();
    finish(get, &giver, &getter);
    assert!(took > Duration::from_millis(1_800), "6 MB at 3 MB/s in {took:?}");
    assert!(answers > 4);
    let limits = giver.json(["status"]).unwrap()["rates"].clone();
    assert_eq!(limits["limits"]["upload"], 3_000_000);
    assert_eq!(limits["origin"], "configuration");
}

#[test]
fn limits_are_changed_while_content_goes_and_not_for_ever() {
    let (giver, getter) = (home().start().unwrap(), home().start().unwrap());
    let slow = giver
        .json([
            "net", "rates", "--of", "lan", "--upload", "100kB/s", "--for", "1h",
        ])
        .unwrap();
    assert_eq!(slow["limits"]["lan"]["upload"], 100_000);
    assert_eq!(
        (&slow["limits"]["upload"], &slow["origin"]),
        (&serde_json::Value::Null, &"live".into())
    );
    assert!(slow["ends_in_s"].as_u64().unwrap() > 3_500);

    // A minute's worth, if nobody changed it.
    let began = Instant::now();
    let get = begin(&giver, &getter);
    wait_for_content(&getter);
    let free = giver.json(["net", "rates", "--reset"]).unwrap();
    assert_eq!(free["limits"], free["configured"]);
    finish(get, &giver, &getter);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());

    let refused = giver.run(["net", "rates", "--upload", "1kB/s"]).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("16kB/s"));
    let shown = giver.run(["net", "rates"]).unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("unlimited") && shown.contains("as configured"),
        "{shown}"
    );
}
