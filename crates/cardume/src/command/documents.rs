//! `cardume completions`, `man` and `version`
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{arguments::Arguments, out::Out};

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cardume completions bash > ~/.local/share/bash-completion/completions/cardume\n  \
    cardume completions fish > ~/.config/fish/completions/cardume.fish")]
pub(crate) struct CompletionsOptions {
    /// The shell
    shell: Shell,
}

pub(super) fn completions(options: &CompletionsOptions, out: &Out) -> anyhow::Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Arguments::command(), "cardume", &mut text);
    Ok(out.bytes(&text)?)
}

/// Write the manual pages
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cardume man ~/.local/share/man/man1")]
pub(crate) struct ManOptions {
    /// Directory to write them to; made if it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn man(options: &ManOptions, out: &Out) -> anyhow::Result<()> {
    let directory = &options.directory;
    std::fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let mut command = Arguments::command();
    command.build();
    let pages = pages(&command, "cardume", directory)?;
    let value = serde_json::json!({ "directory": directory, "pages": pages });
    Ok(out.either(&value, || format!("{pages} pages in {}", directory.display()))?)
}

/// Writes the page of a command and of everything below it, and counts them.
fn pages(command: &clap::Command, name: &str, directory: &Path) -> anyhow::Result<u32> {
    let path = directory.join(format!("{name}.1"));
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone()).title(name.to_uppercase());
    page.render(&mut text)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    let mut count = 1;
    for inner in command
        .get_subcommands()
        .filter(|inner| inner.get_name() != "help")
    {
        count += pages(inner, &format!("{name}-{}", inner.get_name()), directory)?;
    }
    Ok(count)
}

pub(super) fn version(out: &Out) -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let value = serde_json::json!({ "version": version });
    Ok(out.either(&value, || format!("cardume {version}"))?)
}
