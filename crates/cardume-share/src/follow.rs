//! One share, from the start of the node to its end.
use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cardume_content::Cid;
use cardume_store::{Imported, Mode, Root, Watcher};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Config, Phase, server::All, tree::Tree};

/// Pause before a share that could not be taken in is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Time between two looks at everything where the kernel cannot tell of changes, but for `rescan` if that is shorter.
const BLIND: Duration = Duration::from_secs(60);
/// Things left out that are logged one by one; more would drown the log.
const TOLD: usize = 10;

/// A disk that is away is no reason to forget what is on it.
const NOT_MOUNTED: &str = "no file system is mounted there, as one was when it was shared, and it is empty: mount it; \
    whatever is put there instead is shared";

pub(crate) struct Follower {
    name: String,
    config: Config,
    all: Arc<All>,
    pub(crate) tree: Arc<Tree>,
}

/// What a share was found to be.
pub(crate) struct Taken {
    pub(crate) cid: Cid,
    pub(crate) announce: bool,
    size: u64,
    files: u64,
    hashed: u64,
    /// When its id became what it is.
    since: u64,
    left_out: Option<String>,
    /// Whether a file system is mounted there.
    pub(crate) mounted: bool,
}

impl Follower {
    /// Begins to watch. Must be called in a tokio runtime.
    pub(crate) fn new(name: String, config: Config, all: Arc<All>) -> Self {
        let tree = Arc::new(Tree::new(config.watch, config.settle.get(), usize::MAX));
        Self {
            name,
            config,
            all,
            tree,
        }
    }

    pub(crate) async fn run(self, stop: CancellationToken) {
        let tree = self.tree.clone();
        let this = Arc::new(self);
        let mut thorough = true;
        let mut rescan = Instant::now();
        loop {
            let turn = tokio::select! {
                turn = this.all.turn.acquire() => turn.expect("it is never closed"),
                () = stop.cancelled() => return,
            };
            // Ends soon after `stop`, and nobody writes to the store after this has ended.
            let looked = this.look(&tree, thorough, &stop).await;
            drop(turn);
            if stop.is_cancelled() {
                return;
            }
            let failed = looked.is_err();
            if thorough || failed {
                rescan = this.next_rescan(&tree, failed);
            }
            this.tell(looked, &tree);
            match this.wait(&tree, rescan, &stop).await {
                Some(everything) => thorough = everything || failed,
                None => return,
            }
        }
    }

