//! `cardume events`
use cardume_api::Event;
use clap::Args;

use super::wait;
use crate::{reach::Reach, text::size};

/// What happens in the node, as it happens
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cardume --json events | jq -c 'select(.event == \"peer\")'")]
pub(crate) struct Options {
    /// Go on after the event with this id
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

pub(super) async fn run(reach: Reach<'_>, options: Options) -> anyhow::Result<()> {
    let mut events = reach.daemon().await?.events(options.after).await?;
    let telling = async {
        while let Some(received) = events.next().await {
            let event = received?.event;
            reach.out.either(&event, || words(&event))?;
        }
        Ok(())
    };
    wait::unless_interrupted(telling).await?
}

fn words(event: &Event) -> String {
    match event {
        Event::Operation(operation) => {
            let what = format!("{:?} {:?}", operation.kind, operation.state).to_lowercase();
            let (done, all) = (size(operation.progress.done), size(operation.progress.size));
            format!(
                "operation {} {what} {}: {done} of {all}",
                operation.id, operation.subject
            )
        }
        Event::Peer {
            peer_id,
            change,
            agent,
            path,
        } => {
            let path = path.map(|path| format!("{path:?}").to_lowercase());
            let more = agent.as_ref().or(path.as_ref());
            let more = more.map(|more| format!(" ({more})")).unwrap_or_default();
            format!("peer {peer_id} {}{more}", format!("{change:?}").to_lowercase())
        }
        Event::Share { name, cid, files, .. } => format!("share {name} is {cid}: {files} files"),
        Event::Follow {
            name, number, cid, ..
        } => format!("follow {name} is at version {number}: {cid}"),
        Event::Audit {
            who,
            method,
            path,
            status,
        } => format!("audit {who}: {method} {path}: {status}"),
        Event::Lost { count: Some(count) } => format!("lost {count} events"),
        Event::Lost { count: None } => "lost events: the daemon was started anew".into(),
        _ => "something this program does not know".into(),
    }
}
