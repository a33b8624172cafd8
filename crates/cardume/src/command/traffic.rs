//! `cardume net traffic`: what goes over the node's connections.
use std::time::Duration;

use cardume_api::{NetTraffic, TrafficShare};
use clap::Args;

use super::wait;
use crate::{
    reach::Reach,
    text::{size, span, table},
};

/// Milliseconds for which is measured how fast bytes go.
const MEASURED: u64 = 1_000;

/// What goes over the node's connections, by protocol and by where peers are
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cardume net traffic\n  \
    cardume net traffic --watch\n  \
    cardume --json net traffic | jq '.protocols[] | select(.name == \"kad\")'\n\n\
    Counted since the daemon started is what protocols say to each other, without what encryption adds.\n\
    What goes through a relay is in the class `relay`, and a second time as the protocol `relay`.")]
pub(crate) struct Options {
    /// Tell again every second, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(reach: Reach<'_>, options: Options) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    let out = reach.out;
    let terminal = out.is_terminal();
    let watching = async {
        loop {
            let traffic = client.traffic(MEASURED).await?;
            out.either(&traffic, || shown(&traffic, terminal))?;
            if !options.watch {
                return Ok(());
            }
        }
    };
    wait::unless_interrupted(watching).await?
}

fn shown(traffic: &NetTraffic, terminal: bool) -> String {
    let rows = |shares: &[TrafficShare]| shares.iter().map(|share| row(share, terminal)).collect();
    let head = |first| [first, "sent", "received", "sent/s", "received/s"];
    let since = span(Duration::from_secs(traffic.uptime_s));
    format!(
        "{}{}in {since}",
        table(head("protocol"), rows(&traffic.protocols), terminal),
        table(head("peers"), rows(&traffic.classes), terminal),
    )
}

/// Its sums and rates, for a person or a program.
fn row(share: &TrafficShare, terminal: bool) -> [String; 5] {
    let bytes = |count: u64| {
        if terminal { size(count) } else { count.to_string() }
    };
    let rate = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), bytes);
    [
        share.name.clone(),
        bytes(share.sent),
        bytes(share.received),
        rate(share.sent_per_s),
        rate(share.received_per_s),
    ]
}
