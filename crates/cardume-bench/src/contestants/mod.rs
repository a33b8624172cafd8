//! Systems that move files.

mod aria2;
mod cardume;
mod curl;
mod libtorrent;
mod rqbit;
mod sendme;
mod syncthing;

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context;
use tempfile::TempDir;

pub(crate) use self::cardume::{home, start};
use self::{
    aria2::Aria2,
    cardume::{Cardume, Link},
    curl::Curl,
    libtorrent::Libtorrent,
    rqbit::Rqbit,
    sendme::Sendme,
    syncthing::Syncthing,
};
use crate::{content::Content, place::Place, watch::Watch, workload::Workload};

/// One system that moves files.
pub trait Contestant {
    /// What it is called in the table and on the command line.
    fn name(&self) -> &'static str;

    /// Programs it takes.
    fn needs(&self) -> Vec<PathBuf>;

    /// Whether it can do this at all.
    fn can(&self, workload: Workload) -> bool;

    /// Starts a source of `content`, ready to be fetched from.
    ///
    /// # Errors
    ///
    /// If it does not start.
    fn source(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Source>>;

    /// Makes a fetcher ready; what it starts may run on.
    ///
    /// # Errors
    ///
    /// If it does not start.
    fn fetcher(&self, place: &Place, content: &Content) -> anyhow::Result<Box<dyn Fetcher>>;
}

/// A running source; gone when dropped.
pub trait Source {
    /// Processes that do its work, the first of them in its place.
    fn processes(&self) -> Vec<u32>;

    /// What fetchers need to know.
    fn offer(&self) -> Offer;
}

/// Where content can be fetched.
#[derive(Debug, Clone)]
pub struct Offer {
    /// What to ask for, in the words of the contestant.
    pub what: String,
    /// Whom to ask.
    pub at: SocketAddr,
    /// Whether that is a UDP address, not a TCP one.
    pub is_udp: bool,
}

/// What one fetcher is to do.
pub struct Wanted<'a> {
    /// Everybody who has it.
    pub offers: &'a [Offer],
    /// Where it shall be, under this name.
    pub to: &'a Path,
    /// Only these bytes of a file.
    pub range: Option<Range<u64>>,
}

/// One that fetches; gone when dropped.
pub trait Fetcher: Send {
    /// Processes of its own that run all the time; none of those that run only while they fetch.
    fn processes(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Fetches; returns when the content is there, as the contestant itself says.
    ///
    /// # Errors
    ///
    /// If it is not.
    fn fetch(&mut self, watch: &Watch, wanted: &Wanted<'_>) -> anyhow::Result<()>;
}

/// Everybody, cardume first.
pub fn all(program: &Path) -> Vec<Box<dyn Contestant>> {
    vec![
        Box::new(Cardume::new(program, Link::Tcp)),
        Box::new(Cardume::new(program, Link::Quic)),
        Box::new(Curl),
        Box::new(Aria2),
        Box::new(Libtorrent),
        Box::new(Rqbit),
        Box::new(Sendme),
        Box::new(Syncthing::default()),
    ]
}

/// Where a program is, if it is installed.
pub fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_path_buf());
    }
    let path = std::env::var_os("PATH")?;
    let mut directories = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    directories.find_map(|directory| Some(directory.join(program)).filter(|file| file.is_file()))
}

/// A source that is one process.
struct Giver {
    process: Killed,
    offer: Offer,
    /// Where it keeps its own things; removed after it.
    _directory: Option<TempDir>,
}

impl Source for Giver {
    fn processes(&self) -> Vec<u32> {
        vec![self.process.0.id()]
    }

    fn offer(&self) -> Offer {
        self.offer.clone()
    }
}

/// A process that is killed when dropped.
struct Killed(Child);

impl Killed {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self(quiet.spawn()?))
    }

    /// Starts what prints a line when it is ready, and returns what stands there after `mark`.
    fn start_saying(command: &mut Command, mark: &str) -> anyhow::Result<(Self, String)> {
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Self(quiet.spawn().with_context(|| format!("{command:?}"))?);
        let said = process.0.stdout.take().context("it was asked for")?;
        let mut lines = BufReader::new(said).lines();
        let found = loop {
            let line = lines
                .next()
                .with_context(|| format!("{command:?} ended without a line with {mark:?}"))??;
            if let Some((_, rest)) = line.split_once(mark) {
                break rest.trim().to_owned();
            }
        };
        // It may say more, and must not wait for somebody to read that, nor fail because nobody does.
        std::thread::spawn(move || lines.by_ref().for_each(drop));
        Ok((process, found))
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
