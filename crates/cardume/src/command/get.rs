//! `cardume get`
use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context;
use cardume_api::{
    Client, ClientError, Code, Fetched, NewFetch, Outcome, Phase, Problem, Progress,
    client::{ByteRange, Place},
};
use cardume_content::{Link, manifest::Name};
use clap::Args;
use multiaddr::Multiaddr;
use tokio::sync::watch;

use super::{content, wait};
use crate::{
    failure::Ended,
    inside::{Inside, State},
    out::Out,
    progress::Display,
    reach::{Reach, absolute},
    text::{count, size, span},
};

/// Time without any progress after which there is no hope, unless --timeout says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

/// Get a file or a directory from peers
///
/// Every byte is checked against the CID. What is interrupted goes on where it was with the same command. Without a
/// daemon this command runs a node itself until it is done.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cardume get 'cardume:bafkr4i…?n=film.mkv'\n  \
    cardume get bafyr4i…/season1/e01.mkv -o ~/Videos\n  \
    cardume get bafkr4i… --range 0-1023 -o - | xxd\n  \
    cardume get bafyr4i… --only '*.flac' -o music\n\n\
    Content ids look like IPFS CIDs, but IPFS does not serve them.")]
pub(crate) struct Options {
    /// A link, or a CID with or without a path below it
    #[arg(value_name = "LINK|CID[/PATH]")]
    link: String,
    /// Where to put it: a path, a directory to put it in, or - for stdout [default: its name, here]
    #[arg(short, long, value_name = "DEST")]
    output: Option<PathBuf>,
    /// Only these bytes of a file: 0-99 (both included), 100- or -100 (the last)
    #[arg(long, value_name = "A-B", value_parser = range, allow_hyphen_values = true)]
    range: Option<ByteRange>,
    /// Only files of a directory whose path matches; may be repeated
    #[arg(long, value_name = "GLOB", conflicts_with = "range")]
    only: Vec<String>,
    /// Ask this peer first: an address that ends in /p2p/PEER_ID; may be repeated
    #[arg(long, value_name = "MULTIADDR", value_parser = peer)]
    peer: Vec<Multiaddr>,
    /// Give up after this long, such as 30s or 5m [default: after 60s without any progress]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<cardume_units::Duration>,
    /// Replace what is at the destination
    #[arg(short, long)]
    force: bool,
    /// End only when it is on the disk for good, and would survive a power cut
    #[arg(long)]
    sync: bool,
}

impl Options {
    fn patience(&self) -> Patience {
        Patience {
            limit: self.timeout.map(cardume_units::Duration::get),
            began: Instant::now(),
        }
    }

    fn to_stdout(&self) -> bool {
        self.output.as_deref() == Some(Path::new("-"))
    }

    fn place(&self, link: &Link) -> Place {
        Place {
            cid: link.cid,
            path: link.path.clone(),
            peers: self.peer.iter().chain(&link.peers).cloned().collect(),
        }
    }
}

pub(super) async fn run(reach: Reach<'_>, options: Options) -> anyhow::Result<()> {
    let link: Link = options
        .link
        .parse()
        .map_err(|error| Ended::usage(format!("{:?} is no link and no CID: {error}", options.link)))?;
    for glob in &options.only {
        globset::Glob::new(glob).map_err(|error| Ended::usage(format!("--only {glob}: {error}")))?;
    }
    if options.sync && options.to_stdout() {
        return Err(Ended::usage("--sync waits for a disk, and - is none; name a file with -o").into());
    }
    let destination = (!options.to_stdout()).then(|| destination(options.output.as_deref(), &link));
    if let Some(path) = &destination
        && !options.force
        && path.symlink_metadata().is_ok()
    {
        // Said before any network is asked.
        return Err(exists(path).into());
    }
    if let Some(client) = reach.daemon_if_any().await? {
        return get(&client, &link, destination.as_deref(), &options, reach.out).await;
    }
    reach
        .out
        .say("no daemon is running: getting it from this command");
    let state = State::kept(reach, (link.cid.to_string(), &link.path, &destination));
    let inside = Inside::start(reach, state).await?;
    let got = get(
        inside.client(),
        &link,
        destination.as_deref(),
        &options,
        reach.out,
    )
    .await;
    let stopped = inside.stop(got.is_ok()).await;
    got.and(stopped)
}

async fn get(
    client: &Client,
    link: &Link,
    destination: Option<&Path>,
    options: &Options,
    out: &Out,
) -> anyhow::Result<()> {
    let Some(path) = destination else {
        let place = options.place(link);
        return content::to_stdout(client, &place, options.range.clone(), options.patience(), out).await;
    };
    let patience = options.patience();
    let fetched = if options.range.is_some() {
        streamed(client, link, path, options, out).await?
    } else {
        match search(client, link, path, options, patience, out).await? {
            Some(fetched) => fetched,
            None => streamed(client, link, path, options, out).await?,
        }
    };
    tell(&fetched, out)
}

