//! `cardume open`: the node's page.
use std::process::{Command, Stdio};

use clap::Args;

use crate::reach::Reach;

/// Open the node's page in a browser
///
/// The daemon lets one browser of this machine in by the address that is printed: once, and within a minute. Where no
/// port is configured (control.listen), it opens one on the loopback address for as long as somebody is logged in.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cardume open\n  ssh -t -L 4080:127.0.0.1:4080 node cardume open --print"
)]
pub(crate) struct Options {
    /// Print the address, and start no browser
    #[arg(long, visible_alias = "no-browser")]
    print: bool,
}

pub(super) async fn run(reach: Reach<'_>, options: Options) -> anyhow::Result<()> {
    let login = reach.daemon().await?.login().await?;
    reach.out.either(&login, || login.url.clone())?;
    let has_display = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| reach.environment.get(name).is_some_and(|value| !value.is_empty()));
    if options.print || reach.out.is_json() || !has_display {
        return Ok(());
    }
    let started = Command::new("xdg-open")
        .arg(&login.url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        reach.out.say(format!(
            "no browser was started (xdg-open: {error}); visit the address yourself"
        ));
    }
    Ok(())
}
