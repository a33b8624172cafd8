//! What can be written on the command line.
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

use crate::command::Command;

/// Shares files with peers, and gets theirs. No server needed.
#[derive(Debug, Parser)]
#[command(
    name = "cardume",
    version,
    propagate_version = true,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        cardume share film.mkv          share a file; prints its link\n  \
        cardume get 'cardume:bafkr4i…'  get it on another machine\n  \
        cardume daemon                  run a node that goes on sharing\n\n\
        Content ids look like IPFS CIDs, but IPFS does not serve them.\n\
        Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon, 4 not found, 5 not allowed, 6 timed out,\n\
        7 bytes did not verify, 8 conflict, 9 no space or limit, 78 bad configuration, 130/143 interrupted."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Configuration file [default: $CARDUME_CONFIG, or see `cardume config path`]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one configuration key, such as log.level=debug; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Directory of the node's identity and store
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the daemon is: unix:///path, http://host:port or https://host [default: $CARDUME_API, or the usual places]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api: Option<String>,
    /// Print JSON: one document, or one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for a node's debug log
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
    /// How to show progress on stderr
    #[arg(long, global = true, value_name = "HOW", default_value = "auto")]
    pub(crate) progress: Progress,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// How to show progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar on a terminal, else nothing
    #[default]
    Auto,
    /// A bar
    Bar,
    /// A line now and then
    Plain,
    /// A JSON object a line
    Json,
    /// Nothing
    None,
}
