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
mod failure;
mod inherited;
mod inside;
mod out;
mod progress;
mod reach;
mod text;

use std::process::ExitCode;

use clap::Parser;

use self::{arguments::Arguments, config::Environment, out::Out};

fn main() -> ExitCode {
    let environment = Environment::of_process();
    inherited::keep_from_children();
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
