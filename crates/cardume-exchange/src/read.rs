//! A file's bytes in order, fetched as they are needed.
use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use cardume_content::{Hash, Kind, PIECE, pieces::piece_count};
use cardume_store::{Presence, Store};
use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use crate::{
    Config, FetchError, Phase, Reading,
    disk::Disk,
    download::{Download, Event},
    goal::Goal,
    plan,
};

/// Bytes handed to the reader at a time.
const CHUNK: u64 = PIECE;
/// Chunks waiting for the reader.
const WAITING: usize = 4;

/// A read that was asked for.
pub(crate) struct Job {
    pub(crate) path: Vec<String>,
    pub(crate) range: Range<u64>,
    /// What is fetched is taken in through it, if not through that of the exchange.
    pub(crate) store: Option<Store>,
    pub(crate) begun: oneshot::Sender<Result<Reading, FetchError>>,
    /// From when it was asked for, below what asked for it.
    pub(crate) span: Span,
}

impl Job {
    /// Has whoever asked hear that `running` reads are as many as there may be.
    pub(crate) fn refuse(self, running: usize) {
        let reason = format!("{running} files are being read already (exchange.max_reads); try again later");
        // Nobody may wait for it any more.
        let _ = self.begun.send(Err(FetchError::Limit(reason)));
    }
}

/// Runs a read until its last byte is handed over or the reader has gone.
pub(crate) async fn run(
    job: Job,
    config: &Config,
    disk: &Disk,
    root: cardume_content::Cid,
    mut download: Download,
) {
    let Job {
        path,
        range,
        mut begun,
        ..
    } = job;
    let opened = tokio::select! {
        opened = open(&path, &range, config, disk, root, &mut download) => opened,
        () = begun.closed() => return,
    };
    let source = match opened {
        Ok(source) => source,
        Err(error) => {
            // Nobody may wait for it any more.
            let _ = begun.send(Err(error));
            return;
        }
    };
    let (sender, chunks) = mpsc::channel(WAITING);
    let size = source.size;
    let range = range.start.min(size)..range.end.min(size).max(range.start.min(size));
    let reading = Reading {
        size,
        range: range.clone(),
        chunks,
    };
    if begun.send(Ok(reading)).is_err() {
        return;
    }
    let read = stream(source, range, config, disk, &mut download, &sender);
    tokio::select! {
        result = read => if let Err(error) = result {
            let _ = sender.send(Err(error)).await;
        },
        () = sender.closed() => {}
    }
}

/// A file that can be read: all here, or being fetched.
struct Source {
    hash: Hash,
    size: u64,
    fetching: Option<(u32, Arc<cardume_store::Fetch>)>,
    /// Kept from collection meanwhile.
    _hold: cardume_store::Hold,
}

async fn open(
    path: &[String],
    range: &Range<u64>,
    config: &Config,
    disk: &Disk,
    root: cardume_content::Cid,
    download: &mut Download,
) -> Result<Source, FetchError> {
    let limits = config.limits();
    let hold = disk.run(move |store| store.hold(root)).await?;
    let entry = plan::resolve(download, disk, root, path, &limits).await?;
    if entry.cid.kind() == Kind::Directory {
        return Err(FetchError::Refused("a directory has no bytes to read".into()));
    }
    let hash = entry.cid.hash();
    if let Presence::Complete { size } = disk.run(move |store| store.presence(hash)).await?? {
        return Ok(Source {
            hash,
            size,
            fetching: None,
            _hold: hold,
        });
    }
    download.tally.phase(Phase::Content);
    let id = download.add_blob(entry.cid, entry.size, config.max_total.get(), Goal::Store, true);
    download.focus(id, ahead(range.start, range.end, config));
    loop {
        match download.next().await? {
            Event::Started { blob, fetch } if blob == id => {
                return Ok(Source {
                    hash,
                    size: fetch.size(),
                    fetching: Some((id, fetch)),
                    _hold: hold,
                });
            }
            _ => {}
        }
    }
}

async fn stream(
    source: Source,
    range: Range<u64>,
    config: &Config,
    disk: &Disk,
    download: &mut Download,
    sender: &mpsc::Sender<Result<Bytes, FetchError>>,
) -> Result<(), FetchError> {
    let mut at = range.start;
    let mut fetching = source.fetching.clone();
    while at < range.end {
        // Up to the end of the piece, so that later chunks are whole pieces.
        let end = range.end.min((at / CHUNK + 1) * CHUNK);
        if let Some((id, fetch)) = &fetching {
            let piece = at / PIECE;
            download.focus(*id, ahead(at, range.end, config));
            let is_complete = wait_for(piece, *id, fetch, download).await?;
            if is_complete {
                finish(disk, fetch).await?;
                fetching = None;
            }
        }
        let hash = source.hash;
        let chunk = disk.run(move |store| store.read(hash, at..end)).await??;
        if chunk.is_empty() {
            return Err(FetchError::Failed("the file ended early".into()));
        }
        at += chunk.len() as u64;
        hand_over(chunk, fetching.is_some(), download, sender).await?;
    }
    Ok(())
}

/// The pieces that a reader at byte `at` waits for, or will soon, if it reads up to `end`.
fn ahead(at: u64, end: u64, config: &Config) -> Range<u64> {
    let piece = at / PIECE;
    piece
        ..end
            .div_ceil(PIECE)
            .min(piece.saturating_add(config.read_ahead.max(1) as u64))
}

/// Waits until a piece is here; whether the whole blob is.
async fn wait_for(
    piece: u64,
    id: u32,
    fetch: &cardume_store::Fetch,
    download: &mut Download,
) -> Result<bool, FetchError> {
    loop {
        let pieces = fetch.pieces();
        if pieces.is_full() {
            return Ok(true);
        }
        if pieces.contains(piece) {
            return Ok(false);
        }
        if let Event::Complete { blob, .. } = download.next().await?
            && blob == id
        {
            return Ok(true);
        }
    }
}

/// Gives a chunk to the reader; the fetching goes on while the reader is slow.
async fn hand_over(
    chunk: Bytes,
    is_fetching: bool,
    download: &mut Download,
    sender: &mpsc::Sender<Result<Bytes, FetchError>>,
) -> Result<(), FetchError> {
    let permit = sender.reserve();
    tokio::pin!(permit);
    loop {
        tokio::select! {
            biased;
            permit = &mut permit => {
                if let Ok(permit) = permit {
                    permit.send(Ok(chunk));
                }
                return Ok(());
            }
            event = download.next(), if is_fetching => {
                event?;
            }
        }
    }
}

/// Keeps a blob that has become complete by being read.
async fn finish(disk: &Disk, fetch: &cardume_store::Fetch) -> Result<(), FetchError> {
    let fetch = fetch.clone();
    // One that another fetch began goes where that one says.
    if matches!(fetch.target(), cardume_store::Target::Store)
        && piece_count(fetch.size()) == fetch.pieces().count()
    {
        disk.run(move |_| fetch.finish()).await??;
    }
    Ok(())
}
