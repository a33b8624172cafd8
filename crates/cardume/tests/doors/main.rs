//! Who gets in, what the service manager hears, and how commands end: real daemons, and sockets that are none.
#![expect(
    clippy::unwrap_used,
    reason = "a test ends where it fails, also in the functions it calls"
)]

mod exits;
mod mistakes;
mod peers;
mod service;

use cardume_testkit::daemon::{Daemon, Home};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cardume");

fn home() -> Home {
    Home::new(PROGRAM).unwrap()
}

fn daemon() -> Daemon {
    home().start().unwrap()
}
