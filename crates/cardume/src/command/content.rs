//! Takes content from the daemon over its socket: to stdout, or to files that the daemon may not write itself.
use std::{
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use cardume_api::{
    Client, Code, Entry, EntryKind,
    client::{Body, ByteRange, Place},
};
use cardume_content::{Kind, Link, manifest};
use globset::{Glob, GlobSet, GlobSetBuilder};

use super::{
    get::{Patience, exists, gave_up},
    wait,
};
use crate::{failure::Ended, out::Out, progress::Display};

/// Writes the bytes of a file to stdout.
pub(super) async fn to_stdout(
    client: &Client,
    place: &Place,
    range: Option<ByteRange>,
    patience: Patience,
    out: &Out,
) -> anyhow::Result<()> {
    let mut source = Source::new(client, patience, out);
    let out = out.clone();
    let copied = source.copy(place, range, move |bytes| out.bytes(bytes));
    wait::unless_interrupted(copied).await?.map(drop)
}

/// Bytes of the daemon, and the patience to wait for them.
struct Source<'a> {
    client: &'a Client,
    patience: Patience,
    display: Display,
    done: u64,
}

impl<'a> Source<'a> {
    fn new(client: &'a Client, patience: Patience, out: &Out) -> Self {
        Self {
            client,
            patience,
            display: Display::new(out),
            done: 0,
        }
    }

