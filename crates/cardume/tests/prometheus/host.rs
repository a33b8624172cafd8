//! What a host may have too little of, or wrong: memory, the time, and ports.
use std::{
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use cardume_testkit::{files::random_file, patience};

use super::{Place, Prometheus, Takes, text};

/// A peer that there is not.
const NOBODY: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
/// Who reads and never goes on: for each, the node holds some pieces of 1 MiB that have been read ahead.
const READERS: usize = 24;

/// Readers that do not go on have a node take nearly as much memory as it may; then it may take more, which it is told by a
/// reload.
pub(crate) fn memory_is_near_its_ceiling(prometheus: &Prometheus, place: Place) -> Result<(), Takes> {
    // The least that a node can be given.
    let ceiling = |size: &str| format!("[connect]\nmemory_ceiling = \"{size}\"\n");
    let node = place.home(&ceiling("64MiB")).start().unwrap();
    random_file(&node.path().join("film"), 32 << 20, 3).unwrap();
    let film = node.json(["share", "film"]).unwrap()["cid"].clone();
    let read = || {
        let mut command = node.command();
        command.args(["file", "cat", text(&film)]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let readers: Vec<Child> = (0..READERS).map(|_| read()).collect();
    prometheus.fire(place.scraped, &["CardumeMemoryNearCeiling"]);
    fs::write(node.path().join("cardume.toml"), ceiling("1GiB")).unwrap();
    let plan = node.json(["reload"]).unwrap();
    assert_eq!(plan["restart"], false, "{plan}");
    prometheus.stop(place.scraped, &["CardumeMemoryNearCeiling"]);
    for mut reader in readers {
        assert!(reader.try_wait().unwrap().is_none(), "it has read to the end");
        reader.kill().unwrap();
        reader.wait().unwrap();
    }
    Ok(())
}

/// Another program listens where a tunnel is to; then it goes away.
pub(crate) fn port_of_a_tunnel_is_taken(prometheus: &Prometheus, place: Place) -> Result<(), Takes> {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "[tunnel.web]\nrole = \"forward\"\nlisten = \"{}\"\npeer = {NOBODY:?}\n",
        other.local_addr().unwrap()
    );
    let _node = place.home(&config).start().unwrap();
    prometheus.fire(place.scraped, &["CardumeTunnelFailed"]);
    drop(other);
    prometheus.stop(place.scraped, &["CardumeTunnelFailed"]);
    Ok(())
}

/// The clock of a node is set while the node runs.
///
/// All processes of a machine have one clock, so the node is told another time by a library before that of the system.
pub(crate) fn clock_is_wrong(prometheus: &Prometheus, place: Place) -> Result<(), Takes> {
    let library = library().ok_or("the program faketime (Debian has it in the package faketime)")?;
    let home = place.home("");
    let clock = home.path().join("clock");
    fs::write(&clock, "-5m\n").unwrap();
    let node = home
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", &clock)
        // Read each time. What counts seconds since the start, and the times of files, are not set with a clock.
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1")
        .start()
        .unwrap();
    prometheus.fire(place.scraped, &["CardumeClockWrong"]);
    fs::write(&clock, "+0\n").unwrap();
    prometheus.stop(place.scraped, &["CardumeClockWrong"]);
    let away = "abs(cardume_time_seconds - timestamp(cardume_time_seconds))";
    prometheus.see(away, place.scraped, |seconds| seconds < 60.0);
    // Killed, it would leave behind what the library shares with programs that it starts.
    node.stop().unwrap();
    Ok(())
}

/// The library by which `faketime` tells programs another time.
fn library() -> Option<String> {
    let mut command = Command::new("faketime");
    command.args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]);
    let output = patience::output(command.stdin(Stdio::null())).ok()?;
    let library = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    (output.status.success() && !library.is_empty()).then_some(library)
}