    /// Waits until it is time to look at what has changed, or at everything (`true`); none: it is over.
    async fn wait(&self, tree: &Tree, rescan: Instant, stop: &CancellationToken) -> Option<bool> {
        loop {
            if tree.is_changing() {
                self.all.state(&self.name, |state| {
                    if state.phase == Phase::Shared {
                        state.phase = Phase::Changing;
                    }
                });
            }
            let due = tree.due();
            let until = due.map_or(rescan, |due| due.min(rescan));
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tree.changed() => {}
                () = tokio::time::sleep_until(until) => return Some(due.is_none_or(|due| rescan < due)),
            }
        }
    }

    fn next_rescan(&self, tree: &Tree, failed: bool) -> Instant {
        let rescan = Some(self.config.rescan.get()).filter(|rescan| !rescan.is_zero());
        // For ever, as far as a node lives.
        let rescan = rescan.unwrap_or(Duration::from_secs(100 * 365 * 24 * 3_600));
        let most = match (failed, tree.blind()) {
            (true, _) => RETRY,
            (false, Some(_)) => BLIND,
            (false, None) => rescan,
        };
        Instant::now() + rescan.min(most)
    }

    /// Takes in what has changed, or everything; changes meanwhile are noted.
    async fn look(
        self: &Arc<Self>,
        tree: &Arc<Tree>,
        thorough: bool,
        stop: &CancellationToken,
    ) -> Result<Taken, String> {
        self.all.state(&self.name, |state| state.phase = Phase::Hashing);
        let mut taking = {
            let (this, tree, until) = (self.clone(), tree.clone(), Until(stop.child_token()));
            tokio::task::spawn_blocking(move || this.take_in(&tree, thorough, &until))
        };
        loop {
            tokio::select! {
                taken = &mut taking => return match taken {
                    Ok(taken) => taken,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = tree.changed() => {}
            }
        }
    }

    fn take_in(&self, tree: &Tree, thorough: bool, until: &Until) -> Result<Taken, String> {
        let failed = |error: &dyn std::fmt::Display| error.to_string();
        let path = &self.config.path;
        let path = path
            .canonicalize()
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mounted = is_mount_point(&path);
        if !mounted && self.all.was_mounted(&self.name) && is_empty(&path) {
            return Err(NOT_MOUNTED.into());
        }
        tree.begin(&path, thorough);
        if path.is_file() && tree.is_busy(&path) {
            return Err("it is being written to".into());
        }
        let store = match self.config.allow {
            Some(_) => self.all.store.guarding(),
            None => self.all.store.clone(),
        };
        let imported = store.import_watched(&path, self.all.mode, until, tree);
        let imported = imported.map_err(|error| failed(&error))?;
        if thorough {
            tree.prune();
        }
        tree.keep_listing(imported.skipped.iter().map(|(path, _)| &**path));
        self.tell_left_out(&imported);
        let before = store.root(imported.cid).map_err(|error| failed(&error))?;
        let root = Root {
            cid: imported.cid,
            name: path
                .file_name()
                .map_or_else(|| self.name.clone(), |file| file.to_string_lossy().into_owned()),
            size: imported.size,
            files: imported.files,
            path: (self.all.mode == Mode::InPlace).then_some(path),
            pinned: true,
            announce: self.config.announces(),
            allow: self.all.allow(imported.cid, Some(&self.name)),
            added: before.as_ref().map_or_else(now, |root| root.added),
        };
        let taken = Taken {
            cid: root.cid,
            announce: root.announce,
            size: root.size,
            files: root.files,
            hashed: imported.hashed,
            since: root.added,
            left_out: left_out(&imported),
            mounted,
        };
        if before.as_ref() != Some(&root) {
            store.add_root(root).map_err(|error| failed(&error))?;
        }
        self.all.replace(&self.name, Some(&taken));
        // The lists may have been replaced since they were looked at.
        self.all.narrow(taken.cid);
        Ok(taken)
    }

    fn tell_left_out(&self, imported: &Imported) {
        for (path, reason) in imported.skipped.iter().take(TOLD) {
            tracing::warn!(share = self.name, path = ?path, reason, "left out");
        }
    }

    /// Tells how it went, in the state and in the log.
    fn tell(&self, looked: Result<Taken, String>, tree: &Tree) {
        let name = &self.name;
        let blind = tree.blind().filter(|_| self.config.watch);
        self.all.state(name, |state| match looked {
            Ok(taken) => {
                if state.cid != Some(taken.cid) {
                    let (cid, files, hashed) = (taken.cid, taken.files, taken.hashed);
                    tracing::info!(share = name, %cid, files, hashed, path = ?self.config.path, "shared");
                }
                if let Some(blind) = blind
                    .as_ref()
                    .filter(|blind| state.problem.as_ref() != Some(*blind))
                {
                    tracing::warn!(share = name, "{blind}");
                }
                state.phase = Phase::Shared;
                state.cid = Some(taken.cid);
                (state.files, state.size) = (taken.files, taken.size);
                state.last_change = Some(taken.since);
                state.problem = blind.or(taken.left_out);
            }
            Err(error) => {
                if state.problem.as_ref() != Some(&error) {
                    tracing::error!(share = name, path = ?self.config.path, error, "cannot be shared");
                }
                state.phase = Phase::Failed;
                state.problem = Some(error);
            }
        });
    }
}

/// What was left out, in a line.
fn left_out(imported: &Imported) -> Option<String> {
    let (path, reason) = imported.skipped.first()?;
    let first = format!("{}: {reason}", path.display());
    match imported.skipped.len() {
        1 => Some(format!("left out: {first}")),
        count => Some(format!("left out: {count}; the first is {first}")),
    }
}

/// Whether another file system begins at this directory.
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| path.symlink_metadata().map(|found| found.dev()).ok();
    path.is_dir() && path.parent().is_some_and(|above| device(above) != device(path))
}

fn is_empty(path: &Path) -> bool {
    path.read_dir().is_ok_and(|mut entries| entries.next().is_none())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// An import that ends when the node does.
struct Until(CancellationToken);

impl cardume_store::Progress for Until {
    fn advance(&self, _: u64, _: u64) -> bool {
        !self.0.is_cancelled()
    }
}
