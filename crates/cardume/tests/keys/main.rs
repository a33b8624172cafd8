//! Every key of the configuration has an effect that a test shows: a table says which, and here are those tests that no
//! other place is better for.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

mod channels;
mod connect;
mod content;
mod node;
mod relay;
mod table;
mod topics;

use std::process::{Child, Stdio};

use cardume_testkit::daemon::{Daemon, Home, status};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

fn home() -> Home {
    Home::new(PROGRAM).unwrap()
}

/// A daemon with these settings.
fn start(settings: &[&str]) -> Daemon {
    let home = settings.iter().fold(home(), |home, setting| home.set(*setting));
    home.start().unwrap()
}

/// A setting that has a daemon dial another when it starts.
fn bootstrap(daemon: &Daemon) -> String {
    format!("connect.bootstrap=[{:?}]", daemon.address(true).unwrap())
}

/// Starts a command line, and does not wait for it.
fn begin(daemon: &Daemon, arguments: &[&str]) -> Child {
    let mut command = daemon.command();
    command.args(arguments).stdin(Stdio::null());
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

fn is_connected(daemon: &Daemon, to: &Daemon) -> bool {
    daemon.connection(&to.peer_id().unwrap()).unwrap().is_object()
}

/// What a command line prints, a document in each line; nothing if it fails.
fn documents(daemon: &Daemon, arguments: &[&str]) -> Vec<Value> {
    let output = daemon.run([&["--json"], arguments].concat()).unwrap();
    let documents = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    match status(&output) {
        0 => documents.map(Result::unwrap).collect(),
        _ => Vec::new(),
    }
}
