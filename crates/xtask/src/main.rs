//! Checks and chores of this workspace.

mod net;
mod tidy;

use clap::{Parser, Subcommand};

/// Checks and chores of this workspace; run as `cargo xtask`.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Check that the code keeps to the architecture: who imports whom, purity, sizes, versions.
    Tidy,
    /// Run the tests of whole networks: hosts, routers, relays and partitions, also those that take minutes. Needs root.
    Net,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().chore {
        Chore::Tidy => tidy::run(),
        Chore::Net => net::run(),
    }
}
