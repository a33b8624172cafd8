//! `cardume file`: what the node has.
use anyhow::Context;
use cardume_api::{Client, Entry, EntryKind, Outcome, Stat, Verified, client::Place};
use cardume_content::{Cid, Link};
use clap::{Args, Subcommand};
use multiaddr::Multiaddr;

use super::{care, content, get::Patience, wait};
use crate::{
    failure::Ended,
    out::Out,
    reach::Reach,
    text::{allowed, count, size, table},
};

/// What the node has
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    cardume file ls\n  \
    cardume file ls bafyr4i…/season1\n  \
    cardume file cat bafyr4i…/season1/notes.txt | less\n  \
    cardume file verify")]
pub(crate) enum Command {
    /// List what is shared and what has been fetched, or the entries of a directory
    Ls {
        /// A directory; without it, everything the node has
        #[arg(value_name = "LINK|CID[/PATH]")]
        link: Option<Link>,
        #[command(flatten)]
        peers: Peers,
    },
    /// Print the bytes of a file
    Cat {
        /// The file
        #[arg(value_name = "LINK|CID[/PATH]")]
        link: Link,
        #[command(flatten)]
        peers: Peers,
    },
    /// Tell what is known of some content
    Stat {
        /// The content
        #[arg(value_name = "LINK|CID[/PATH]")]
        link: Link,
        #[command(flatten)]
        peers: Peers,
    },
    /// Hash content anew and tell what has changed; everything without a CID
    Verify {
        /// What was shared or fetched
        #[arg(value_name = "LINK|CID")]
        roots: Vec<Link>,
    },
    Repair(care::RepairOptions),
    /// Delete what nothing needs any more, and tell how much that was
    Gc,
    /// Tell what content takes on the disk, and what of it others share
    Du {
        /// What was shared or fetched; everything without one
        #[arg(value_name = "LINK|CID")]
        root: Option<Link>,
    },
    /// Forget something shared or fetched; files in place stay where they are
    Rm {
        /// What was shared or fetched
        #[arg(required = true, value_name = "LINK|CID")]
        roots: Vec<Link>,
    },
    /// Keep something whatever happens
    Pin {
        /// What was shared or fetched
        #[arg(required = true, value_name = "LINK|CID")]
        roots: Vec<Link>,
    },
    /// Keep something no longer than there is room
    Unpin {
        /// What was shared or fetched
        #[arg(required = true, value_name = "LINK|CID")]
        roots: Vec<Link>,
    },
}

/// Whom to ask for what the node does not have.
#[derive(Debug, Args)]
pub(crate) struct Peers {
    /// Ask this peer first: an address that ends in /p2p/PEER_ID; may be repeated
    #[arg(long = "peer", value_name = "MULTIADDR")]
    peers: Vec<Multiaddr>,
}

impl Peers {
    fn place(self, link: Link) -> Place {
        Place {
            cid: link.cid,
            path: link.path,
            peers: self.peers.into_iter().chain(link.peers).collect(),
        }
    }
}

pub(super) async fn run(reach: Reach<'_>, command: Command) -> anyhow::Result<()> {
    let client = reach.daemon().await?;
    let out = reach.out;
    match command {
        Command::Ls { link: None, .. } => roots(&client, out).await,
        Command::Ls {
            link: Some(link),
            peers,
        } => {
            let entries = wait::unless_interrupted(client.list(&peers.place(link))).await??;
            list(&entries, out)
        }
        Command::Cat { link, peers } => {
            let place = peers.place(link);
            content::to_stdout(&client, &place, None, Patience::usual(), out).await
        }
        Command::Stat { link, peers } => {
            let stat = wait::unless_interrupted(client.stat(&peers.place(link))).await??;
            Ok(out.either(&stat, || describe(&stat))?)
        }
        Command::Verify { roots } => verify(&client, &roots, out).await,
        Command::Repair(options) => care::repair(&client, options, out).await,
        Command::Gc => care::gc(&client, out).await,
        Command::Du { root } => care::du(&client, root.as_ref(), out).await,
        Command::Rm { roots } => {
            each(roots, ("held", false), out, async |cid| client.remove(cid).await).await
        }
        Command::Pin { roots } => {
            each(roots, ("pinned", true), out, async |cid| {
                client.pin(cid, true).await
            })
            .await
        }
        Command::Unpin { roots } => {
            each(roots, ("pinned", false), out, async |cid| {
                client.pin(cid, false).await
            })
            .await
        }
    }
}

