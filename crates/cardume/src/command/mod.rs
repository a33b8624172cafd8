//! The commands, one noun a file.
mod care;
mod channel;
mod configuration;
mod content;
mod documents;
mod events;
mod file;
mod get;
mod kad;
mod key;
mod log;
mod member;
mod net;
mod node;
mod open;
mod peer;
mod rates;
mod share;
mod token;
mod topic;
mod traffic;
mod tunnel;
mod upload;
mod wait;

use std::future::Future;

use anyhow::Context;
use clap::Subcommand;

use crate::{arguments::Arguments, config::Environment, daemon, doctor, out::Out, reach::Reach};

/// Everything that can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the node in the foreground
    Daemon(daemon::Options),
    /// Share files and directories; prints CID and link
    Share(share::Options),
    /// Get a file or a directory from peers
    Get(get::Options),
    /// How the node is
    Status(node::StatusOptions),
    /// The node's peer id
    Id(node::IdOptions),
    /// Find out what is wrong with the node
    Doctor(doctor::Options),
    /// Open the node's page in a browser
    Open(open::Options),
    /// Stop the daemon
    Stop,
    /// Have the daemon read its configuration again
    Reload(configuration::ReloadOptions),
    /// What happens in the node, as it happens
    Events(events::Options),
    /// The last lines of the daemon's log
    Log(log::Options),
    /// What the node has
    #[command(subcommand)]
    File(file::Command),
    /// Whom the node is connected to
    #[command(subcommand)]
    Peer(peer::Command),
    /// The node's addresses and networks
    #[command(subcommand)]
    Net(net::Command),
    /// The distributed hash table
    #[command(subcommand)]
    Kad(kad::Command),
    /// Topics: messages from everybody who publishes to everybody who subscribes
    #[command(subcommand)]
    Topic(topic::Command),
    /// Channels: signed names that point at content and move
    #[command(subcommand)]
    Channel(channel::Command),
    /// Tunnels: services of this host for peers, and of peers for this host
    #[command(subcommand)]
    Tunnel(tunnel::Command),
    /// Tokens: who may use the control API over TCP
    #[command(subcommand)]
    Token(token::Command),
    /// The configuration
    #[command(subcommand)]
    Config(configuration::Command),
    /// Private keys: of the node, and of an authority
    #[command(subcommand)]
    Key(key::Command),
    /// Members of a closed network
    #[command(subcommand)]
    Member(member::Command),
    /// Print completions for a shell
    Completions(documents::CompletionsOptions),
    /// Write the manual pages
    Man(documents::ManOptions),
    /// Print the version
    Version,
}

/// Does what the arguments say.
///
/// # Errors
/// Whatever went wrong; [`crate::failure::report`] knows the exit status.
pub(crate) fn run(arguments: Arguments, environment: &Environment, out: &Out) -> anyhow::Result<()> {
    let reach = Reach {
        global: &arguments.global,
        environment,
        out,
    };
    match arguments.command {
        Command::Daemon(options) => daemon::run(reach, &options),
        Command::Share(options) => in_runtime(share::run(reach, options)),
        Command::Get(options) => in_runtime(get::run(reach, options)),
        Command::Status(options) => in_runtime(node::status(reach, options)),
        Command::Id(options) => in_runtime(node::id(reach, options)),
        Command::Doctor(options) => in_runtime(doctor::run(reach, options)),
        Command::Open(options) => in_runtime(open::run(reach, options)),
        Command::Stop => in_runtime(node::stop(reach)),
        Command::Reload(_) => in_runtime(configuration::reload(reach)),
        Command::Events(options) => in_runtime(events::run(reach, options)),
        Command::Log(options) => in_runtime(log::run(reach, options)),
        Command::File(command) => in_runtime(file::run(reach, command)),
        Command::Peer(command) => in_runtime(peer::run(reach, command)),
        Command::Net(command) => in_runtime(net::run(reach, command)),
        Command::Kad(command) => in_runtime(kad::run(reach, command)),
        Command::Topic(command) => in_runtime(topic::run(reach, command)),
        Command::Channel(command) => in_runtime(channel::run(reach, command)),
        Command::Tunnel(command) => in_runtime(tunnel::run(reach, command)),
        Command::Token(command) => in_runtime(token::run(reach, command)),
        Command::Config(configuration::Command::Plan { exit_code }) => {
            in_runtime(configuration::plan(reach, exit_code))
        }
        Command::Config(command) => configuration::run(reach, command),
        Command::Key(command) => key::run(reach, command),
        Command::Member(command) => member::run(reach, command),
        Command::Completions(options) => documents::completions(&options, out),
        Command::Man(options) => documents::man(&options, out),
        Command::Version => documents::version(out),
    }
}

fn in_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let ended = runtime.block_on(work);
    // A read of stdin cannot be cancelled; it must not keep the command from ending.
    runtime.shutdown_background();
    ended
}
