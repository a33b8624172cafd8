//! A blob read from a web server, which has no tree: held unproven until all of it is here, then proven at once.
use std::{
    ops::Range,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use cardume_content::{Hash, PIECE, PieceSet, pieces::piece_range};
use cardume_origin::{Address, Body, Handle, Named, OriginError};
use cardume_store::{Fetch, WriteError};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::check;
use crate::{FetchError, disk::Disk, goal::Goal};

/// Pieces of one request: few requests for a long file, and little lost when one breaks.
const SEGMENT: u64 = 8;
/// Requests in a row that bring nothing before an origin is given up.
const MAX_TRIES: u32 = 5;
/// Pause after the first of them; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Where a blob is read from.
#[derive(Clone)]
pub(super) struct Pull {
    pub(super) origin: Handle,
    pub(super) disk: Disk,
    pub(super) address: Address,
    pub(super) named: Named,
    /// Told how many bytes came, as they do.
    pub(super) moved: mpsc::Sender<u64>,
}

/// What a blob is to be, and where it goes.
pub(super) struct Wanted {
    pub(super) hash: Hash,
    pub(super) expected: Option<u64>,
    pub(super) max: u64,
    pub(super) goal: Goal,
    /// As far as it is here.
    pub(super) fetch: Option<Arc<Fetch>>,
    /// Keeps it, once it has begun, for another try.
    pub(super) kept: Kept,
}

/// A blob that is coming from an origin, however often that breaks off.
pub(super) type Kept = Arc<OnceLock<Arc<Fetch>>>;

/// Why an origin brought nothing of use.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// Its file is another.
    #[error("{0}")]
    Wrong(String),
    /// Nothing to do with the origin.
    #[error(transparent)]
    Fatal(#[from] FetchError),
}

impl From<WriteError> for PullError {
    fn from(error: WriteError) -> Self {
        match error {
            // Peers have proven another size meanwhile.
            WriteError::Incomplete => Self::Wrong("the file at the origin has another size".into()),
            error => Self::Fatal(error.into()),
        }
    }
}

impl Pull {
    /// Asks for the beginning, and so for the size.
    pub(super) async fn open(&self) -> Result<(Body, u64), PullError> {
        self.open_at(0..SEGMENT * PIECE).await
    }

    async fn open_at(&self, range: Range<u64>) -> Result<(Body, u64), PullError> {
        let mut tries = 0;
        loop {
            match self
                .origin
                .read(self.address.clone(), range.clone(), self.named)
                .await
            {
                Ok(body) => match body.total() {
                    Some(total) => return Ok((body, total)),
                    None => return Err(self.wrong("the server does not say how long the file is")),
                },
                Err(error) => pause(error, &mut tries).await?,
            }
        }
    }

    /// Reads a blob of one piece at most.
    pub(super) async fn small(&self, hash: Hash, expected: Option<u64>) -> Result<Option<Bytes>, PullError> {
        let mut tries = 0;
        loop {
            match self.read_small(expected).await {
                Ok(None) => return Ok(None),
                Ok(Some(bytes)) if Hash::of(&bytes) == hash => return Ok(Some(bytes)),
                Ok(Some(_)) => return Err(self.other_content()),
                Err(PullError::Origin(error)) => pause(error, &mut tries).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// `None` when it is larger.
    async fn read_small(&self, expected: Option<u64>) -> Result<Option<Bytes>, PullError> {
        let mut body = self
            .origin
            .read(self.address.clone(), 0..PIECE, self.named)
            .await?;
        let size = body.total().or(expected).unwrap_or(PIECE + 1);
        if expected.is_some_and(|expected| expected != size) {
            return Err(self.other_size(size, expected));
        }
        if size > PIECE {
            return Ok(None);
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        while let Some(more) = body.next().await? {
            bytes.extend_from_slice(&more);
            if bytes.len() as u64 > size {
                return Err(self.wrong("the file is longer than the server says"));
            }
        }
        Ok(Some(bytes.freeze()))
    }

    /// Reads all that is missing of a blob, and proves it.
    pub(super) async fn blob(
        self,
        wanted: Wanted,
        opened: Option<(Body, u64)>,
    ) -> Result<Arc<Fetch>, PullError> {
        let first = wanted
            .fetch
            .as_ref()
            .and_then(|fetch| segments(&fetch.wanted()).first().cloned());
        let first = first.unwrap_or(0..SEGMENT);
        let (body, size) = match opened {
            Some(opened) => opened,
            None => self.open_at(first.start * PIECE..first.end * PIECE).await?,
        };
        let fetch = self.fetch(wanted, size).await?;
        let validator = body.validator().map(str::to_owned);
        if body.is_ranged() {
            let here = fetch.wanted();
            let last = body.start() / PIECE..first.end.min(here.len());
            let rest = segments(&here).into_iter().filter(|segment| *segment != first);
            let begun =
                stream::iter([(last, Some(body))]).chain(stream::iter(rest.map(|segment| (segment, None))));
            let read = begun.map(|(pieces, body)| self.segment(&fetch, pieces, body, validator.as_deref()));
            read.buffer_unordered(self.origin.at_once())
                .try_collect::<()>()
                .await?;
        } else {
            self.stream(&fetch, body).await?;
        }
        let proving = fetch.clone();
        if self.disk.run(move |_| proving.prove()).await?? {
            Ok(fetch)
        } else {
            Err(self.other_content())
        }
    }

    /// Takes the space for the blob, unless it is there.
    async fn fetch(&self, wanted: Wanted, size: u64) -> Result<Arc<Fetch>, PullError> {
        let expected = wanted
            .fetch
            .as_ref()
            .map(|fetch| fetch.size())
            .or(wanted.expected);
        if expected.is_some_and(|expected| expected != size) {
            return Err(self.other_size(size, expected));
        }
        if size > wanted.max {
            return Err(self.wrong(&format!(
                "it has {size} bytes, more than the limit of {}",
                wanted.max
            )));
        }
        if let Some(fetch) = wanted.fetch {
            return Ok(fetch);
        }
        let kept = wanted.kept.clone();
        let opened = self.disk.run(move |store| {
            let target = wanted.goal.target()?;
            let claim = check::claim(store, wanted.hash, size, &target)?;
            let fetch = store.fetch_claimed(wanted.hash, size, target);
            drop(claim);
            Ok::<_, PullError>(Arc::new(fetch?))
        });
        let fetch = opened.await??;
        Ok(kept.get_or_init(|| fetch).clone())
    }

    /// Reads some pieces, again from where it broke off.
    async fn segment(
        &self,
        fetch: &Arc<Fetch>,
        pieces: Range<u64>,
        mut body: Option<Body>,
        validator: Option<&str>,
    ) -> Result<(), PullError> {
        let mut at = pieces.start;
        let mut tries = 0;
        while at < pieces.end {
            let before = at;
            let read = async {
                let body = match body.take() {
                    Some(body) => body,
                    None => {
                        let range = at * PIECE..pieces.end * PIECE;
                        self.origin.read(self.address.clone(), range, self.named).await?
                    }
                };
                if !body.is_ranged() {
                    let url = self.address.to_string();
                    return Err(OriginError::NoRanges { url }.into());
                }
                if body.total().is_some_and(|total| total != fetch.size()) || body.validator() != validator {
                    return Err(self.wrong("the file changed while it was read"));
                }
                self.take(fetch, &mut at, body).await
            };
            match read.await {
                Ok(()) if at > before => {}
                Ok(()) => return Err(self.wrong("the server sends less than it says")),
                Err(PullError::Origin(error)) => {
                    if at > before {
                        tries = 0;
                    }
                    pause(error, &mut tries).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads everything from the beginning: all that a server without ranges can give.
    async fn stream(&self, fetch: &Arc<Fetch>, body: Body) -> Result<(), PullError> {
        let mut opened = Some(body);
        let mut tries = 0;
        loop {
            let read = async {
                let body = match opened.take() {
                    Some(body) => body,
                    None => self.open().await?.0,
                };
                let mut at = 0;
                self.take(fetch, &mut at, body).await
            };
            match read.await {
                Ok(()) if fetch.wanted().count() == 0 => return Ok(()),
                Ok(()) => return Err(self.wrong("the server sends less than it says")),
                Err(PullError::Origin(error)) => pause(error, &mut tries).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Holds what a body brings, from piece `at` on.
    async fn take(&self, fetch: &Arc<Fetch>, at: &mut u64, mut body: Body) -> Result<(), PullError> {
        let mut bytes = BytesMut::new();
        while let Some(more) = body.next().await? {
            bytes.extend_from_slice(&more);
            loop {
                let range = piece_range(fetch.size(), *at);
                let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
                if len == 0 || bytes.len() < len {
                    break;
                }
                let (piece, whole, holder) = (*at, bytes.split_to(len).freeze(), fetch.clone());
                if self.disk.run(move |_| holder.hold(piece, &whole)).await?? {
                    // Whoever counts may have gone.
                    let _ = self.moved.send(len as u64).await;
                }
                *at += 1;
            }
        }
        Ok(())
    }

    fn wrong(&self, reason: &str) -> PullError {
        PullError::Wrong(format!("{}: {reason}", self.address))
    }

    fn other_size(&self, size: u64, expected: Option<u64>) -> PullError {
        let expected = expected.unwrap_or_default();
        self.wrong(&format!(
            "it has {size} bytes there and {expected} here; the file at the origin is another"
        ))
    }

    fn other_content(&self) -> PullError {
        self.wrong("its bytes do not verify; the file at the origin is another, or was changed")
    }
}

/// Runs of pieces that are wanted, none longer than one request.
fn segments(wanted: &PieceSet) -> Vec<Range<u64>> {
    let mut segments: Vec<Range<u64>> = Vec::new();
    for piece in wanted.iter() {
        match segments.last_mut() {
            Some(last) if last.end == piece && last.end - last.start < SEGMENT => last.end += 1,
            _ => segments.push(piece..piece + 1),
        }
    }
    segments
}

/// Waits before another try; the error, if there is to be none.
async fn pause(error: OriginError, tries: &mut u32) -> Result<(), PullError> {
    *tries += 1;
    if !error.is_passing() || *tries >= MAX_TRIES {
        return Err(error.into());
    }
    tracing::debug!(%error, "an origin is asked again");
    // The pause that a busy host asks for is kept where its requests are made.
    tokio::time::sleep(FIRST_PAUSE * (1 << (*tries - 1).min(5))).await;
    Ok(())
}