/// Does something to each root, and tells a program what became of it; a person sees that nothing went wrong.
async fn each<E>(
    roots: Vec<Link>,
    (what, value): (&str, bool),
    out: &Out,
    work: impl AsyncFn(Cid) -> Result<(), E>,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    for root in roots {
        work(root.cid).await.with_context(|| root.cid.to_string())?;
        if out.is_json() {
            out.json(&serde_json::json!({ "cid": root.cid, what: value }))?;
        }
    }
    Ok(())
}

async fn roots(client: &Client, out: &Out) -> anyhow::Result<()> {
    let files = client.files().await?;
    if out.is_json() {
        for file in &files {
            out.json(file)?;
        }
        return Ok(());
    }
    let rows = files.into_iter().map(|file| {
        let place = file.path.unwrap_or_else(|| "(store)".into());
        let size = if out.is_terminal() {
            size(file.size)
        } else {
            file.size.to_string()
        };
        let kept = match file.share {
            Some(share) => format!("share {share}"),
            None if file.pinned => "pinned".to_owned(),
            None => "-".to_owned(),
        };
        [
            file.cid.to_string(),
            size,
            file.files.to_string(),
            kept,
            allowed(file.allow.as_deref()),
            file.name,
            place,
        ]
    });
    let head = ["CID", "SIZE", "FILES", "KEPT", "FOR", "NAME", "PLACE"];
    Ok(out.text(&table(head, rows.collect(), out.is_terminal()))?)
}

fn list(entries: &[Entry], out: &Out) -> anyhow::Result<()> {
    if out.is_json() {
        for entry in entries {
            out.json(entry)?;
        }
        return Ok(());
    }
    let rows = entries.iter().map(|entry| {
        let kind = match entry.kind {
            EntryKind::Dir => "dir",
            EntryKind::Symlink => "link",
            EntryKind::File if entry.executable => "exec",
            EntryKind::File => "file",
        };
        let size = if out.is_terminal() {
            size(entry.size)
        } else {
            entry.size.to_string()
        };
        let id = match (&entry.cid, &entry.target) {
            (Some(cid), _) => cid.to_string(),
            (None, target) => format!("-> {}", target.as_deref().unwrap_or_default()),
        };
        [kind.to_owned(), size, entry.name.clone(), id]
    });
    let head = ["KIND", "SIZE", "NAME", "CID"];
    Ok(out.text(&table(head, rows.collect(), out.is_terminal()))?)
}

fn describe(stat: &Stat) -> String {
    let files = stat
        .files
        .map(|files| format!("\nfiles  {files}"))
        .unwrap_or_default();
    let name = stat
        .name
        .as_deref()
        .map(|name| format!("\nname   {name}"))
        .unwrap_or_default();
    let kind = format!("{:?}", stat.kind).to_lowercase();
    let held = format!("{:?}", stat.held).to_lowercase();
    format!(
        "cid    {}\nkind   {kind}\nsize   {}{files}{name}\nheld   {held}\nfor    {}",
        stat.cid,
        stat.size,
        allowed(stat.allow.as_deref())
    )
}

async fn verify(client: &Client, roots: &[Link], out: &Out) -> anyhow::Result<()> {
    let roots: Vec<Option<Cid>> = match roots {
        [] => vec![None],
        roots => roots.iter().map(|link| Some(link.cid)).collect(),
    };
    let mut all = Verified {
        blobs: 0,
        bytes: 0,
        broken: Vec::new(),
    };
    for root in roots {
        let Outcome::Verified(verified) = wait::finish(client, client.verify(root), out).await? else {
            return Err(wait::unexpected().into());
        };
        all.blobs += verified.blobs;
        all.bytes += verified.bytes;
        all.broken.extend(verified.broken);
    }
    out.either(&all, || {
        let broken = care::lines(&all.broken);
        format!("{broken}{} in {}", size(all.bytes), count(all.blobs, "blob"))
    })?;
    if all.broken.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{} broken; see cardume file repair",
        count(all.broken.len() as u64, "blob")
    );
    Err(Ended::code(cardume_api::Code::Corrupt, message).into())
}
