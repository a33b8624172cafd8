//! `cardume share`
use std::path::{Path, PathBuf};

use anyhow::Context;
use cardume_api::{Client, ClientError, Code, Mode, NewShare, Outcome, Shared};
use cardume_content::{Cid, Hash, Link, link::ParseLinkError};
use clap::Args;

use super::{upload, wait};
use crate::{
    failure::Ended,
    inside::{Inside, State},
    out::Out,
    reach::{Reach, absolute},
    text::{allowed, count, size},
};

/// Share files and directories
///
/// Files stay where they are and are shared in place; with --copy a copy goes into the store. Without a daemon this
/// command runs a node itself and shares until interrupted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cardume share film.mkv\n  \
    cardume share --allow nas,group:family holiday/\n  \
    cardume share --copy --name holiday ~/Pictures/2026\n  \
    cardume share --origin https://dl.example.org/image.iso image.iso\n  \
    cardume --json share *.iso | jq -r .link\n\n\
    Prints two lines for each path: the CID and the link to send to others. Content ids look like\n\
    IPFS CIDs, but IPFS does not serve them.")]
pub(crate) struct Options {
    /// Files and directories
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What to call it, instead of its file name
    #[arg(long)]
    name: Option<String>,
    /// Copy into the node's store; the files may then change or go
    #[arg(long)]
    copy: bool,
    /// Who may have it and everything below, names of [peer.NAME], group:NAME, peer ids; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    allow: Vec<String>,
    /// Show the link as a QR code too
    #[arg(long)]
    qr: bool,
    /// Where it is on the web, for the link: of a file the file itself, or with / at the end what it is in; of a
    /// directory what its entries are in. May be given again
    #[arg(long, value_name = "URL", value_parser = origin)]
    origin: Vec<String>,
}

/// What a link takes for an origin.
fn origin(text: &str) -> Result<String, ParseLinkError> {
    Link::new(Cid::blob(Hash::of(b""))).add_origin(text)?;
    Ok(text.to_owned())
}

pub(super) async fn run(reach: Reach<'_>, options: Options) -> anyhow::Result<()> {
    if options.name.is_some() && options.paths.len() > 1 {
        return Err(Ended::usage("--name names one path; share the others on their own").into());
    }
    for path in &options.paths {
        // Before a node is started for nothing.
        path.symlink_metadata()
            .with_context(|| format!("cannot share {}", path.display()))?;
    }
    if let Some(client) = reach.daemon_if_any().await? {
        return all(&client, &options, reach.out).await;
    }
    reach
        .out
        .say("no daemon is running: sharing from this command until it is interrupted");
    let inside = Inside::start(reach, State::Temporary).await?;
    let shared = all(inside.client(), &options, reach.out).await;
    if shared.is_ok() {
        reach.out.say("sharing; press Ctrl-C to stop");
        wait::interrupted().await;
        reach.out.say("stopping");
    }
    inside.stop(true).await?;
    shared
}

async fn all(client: &Client, options: &Options, out: &Out) -> anyhow::Result<()> {
    for path in &options.paths {
        let mut shared = one(client, &absolute(path), options, out)
            .await
            .with_context(|| format!("cannot share {}", path.display()))?;
        if !options.origin.is_empty() {
            let mut link: Link = shared.link.parse()?;
            for origin in &options.origin {
                link.add_origin(origin)?;
            }
            shared.link = link.to_string();
        }
        tell(&shared, options.qr, out)?;
    }
    Ok(())
}

/// Shares a path where it is.
pub(super) async fn path(client: &Client, path: &Path, out: &Out) -> anyhow::Result<Cid> {
    let options = Options {
        paths: Vec::new(),
        name: None,
        copy: false,
        qr: false,
        origin: Vec::new(),
        allow: Vec::new(),
    };
    let shared = one(client, &absolute(path), &options, out).await;
    let shared = shared.with_context(|| format!("cannot share {}", path.display()))?;
    Ok(shared.cid)
}

async fn one(client: &Client, path: &Path, options: &Options, out: &Out) -> anyhow::Result<Shared> {
    let share = NewShare {
        path: path.to_path_buf(),
        mode: options.copy.then_some(Mode::Copy),
        name: options.name.clone(),
        allow: (!options.allow.is_empty()).then(|| options.allow.clone()),
    };
    let interrupts = wait::Interrupts::heard_from_now();
    let operation = match client.share(&share).await {
        Err(ClientError::Problem(problem)) if problem.code == Code::Denied && options.copy => {
            out.say_more("the daemon runs as another user: sending it the bytes");
            return upload::tree(client, path, options.name.clone(), share.allow, out).await;
        }
        Err(ClientError::Problem(problem)) if problem.code == Code::Denied => {
            return Err(problem.into());
        }
        started => started?,
    };
    match wait::follow(client, &operation, interrupts, out).await? {
        Outcome::Shared(shared) => Ok(shared),
        _ => Err(wait::unexpected().into()),
    }
}

fn tell(shared: &Shared, qr: bool, out: &Out) -> anyhow::Result<()> {
    for skipped in &shared.skipped {
        out.warn(format!("left out {}: {}", skipped.path, skipped.reason));
    }
    out.either(shared, || format!("{}\n{}", shared.cid, shared.link))?;
    out.say_more(format!(
        "{}: {} in {}",
        shared.name,
        size(shared.size),
        count(shared.files, "file")
    ));
    if shared.allow.is_some() {
        out.say_more(format!("for {}", allowed(shared.allow.as_deref())));
    }
    if qr {
        let code = qrcode::QrCode::new(&shared.link).context("the link is too long for a QR code")?;
        let picture = code.render::<qrcode::render::unicode::Dense1x2>().build();
        out.picture(&picture);
    }
    Ok(())
}