/// Fetches, again and again while nobody is found and there is time.
async fn search(
    client: &Client,
    link: &Link,
    path: &Path,
    options: &Options,
    patience: Patience,
    out: &Out,
) -> anyhow::Result<Option<Fetched>> {
    loop {
        let search = Instant::now();
        match fetch(client, link, path, options, patience, out).await {
            Err(error) if is_not_found(&error) && patience.is_worth_another(search) => {
                out.say_more("nobody was found; looking again");
            }
            done => return done,
        }
    }
}

fn is_not_found(error: &anyhow::Error) -> bool {
    let problem = error.downcast_ref::<Problem>();
    problem.is_some_and(|problem| problem.code == Code::NotFound)
}

/// Has the daemon write to `path`; `None` when it may not do that for this user.
async fn fetch(
    client: &Client,
    link: &Link,
    path: &Path,
    options: &Options,
    patience: Patience,
    out: &Out,
) -> anyhow::Result<Option<Fetched>> {
    let request = NewFetch {
        link: options.link.clone(),
        destination: Some(path.to_path_buf()),
        force: options.force,
        sync: options.sync,
        only: options.only.clone(),
        name: path.file_name().and_then(OsStr::to_str).map(str::to_owned),
        peers: options.peer.clone(),
        ..NewFetch::default()
    };
    let mut interrupts = wait::Interrupts::heard_from_now();
    let operation = match client.fetch(&request).await {
        Err(ClientError::Problem(problem)) if problem.code == Code::Denied => {
            out.say_more(format!("{problem}; writing from here"));
            return Ok(None);
        }
        started => started?,
    };
    let (moved, seen) = watch::channel(Progress::default());
    let mut display = Display::new(out);
    let waiting = client.wait(&operation, |now| {
        display.show(now);
        moved.send_if_modified(|last| {
            let changed = *last != now.progress;
            last.clone_from(&now.progress);
            changed
        });
    });
    let ended = tokio::select! {
        ended = interrupts.unless(waiting) => ended,
        given_up = patience.run_out(seen, link) => Err(given_up),
    };
    display.clear();
    match ended {
        Ok(ended) => match wait::outcome(ended?)? {
            Outcome::Fetched(fetched) => Ok(Some(fetched)),
            _ => Err(wait::unexpected().into()),
        },
        Err(ended) => {
            client.cancel(&operation.id).await.ok();
            if ended.status != Code::NotFound.exit_status() {
                out.say("what has come is kept: the same command goes on where this one stopped");
            }
            Err(ended.into())
        }
    }
}

async fn streamed(
    client: &Client,
    link: &Link,
    path: &Path,
    options: &Options,
    out: &Out,
) -> anyhow::Result<Fetched> {
    let began = Instant::now();
    let mut writer = content::Writer::new(client, options.patience(), options.force, &options.only, out)?;
    let place = options.place(link);
    // Open before the first byte is written: it is told of writes that fail from then on.
    let disk = options.sync.then(|| content::Disk::of(path)).transpose()?;
    let written = wait::unless_interrupted(writer.write(&place, options.range.clone(), path)).await?;
    let size = written.with_context(|| format!("cannot get {}", link.cid))?;
    if let Some(disk) = disk {
        tokio::task::block_in_place(|| disk.sync())
            .with_context(|| format!("cannot sync {}", path.display()))?;
    }
    Ok(Fetched {
        cid: link.cid,
        path: Some(path.display().to_string()),
        size,
        seconds: began.elapsed().as_secs_f64(),
        fetched: 0,
        origin: 0,
        sources: Vec::new(),
    })
}

fn tell(fetched: &Fetched, out: &Out) -> anyhow::Result<()> {
    out.either(fetched, || fetched.path.clone().unwrap_or_default())?;
    let seconds = fetched.seconds.max(0.001);
    let rate = size((fetched.fetched as f64 / seconds) as u64);
    let peers = match fetched.sources.len() as u64 {
        0 => None,
        peers => Some(count(peers, "peer")),
    };
    let web = (fetched.origin > 0).then(|| format!("the web origin ({})", size(fetched.origin)));
    let from: Vec<String> = peers.into_iter().chain(web).collect();
    let sources = match from.is_empty() {
        true => String::new(),
        false => format!(", {rate}/s from {}", from.join(" and ")),
    };
    let time = span(Duration::try_from_secs_f64(fetched.seconds).unwrap_or_default());
    out.say(format!("{} in {time}{sources}; checked", size(fetched.size)));
    Ok(())
}

/// How long to wait for what does not come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// What the user said: for everything together.
    limit: Option<Duration>,
    began: Instant,
}

impl Patience {
    /// For commands without --timeout.
    pub(super) fn usual() -> Self {
        Self {
            limit: None,
            began: Instant::now(),
        }
    }

    /// The limit for a wait in which nothing is seen to move.
    pub(super) fn limit(self) -> Duration {
        self.limit
            .map_or(PATIENCE, |limit| limit.saturating_sub(self.began.elapsed()))
    }

    /// Whether a search that began at `search` and found nobody is worth another.
    ///
    /// A daemon gives up sooner than a patient user; what it can tell without searching does not change.
    fn is_worth_another(self, search: Instant) -> bool {
        const SEARCHED: Duration = Duration::from_secs(5);
        self.limit.is_some() && !self.limit().is_zero() && search.elapsed() > SEARCHED
    }

