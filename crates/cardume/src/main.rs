//! The command line of cardume, and `cardume daemon`.
//!
//! Does no networking and keeps no content itself: `daemon` runs a [`cardume_node::Node`], every other command
//! asks one through its control API.
//!
//! # Invariants
//!
//! * Data goes to stdout, talk to stderr; what is not read by a person is never coloured or shortened.
//! * A command ends with the exit status that the contract gives its outcome.
//! * The environment is read once, here.
mod arguments;
mod command;
mod config;
mod daemon;
mod doctor;
mod failure;
mod inherited;
mod inside;
mod memory;
mod out;
mod progress;
mod reach;
mod text;

use std::process::ExitCode;

use clap::Parser;

use self::{arguments::Arguments, config::Environment, out::Out};

/// Has the system's allocator keep what it gets back, up to 4 MiB for each of its arenas.
///
/// It gives free memory at the end of an arena to the kernel as soon as there are 128 KiB of it, until it has seen a
/// larger block come back; from then on it keeps twice that. Without it every frame that is sent is mapped anew.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(2 << 20)));
}

fn main() -> ExitCode {
    keep_freed_memory();
    let environment = Environment::of_process();
    inherited::keep_from_children();
    memory::keep_together();
    // Before anything that could make a connection: libp2p would otherwise panic at the first QUIC handshake.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .expect("nobody has chosen a provider before main");
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return out::usage(&error),
    };
    let out = Out::new(&arguments.global);
    let ended = command::run(arguments, &environment, &out);
    ExitCode::from(match ended {
        Ok(()) => 0,
        Err(error) => failure::report(&error, &out),
    })
}
