//! `cardume channel`: signed names that point at content and move.
use std::{path::Path, time::Duration};

use anyhow::Context;
use cardume_api::{Channel, Client, Follow, NewChannel, NewHold, NewVersion};
use cardume_content::{Cid, Link};
use clap::Subcommand;

use super::{share, wait};
use crate::{
    failure::Ended,
    out::Out,
    reach::Reach,
    text::{clean, size, span, table},
};

/// Channels: signed names that point at content and move
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    cardume channel create releases\n  \
    cardume channel publish releases ./build --note 'version 2.1'\n  \
    cardume channel show k51qzi5uqu5d…\n  \
    cardume channel follow app --at 41\n\n\
    Whoever has a channel's id can follow it: see [follow.NAME] in the configuration. Its private key is in\n\
    channels/NAME.key of the data directory; whoever has that can publish.")]
pub(crate) enum Command {
    /// The channels that the node publishes or follows
    Ls,
    /// Make the key of a new channel; prints its id
    Create {
        /// What to call it here: letters, digits, dots, - and _
        name: String,
    },
    /// Point a channel at content
    Publish {
        /// The channel, whose key is here
        #[arg(value_name = "NAME|CHANNEL")]
        channel: String,
        /// What it is to point at; a path is shared first
        #[arg(value_name = "CID|PATH")]
        content: String,
        /// What to say about it, in at most 256 bytes
        #[arg(long, default_value = "")]
        note: String,
    },
    /// What is known of a channel; the network is asked about one that is not followed
    Show {
        /// The channel
        #[arg(value_name = "NAME|CHANNEL")]
        channel: String,
    },
    /// How the places that follow channels stand; holds one at a version
    Follow {
        /// What configuration calls it; all without one
        name: Option<String>,
        /// Go to this version, and stay there until told otherwise
        #[arg(long, value_name = "NUMBER", conflicts_with = "newest", requires = "name")]
        at: Option<u64>,
        /// Go to the newest version, and on with each that comes
        #[arg(long, requires = "name")]
        newest: bool,
    },
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    let out = reach.out;
    let work = async {
        match command {
            Command::Ls => list(&client, out).await,
            Command::Create { name } => {
                let made = client.create_channel(&NewChannel { name }).await?;
                Ok(out.either(&made, || &made.channel)?)
            }
            Command::Publish {
                channel,
                content,
                note,
            } => {
                let cid = content_of(&client, &content, out).await?;
                let published = client
                    .publish_version(&channel, &NewVersion { cid, note })
                    .await?;
                Ok(out.either(&published, || described(&published))?)
            }
            Command::Show { channel } => {
                let known = client.channel(&channel).await?;
                Ok(out.either(&known, || described(&known))?)
            }
            Command::Follow { name, at, newest } => follow(&client, name, at, newest, out).await,
        }
    };
    wait::unless_interrupted(work).await?
}

async fn list(client: &Client, out: &Out) -> anyhow::Result<()> {
    let channels = client.channels().await?;
    if out.is_json() {
        return Ok(channels.iter().try_for_each(|channel| out.json(channel))?);
    }
    let rows: Vec<_> = channels
        .iter()
        .map(|known| {
            [
                known.channel.clone(),
                known.name.clone().unwrap_or_default(),
                known.number.map(|number| number.to_string()).unwrap_or_default(),
                known.cid.map(|cid| cid.to_string()).unwrap_or_default(),
                known.follows.join(", "),
            ]
        })
        .collect();
    if !rows.is_empty() {
        out.text(&table(
            ["channel", "name", "version", "content", "followed by"],
            rows,
            out.is_terminal(),
        ))?;
    }
    Ok(())
}

/// What is to be published: content by its id, or a path, which is shared.
async fn content_of(client: &Client, content: &str, out: &Out) -> anyhow::Result<Cid> {
    if Path::new(content).symlink_metadata().is_ok() {
        return share::path(client, Path::new(content), out).await;
    }
    let link: Link = content
        .parse()
        .with_context(|| format!("{content:?} is neither a path that is there nor a CID"))?;
    if !link.path.is_empty() {
        return Err(Ended::usage("a channel points at a root, not at a path below one").into());
    }
    Ok(link.cid)
}

fn described(known: &Channel) -> String {
    let mut text = format!("channel  {}\n", known.channel);
    if let Some(name) = &known.name {
        text += &format!("name     {name}\n");
    }
    match (known.number, known.cid) {
        (Some(number), Some(cid)) => text += &format!("version  {number}\ncontent  {cid}\n"),
        _ => text += "version  nothing published yet\n",
    }
    if let Some(bytes) = known.size {
        text += &format!("size     {}\n", size(bytes));
    }
    if let Some(note) = &known.note {
        text += &format!("note     {}\n", clean(note));
    }
    text
}

async fn follow(
    client: &Client,
    name: Option<String>,
    at: Option<u64>,
    newest: bool,
    out: &Out,
) -> anyhow::Result<()> {
    if let (Some(name), true) = (&name, newest || at.is_some()) {
        let held = client.hold(name, &NewHold { at }).await?;
        return Ok(out.either(&held, || standing(&held))?);
    }
    let follows = client.follows().await?;
    let of_name = |follow: &&Follow| name.as_ref().is_none_or(|name| follow.name == *name);
    let mut shown = follows.iter().filter(of_name).peekable();
    if let (Some(name), None) = (&name, shown.peek()) {
        let message = format!("no [follow.{name}] is configured");
        return Err(Ended::code(cardume_api::Code::NotFound, message).into());
    }
    for follow in shown {
        out.either(follow, || standing(follow))?;
    }
    Ok(())
}

/// How a place that follows a channel stands, in a line, and what is wrong in another.
pub(super) fn standing(follow: &Follow) -> String {
    let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |number| number.to_string());
    let (name, state, to) = (&follow.name, follow.state.as_str(), clean(&follow.to));
    let (present, wanted) = (number(follow.present), number(follow.wanted));
    let mut text = format!("{name}: {state}, version {present} of {wanted}, at {to}");
    if let Some(held) = follow.held {
        text += &format!("; held at {held} of {}", number(follow.newest));
    }
    if follow.behind_since.is_some() {
        let (done, all) = (size(follow.done), size(follow.size));
        text += &format!(
            "; behind for {}, {done} of {all}",
            span(Duration::from_secs(follow.lag_s))
        );
    }
    if let Some(problem) = &follow.problem {
        text += &format!("\n  {}", clean(problem));
    }
    text
}
