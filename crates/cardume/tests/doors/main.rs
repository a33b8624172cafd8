//! Who gets in, what the service manager hears, and how commands end: real daemons, and sockets that are none.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

mod exits;
mod mistakes;
mod peers;
mod service;

use std::process::{Command, Output, Stdio};

use cardume_testkit::daemon::{Daemon, Home};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

fn home() -> Home {
    Home::new(PROGRAM).unwrap()
}

fn daemon() -> Daemon {
    home().start().unwrap()
}

/// A command line without a daemon: in a home of its own, on loopback.
fn alone(home: &Home) -> Command {
    let mut command = home.command();
    command.env_remove("CARDUME_API").stdin(Stdio::null());
    command.args(["--set", "mdns.enabled=false", "--set"]);
    command.arg("listen.addresses=/ip4/127.0.0.1/tcp/0");
    command
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
