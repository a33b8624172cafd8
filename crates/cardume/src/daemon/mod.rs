//! `cardume daemon`: runs a node until it is told to stop.
mod greeting;
pub(crate) mod log;
mod manager;
mod panics;
mod places;
mod process;
mod reload;
mod run;
mod tail;
mod traces;
mod watchdog;

pub(crate) use self::{
    places::{certificate_file, data_dir, key_file, socket},
    run::run,
};

/// Run the node in the foreground
///
/// Listens for peers, shares what it is told to, and answers the other commands. SIGTERM and SIGINT stop it when
/// running work has ended, a second one at once. SIGHUP has it read its configuration again, as `cardume reload` does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    cardume daemon\n  \
    cardume daemon --config /etc/cardume/cardume.toml\n  \
    cardume daemon --data-dir /tmp/a --set 'listen.addresses=/ip4/127.0.0.1/tcp/0' --set mdns.enabled=false")]
pub(crate) struct Options {}
