//! `cardume log`
use cardume_api::{LogEvent, LogLine};
use clap::Args;
use jiff::Timestamp;

use super::wait;
use crate::reach::Reach;

/// The last lines of the daemon's log
///
/// The daemon keeps them in memory, as its level is: for a node that no journal listens to. They are gone when it ends.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cardume log --lines 20\n  cardume log -f\n  \
    cardume --json log | jq -r 'select(.level == \"warn\").text'")]
pub(crate) struct Options {
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// So many of the last lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    lines: usize,
}

pub(super) async fn run(reach: Reach<'_>, options: Options) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    if !options.follow {
        for line in client.log(options.lines).await? {
            reach.out.either(&line, || words(&line))?;
        }
        return Ok(());
    }
    let mut lines = client.follow_log(options.lines).await?;
    let telling = async {
        while let Some(received) = lines.next().await {
            match received?.event {
                LogEvent::Line(line) => reach.out.either(&line, || words(&line))?,
                LogEvent::Lost { count: Some(count) } => reach.out.say(format!("{count} lines were lost")),
                _ => reach.out.say("lines were lost: the daemon was started anew"),
            }
        }
        Ok(())
    };
    wait::unless_interrupted(telling).await?
}

fn words(line: &LogLine) -> String {
    let at = i64::try_from(line.at_ms)
        .ok()
        .and_then(|at| Timestamp::from_millisecond(at).ok());
    let at = at.unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
    let level = line.level.name().to_uppercase();
    format!("{at} {level:<5} {}: {}", line.target, line.text)
}
