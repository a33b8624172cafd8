//! Work on the disk: taking content in, and hashing it anew.
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_api::{Broken, Code, Outcome, Phase, Progress, Shared, Skipped, Verified};
use cardume_content::Cid;
use cardume_store::{Imported, Mode, Root, Store};
use tokio_util::sync::CancellationToken;

use super::Ticket;
use crate::{
    link::Links,
    problem::{Refused, Result},
};

/// How often the meter is read.
const READ_EVERY: Duration = Duration::from_millis(200);
/// Things left out that are told one by one, and broken blobs too. More would not be read.
pub(super) const MAX_TOLD: usize = 1_000;

/// What is to be shared.
pub(crate) struct Given {
    /// Without links.
    pub(crate) path: PathBuf,
    /// The directory that it must be found below, if the caller may share nothing else.
    pub(crate) above: Option<PathBuf>,
    pub(crate) mode: Mode,
    pub(crate) name: String,
    pub(crate) allow: Option<Vec<String>>,
}

/// Takes a file or a directory into the store, keeps it as a root, and announces it.
pub(crate) async fn share(
    ticket: Ticket,
    store: Store,
    exchange: cardume_exchange::Handle,
    links: Links,
    given: Given,
) -> Result<Outcome> {
    let name = given.name.clone();
    let taking = move |meter: &Meter| take_in(&store, given, meter);
    let (taken, root) = on_disk(ticket, Phase::Hashing, taking).await?;
    match root.announce {
        true => exchange.announce(taken.cid),
        // It may have been everybody's before.
        false => exchange.withdraw(taken.cid),
    }
    let link = Links::link(taken.cid, &name, taken.size, &links.addresses().await);
    let skipped = taken.skipped.into_iter().take(MAX_TOLD);
    Ok(Outcome::Shared(Shared {
        cid: taken.cid,
        link,
        name,
        size: taken.size,
        files: taken.files,
        allow: root.allow,
        skipped: skipped
            .map(|(path, reason)| Skipped {
                path: path.to_string_lossy().into_owned(),
                reason,
            })
            .collect(),
    }))
}

fn take_in(store: &Store, given: Given, meter: &Meter) -> Result<(Imported, Root)> {
    let Given {
        path,
        above,
        mode,
        name,
        allow,
    } = given;
    let store = &match &allow {
        Some(_) => store.guarding(),
        None => store.clone(),
    };
    let imported = match above {
        None => store.import(&path, mode, meter)?,
        Some(above) => store.import_below(&above, &path, mode, meter)?,
    };
    let before = store.root(imported.cid)?;
    let (allow, announce) = share_again(before.as_ref(), allow);
    let root = Root {
        cid: imported.cid,
        name,
        size: imported.size,
        files: imported.files,
        path: (mode == Mode::InPlace).then_some(path),
        pinned: before.as_ref().is_some_and(|root| root.pinned),
        announce,
        allow,
        added: before.map_or_else(now, |root| root.added),
    };
    store.add_root(root.clone())?;
    Ok((imported, root))
}

/// Who may have a root, and whether it is announced, when it is shared with this list: what was decided about it before
/// stays where nothing else is said, and so does what configuration keeps silent. What has a list is not announced, as
/// that tells everybody that it is here.
pub(crate) fn share_again(before: Option<&Root>, allow: Option<Vec<String>>) -> (Option<Vec<String>>, bool) {
    let had_list = before.is_some_and(|root| root.allow.is_some());
    match (before, allow) {
        (Some(before), None) => (before.allow.clone(), before.announce),
        (Some(before), allow) if had_list => (allow, before.announce),
        (_, Some(allow)) => (Some(allow), false),
        (None, None) => (None, true),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Hashes everything below `cid` anew, or everything.
pub(crate) async fn verify(ticket: Ticket, store: Store, cid: Option<Cid>) -> Result<Outcome> {
    let verified = on_disk(ticket, Phase::Hashing, move |meter| Ok(store.verify(cid, meter)?)).await?;
    let broken = verified.broken.into_iter().take(MAX_TOLD);
    Ok(Outcome::Verified(Verified {
        blobs: verified.blobs,
        bytes: verified.bytes,
        broken: broken.map(told).collect(),
    }))
}

pub(super) fn told(broken: cardume_store::Broken) -> Broken {
    Broken {
        cid: broken.cid,
        root: broken.root,
        path: broken.path.to_string(),
        reason: broken.reason,
    }
}

/// Runs `work` on a blocking thread and tells its progress. It is cancelled with the ticket, and when dropped.
pub(super) async fn on_disk<T: Send + 'static>(
    mut ticket: Ticket,
    phase: Phase,
    work: impl FnOnce(&Meter) -> Result<T> + Send + 'static,
) -> Result<T> {
    // Dropping the guard ends the work, which would otherwise outlive whoever wants it.
    let cancel = ticket.cancellation().child_token();
    let _guard = cancel.clone().drop_guard();
    let meter = Arc::new(Meter::new(phase, cancel));
    let running = tokio::task::spawn_blocking({
        let meter = meter.clone();
        move || work(&meter)
    });
    tokio::pin!(running);
    let mut ticks = tokio::time::interval(READ_EVERY);
    loop {
        tokio::select! {
            ended = &mut running => {
                ticket.advance(meter.read());
                return ended.unwrap_or_else(|_| Err(Refused::new(Code::Failed, "a fault in the node; its log says more")));
            }
            _ = ticks.tick() => ticket.advance(meter.read()),
        }
    }
}

/// Counts what a blocking thread has done.
pub(super) struct Meter {
    phase: Phase,
    size: AtomicU64,
    done: AtomicU64,
    files: AtomicU64,
    files_done: AtomicU64,
    cancel: CancellationToken,
}

impl Meter {
    const fn new(phase: Phase, cancel: CancellationToken) -> Self {
        Self {
            phase,
            size: AtomicU64::new(0),
            done: AtomicU64::new(0),
            files: AtomicU64::new(0),
            files_done: AtomicU64::new(0),
            cancel,
        }
    }

    fn read(&self) -> Progress {
        Progress {
            phase: self.phase,
            size: self.size.load(Ordering::Relaxed),
            done: self.done.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            files_done: self.files_done.load(Ordering::Relaxed),
            ..Progress::default()
        }
    }
}

impl cardume_store::Progress for Meter {
    fn advance(&self, bytes: u64, files: u64) -> bool {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.files_done.fetch_add(files, Ordering::Relaxed);
        !self.cancel.is_cancelled()
    }

    fn total(&self, bytes: u64, files: u64) {
        self.size.store(bytes, Ordering::Relaxed);
        self.files.store(files, Ordering::Relaxed);
    }
}