    /// Ends when there is no more hope, and says so.
    async fn run_out(self, mut seen: watch::Receiver<Progress>, link: &Link) -> Ended {
        if self.limit.is_some() {
            tokio::time::sleep(self.limit()).await;
        } else {
            loop {
                match tokio::time::timeout(PATIENCE, seen.changed()).await {
                    Ok(Ok(())) => {}
                    // Nothing more will be seen: the operation has ended, and that is told elsewhere.
                    Ok(Err(_)) => std::future::pending().await,
                    Err(_) if hopes(seen.borrow().phase) => {}
                    Err(_) => break,
                }
            }
        }
        let last = seen.borrow().clone();
        gave_up(self, last.done > 0 || last.fetched > 0, link)
    }
}

/// Whether a phase without visible progress is still getting somewhere.
fn hopes(phase: Phase) -> bool {
    !matches!(phase, Phase::FindingPeers | Phase::Manifests | Phase::Content)
}

/// Why a wait was given up.
pub(super) fn gave_up(patience: Patience, found: bool, link: &Link) -> Ended {
    let limit = span(patience.limit.unwrap_or(PATIENCE));
    if found {
        let message = format!(
            "{} did not arrive in {limit}; try again, or give it more --timeout",
            link.cid
        );
        Ended::code(Code::Timeout, message)
    } else {
        let message = format!(
            "no peer with {} was found in {limit}; is the sharing node running? name it with --peer",
            link.cid
        );
        Ended::code(Code::NotFound, message)
    }
}

pub(super) fn exists(path: &Path) -> Ended {
    let message = format!(
        "{} exists; choose another with -o, or replace it with --force",
        path.display()
    );
    Ended::code(Code::Conflict, message)
}

/// Where it goes: like `cp`, into what is a directory already.
fn destination(output: Option<&Path>, link: &Link) -> PathBuf {
    let name = name_of(link);
    let path = match output {
        None => PathBuf::from(name),
        Some(path) if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => path.join(name),
        Some(path) => path.to_path_buf(),
    };
    absolute(&path)
}

/// A name for the file here. A link's name is somebody else's word and must not lead anywhere.
fn name_of(link: &Link) -> String {
    let said = link.path.last().or(link.name.as_ref());
    said.and_then(|name| Name::new(name.as_str()).ok())
        .map_or_else(|| link.cid.to_string(), |name| name.as_str().to_owned())
}

fn peer(text: &str) -> Result<Multiaddr, String> {
    let address: Multiaddr = text.parse().map_err(|error| format!("{error}"))?;
    match address.iter().last() {
        Some(multiaddr::Protocol::P2p(_)) => Ok(address),
        _ => Err("it must end in /p2p/PEER_ID".into()),
    }
}

/// Both ends of `A-B` are included, as in HTTP.
fn range(text: &str) -> Result<ByteRange, String> {
    let number = |digits: &str| {
        digits
            .parse::<u64>()
            .map_err(|_| format!("{digits:?} is no number of bytes"))
    };
    match text.split_once('-') {
        Some(("", last)) => match number(last)? {
            0 => Err("no bytes at all".into()),
            last => Ok(ByteRange::Last(last)),
        },
        Some((first, "")) => Ok(ByteRange::From(number(first)?)),
        Some((first, last)) => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Ok(ByteRange::Within(first..last.saturating_add(1))),
            _ => Err("it ends before it begins".into()),
        },
        None => Err("expected A-B, A- or -N".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_includes_both_its_ends() {
        assert_eq!(range("0-99"), Ok(ByteRange::Within(0..100)));
        assert_eq!(range("100-"), Ok(ByteRange::From(100)));
        assert_eq!(range("-7"), Ok(ByteRange::Last(7)));
        for bad in ["", "-", "5", "9-3", "a-b", "-0", "1-2-3"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_from_a_link_never_leads_out_of_the_directory() {
        let cid = cardume_content::Cid::blob(cardume_content::Hash::of(b"a"));
        let mut link = Link::new(cid);
        for hostile in ["../../etc/passwd", "/etc/passwd", "..", "", "a\u{1b}b", "a/b"] {
            link.name = Some(hostile.into());
            assert_eq!(name_of(&link), cid.to_string(), "{hostile}");
        }
        link.name = Some("film.mkv".into());
        assert_eq!(name_of(&link), "film.mkv");
        link.path = vec!["a".into(), "b.txt".into()];
        assert_eq!(name_of(&link), "b.txt");
    }

    #[test]
    fn a_directory_that_exists_takes_it_in() {
        let directory = tempfile::tempdir().unwrap();
        let mut link = Link::new(cardume_content::Cid::blob(cardume_content::Hash::of(b"a")));
        link.name = Some("a.txt".into());
        assert_eq!(
            destination(Some(directory.path()), &link),
            directory.path().join("a.txt")
        );
        let new = directory.path().join("new");
        assert_eq!(destination(Some(&new), &link), new);
    }
}