    /// Copies a file to `sink` and tells its size.
    async fn copy(
        &mut self,
        place: &Place,
        range: Option<ByteRange>,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> anyhow::Result<u64> {
        let mut copied = 0;
        let mut body = self.open(place, range).await?;
        let size = body.len();
        while let Some(bytes) = self.patient(place, body.chunk()).await?? {
            // Disk and pipe set the pace; nothing else runs in this program that a wait could hold up.
            tokio::task::block_in_place(|| sink(&bytes))?;
            copied += bytes.len() as u64;
            self.done += bytes.len() as u64;
            self.display.show_bytes(self.done, size);
        }
        Ok(copied)
    }

    async fn open(&self, place: &Place, range: Option<ByteRange>) -> anyhow::Result<Body> {
        Ok(self.patient(place, self.client.content(place, range)).await??)
    }

    async fn list(&self, place: &Place) -> anyhow::Result<Vec<Entry>> {
        Ok(self.patient(place, self.client.list(place)).await??)
    }

    async fn patient<T>(&self, place: &Place, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::time::timeout(self.patience.limit(), work)
            .await
            .map_err(|_| gave_up(self.patience, self.done > 0, &Link::new(place.cid)))
    }
}

/// Lays content out below a path of this user's.
pub(super) struct Writer<'a> {
    source: Source<'a>,
    force: bool,
    only: Option<GlobSet>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        client: &'a Client,
        patience: Patience,
        force: bool,
        only: &[String],
        out: &Out,
    ) -> anyhow::Result<Self> {
        let mut globs = GlobSetBuilder::new();
        for glob in only {
            globs.add(Glob::new(glob)?);
        }
        Ok(Self {
            source: Source::new(client, patience, out),
            force,
            only: (!only.is_empty()).then(|| globs.build()).transpose()?,
        })
    }

    /// Writes what is at `place` to `path`, and tells how many bytes.
    pub(super) async fn write(
        &mut self,
        place: &Place,
        range: Option<ByteRange>,
        path: &Path,
    ) -> anyhow::Result<u64> {
        if range.is_some() || (place.path.is_empty() && place.cid.kind() == Kind::Blob) {
            return self.file(place, range, path, false).await;
        }
        let is_directory = match place.path.is_empty() {
            true => true,
            false => self.source.client.stat(place).await?.kind == EntryKind::Dir,
        };
        if !is_directory {
            return self.file(place, None, path, false).await;
        }
        if self.force && path.symlink_metadata().is_ok() {
            let message = format!(
                "{} is there; remove it first: from here no directory is replaced",
                path.display()
            );
            return Err(Ended::code(Code::Conflict, message).into());
        }
        // Complete or not there at all: a half directory must not look like a whole one.
        let parent = parent_of(path);
        let staging = tempfile::Builder::new().prefix(".cardume-").tempdir_in(parent)?;
        let size = Box::pin(self.directory(place, "", staging.path(), 0)).await?;
        let staged = staging.keep();
        rename_new(&staged, path)?;
        Ok(size)
    }

    async fn directory(
        &mut self,
        place: &Place,
        below: &str,
        path: &Path,
        depth: u32,
    ) -> anyhow::Result<u64> {
        let limits = manifest::Limits::default();
        if depth > limits.depth {
            return Err(Ended::code(
                Code::Limit,
                format!("more than {} directories deep", limits.depth),
            )
            .into());
        }
        let mut size = 0;
        for entry in self.source.list(place).await? {
            // The daemon checks names too; what is about to become a path is checked where it does.
            let name =
                manifest::Name::new(entry.name.as_str()).context("the directory has an unsafe name")?;
            let name = name.as_str();
            let inner = if below.is_empty() {
                name.to_owned()
            } else {
                format!("{below}/{name}")
            };
            let target = path.join(name);
            let mut place = place.clone();
            place.path.push(name.to_owned());
            match entry.kind {
                EntryKind::Dir => {
                    std::fs::create_dir(&target)?;
                    size += Box::pin(self.directory(&place, &inner, &target, depth + 1)).await?;
                    if self.only.is_some() {
                        // Nothing in it was wanted, if this succeeds.
                        std::fs::remove_dir(&target).ok();
                    }
                }
                _ if !self.only.as_ref().is_none_or(|only| only.is_match(&inner)) => {}
                EntryKind::File => size += self.file(&place, None, &target, entry.executable).await?,
                EntryKind::Symlink => symlink(&entry, depth, &target)?,
            }
        }
        Ok(size)
    }

    async fn file(
        &mut self,
        place: &Place,
        range: Option<ByteRange>,
        path: &Path,
        executable: bool,
    ) -> anyhow::Result<u64> {
        let mode = if executable { 0o777 } else { 0o666 };
        let mut file = tempfile::Builder::new()
            .prefix(".cardume-")
            .make_in(parent_of(path), |path| {
                // The user's umask applies, as to any other file of theirs.
                std::fs::OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(mode)
                    .open(path)
            })
            .with_context(|| format!("cannot write beside {}", path.display()))?;
        let size = self
            .source
            .copy(place, range, |bytes| file.as_file_mut().write_all(bytes))
            .await?;
        let placed = match self.force {
            true => file.persist(path).map(drop).map_err(|error| error.error),
            false => file
                .persist_noclobber(path)
                .map(drop)
                .map_err(|error| error.error),
        };
        match placed {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path).into()),
            Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
            Ok(()) => Ok(size),
        }
    }
}

fn symlink(entry: &Entry, depth: u32, path: &Path) -> anyhow::Result<()> {
    let target = entry.target.as_deref().unwrap_or_default();
    if !manifest::symlink_stays_inside(depth, target) {
        anyhow::bail!("the link {:?} leads out of the directory", entry.name);
    }
    Ok(std::os::unix::fs::symlink(target, path)?)
}

/// The file system that something is written to.
pub(super) struct Disk(std::fs::File);

impl Disk {
    /// The file system of what will be at `path`.
    pub(super) fn of(path: &Path) -> anyhow::Result<Self> {
        let parent = parent_of(path);
        let directory = std::fs::File::open(parent);
        Ok(Self(
            directory.with_context(|| format!("cannot open {}", parent.display()))?,
        ))
    }

    /// Waits until all that was written, names too, is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent()
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

/// Gives a finished directory its name, never over another.
fn rename_new(from: &Path, to: &Path) -> anyhow::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(error) => {
            std::fs::remove_dir_all(from).ok();
            match error {
                rustix::io::Errno::EXIST => Err(exists(to).into()),
                error => {
                    Err(io::Error::from(error)).with_context(|| format!("cannot write {}", to.display()))
                }
            }
        }
    }
}
