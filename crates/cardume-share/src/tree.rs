//! A watched tree: which directories have changed since they were taken in, and which files are being written to.
use std::{
    collections::HashMap,
    fs, io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cardume_store::{Below, Watcher};
use rustix::{
    fs::inotify::{self, CreateFlags, Event, ReadFlags, WatchFlags},
    io::Errno,
};
use tokio::{io::unix::AsyncFd, sync::Notify, time::Instant};

/// Files being written to that are known one by one; others are waited for only until the tree is at rest.
const BUSY: usize = 4_096;
/// Bytes of notices read at a time.
const NOTICES: usize = 16 * 1024;
/// Directories in a new one that are watched at once; the others are when it is taken in.
const NEW: usize = 256;
/// Pause between two readings of notices: a copy of a large file is not followed write by write.
const BREATH: Duration = Duration::from_millis(20);
/// Whoever has written to a file and not closed it is believed to be at it for so many times `settle`; a tree that
/// never comes to rest is taken in so often.
const PATIENCE: u32 = 10;

const WATCHED: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::MOVE)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DONT_FOLLOW)
    .union(WatchFlags::EXCL_UNLINK)
    .union(WatchFlags::ONLYDIR);

pub(crate) struct Tree {
    notices: Option<AsyncFd<OwnedFd>>,
    settle: Duration,
    /// Watches to take at most; the kernel has a limit too.
    most: usize,
    /// Told when a change was found in another way.
    found: Notify,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    root: PathBuf,
    /// The one file that is shared, if it is one: its directory is watched.
    only: Option<PathBuf>,
    directories: HashMap<Arc<Path>, Directory>,
    watches: HashMap<i32, Arc<Path>>,
    /// When files were last written to that nobody has closed since.
    busy: HashMap<PathBuf, Instant>,
    /// When the oldest and the newest change were noticed that are not taken in.
    noted: Option<(Instant, Instant)>,
    /// When a file that was left out may have come to rest.
    again: Option<Instant>,
    /// Counts the looks at the tree.
    look: u64,
    /// Whether this look passes nothing over.
    thorough: bool,
    blind: Option<Errno>,
}

struct Directory {
    watch: i32,
    look: u64,
    /// Whether something below has changed since it was listed.
    dirty: bool,
    below: Option<Below>,
}

impl Tree {
    /// Begins to watch, if `watch`. Must be called in a tokio runtime.
    pub(crate) fn new(watch: bool, settle: Duration, most: usize) -> Self {
        let mut inner = Inner::default();
        let notices = watch.then(notices).transpose().unwrap_or_else(|error| {
            inner.blind = Some(Errno::from_io_error(&error).unwrap_or(Errno::MFILE));
            None
        });
        Self {
            notices,
            settle,
            most,
            found: Notify::new(),
            inner: Mutex::new(inner),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a look at everything, or only at what has changed.
    pub(crate) fn begin(&self, root: &Path, thorough: bool) {
        let is_file = root.is_file();
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.root = root.to_owned();
        inner.only = is_file.then(|| root.to_owned());
        inner.look += 1;
        inner.thorough = thorough;
        inner.noted = None;
        inner.again = None;
        if thorough && self.notices.is_some() {
            inner.blind = None;
        }
        if let (true, Some(above)) = (is_file, root.parent()) {
            self.watch(inner, above);
        }
    }

    /// Has the directories of what was left out listed each time, so that each look knows of all that is left out.
    pub(crate) fn keep_listing<'a>(&self, left_out: impl Iterator<Item = &'a Path>) {
        let mut inner = self.lock();
        left_out
            .filter_map(Path::parent)
            .for_each(|above| inner.dirty(above));
    }

    /// Lets go of directories that a thorough look has not found.
    pub(crate) fn prune(&self) {
        let mut inner = self.lock();
        let look = inner.look;
        let gone: Vec<_> = inner
            .directories
            .iter()
            .filter(|(_, directory)| directory.look != look)
            .map(|(path, _)| path.clone())
            .collect();
        for path in gone {
            self.forget(&mut inner, &path);
        }
    }

    /// Notes a change that was found by reading the file.
    pub(crate) fn find(&self, path: &Path) {
        let mut inner = self.lock();
        if let Some(above) = path.parent().filter(|_| path.starts_with(&inner.root)) {
            inner.dirty(above);
            inner.note();
            self.found.notify_one();
        }
    }

    /// Waits for changes and notes them; for ever, if nothing is watched.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn changed(&self) {
        tokio::select! {
            () = self.found.notified() => {}
            () = self.noticed() => {}
        }
    }

    async fn noticed(&self) {
        let Some(notices) = &self.notices else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = notices.readable().await else {
                return std::future::pending().await;
            };
            if let Ok(Ok(true)) = ready.try_io(|notices| self.read(notices.get_ref())) {
                return;
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// When to look again, judging by what was noted; none: when something happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        let inner = self.lock();
        let rest = inner
            .noted
            .map(|(first, last)| (last + self.settle).min(first + self.settle * PATIENCE));
        [rest, inner.again].into_iter().flatten().min()
    }

    /// Whether changes are noted that are not taken in.
    pub(crate) fn is_changing(&self) -> bool {
        self.lock().noted.is_some()
    }

    /// Why the kernel does not tell of all changes, and what helps.
    pub(crate) fn blind(&self) -> Option<String> {
        let key = match self.lock().blind? {
            Errno::NOSPC => "fs.inotify.max_user_watches",
            Errno::MFILE => "fs.inotify.max_user_instances",
            error => return Some(format!("changes cannot be watched: {}", io::Error::from(error))),
        };
        let limit = fs::read_to_string(Path::new("/proc/sys").join(key.replace('.', "/")));
        let limit = limit.ok().and_then(|text| text.trim().parse::<u64>().ok());
        let (is, more) = limit.map_or((String::new(), 1 << 20), |limit| {
            (format!(" = {limit}"), limit.saturating_mul(4))
        });
        Some(format!(
            "the kernel's limit {key}{is} is reached, so changes are found by looking for them; raise it: sysctl -w {key}={more}"
        ))
    }

    fn read(&self, inotify: &OwnedFd) -> io::Result<bool> {
        let mut buffer = [MaybeUninit::uninit(); NOTICES];
        let mut reader = inotify::Reader::new(inotify, &mut buffer);
        let mut inner = self.lock();
        let (mut any, mut changed) = (false, false);
        loop {
            match reader.next() {
                Ok(event) => {
                    any = true;
                    changed |= self.note(&mut inner, &event);
                }
                Err(Errno::INTR) => {}
                Err(error) if !any => return Err(error.into()),
                Err(_) => break,
            }
        }
        if changed {
            inner.note();
        }
        Ok(changed)
    }

    /// Notes one event; whether it is a change of what is shared.
    fn note(&self, inner: &mut Inner, event: &Event<'_>) -> bool {
        let what = event.events();
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            tracing::debug!(path = ?inner.root, "changes came too fast to be told one by one");
            inner
                .directories
                .values_mut()
                .for_each(|directory| directory.dirty = true);
            return true;
        }
        let Some(directory) = inner.watches.get(&event.wd()).cloned() else {
            return false;
        };
        let own = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT;
        if what.contains(ReadFlags::IGNORED) {
            inner.watches.remove(&event.wd());
            inner.dirty(&directory);
            return false;
        }
        if what.intersects(own) {
            // Of the others the directory above tells.
            let is_root = *directory == *inner.root || what.contains(ReadFlags::UNMOUNT);
            inner.dirty(&directory);
            if is_root && what.contains(ReadFlags::MOVE_SELF) {
                self.forget(inner, &directory);
            }
            return is_root;
        }
        let Some(name) = event.file_name() else {
            return false;
        };
        let path = directory.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        if inner.only.as_ref().is_some_and(|only| *only != path) {
            return false;
        }
        if what.contains(ReadFlags::ISDIR) {
            if what.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
                self.forget_below(inner, &path);
            } else if what.contains(ReadFlags::CREATE) {
                self.watch_new(inner, path);
            }
        } else if what.contains(ReadFlags::MODIFY) {
            inner.write(path, self.settle * PATIENCE);
        } else if what.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
            inner.busy.remove(&path);
        }
        inner.dirty(&directory);
        true
    }

    /// Watches a directory just made, so that it is seen when what is copied into it is complete.
    fn watch_new(&self, inner: &mut Inner, path: PathBuf) {
        let mut new = vec![path];
        for _ in 0..NEW {
            let Some(path) = new.pop() else { return };
            self.watch(inner, &path);
            if let Some(directory) = inner.directories.get_mut(&*path) {
                directory.dirty = true;
            }
            // What was made in it before it was watched.
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            new.extend(directories.map(|entry| entry.path()).take(NEW));
        }
    }

    fn watch(&self, inner: &mut Inner, path: &Path) {
        let Some(notices) = &self.notices else { return };
        let watch = if inner.watches.len() < self.most || inner.directories.contains_key(path) {
            inotify::add_watch(notices.get_ref(), path, WATCHED)
        } else {
            Err(Errno::NOSPC)
        };
        match watch {
            Ok(watch) => {
                let path = Arc::<Path>::from(path);
                inner.watches.insert(watch, path.clone());
                let directory = Directory {
                    watch,
                    look: inner.look,
                    dirty: false,
                    below: None,
                };
                let old = inner.directories.insert(path, directory);
                if let Some(old) = old.filter(|old| old.watch != watch) {
                    inner.watches.remove(&old.watch);
                }
            }
            // It is gone, or nobody may read it: the listing says so.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
            Err(error) => {
                inner.directories.remove(path);
                if inner.blind.is_none() {
                    inner.blind = Some(error);
                }
            }
        }
    }

    fn forget(&self, inner: &mut Inner, path: &Path) {
        let Some(Directory { watch, .. }) = inner.directories.remove(path) else {
            return;
        };
        // A directory that was moved has its watch under its new path by now.
        if inner
            .watches
            .get(&watch)
            .is_some_and(|watched| **watched == *path)
        {
            inner.watches.remove(&watch);
            if let Some(notices) = &self.notices {
                // It may be gone already.
                let _ = inotify::remove_watch(notices.get_ref(), watch);
            }
        }
    }

    fn forget_below(&self, inner: &mut Inner, path: &Path) {
        let below: Vec<_> = inner
            .directories
            .keys()
            .filter(|directory| directory.starts_with(path))
            .cloned()
            .collect();
        for path in below {
            self.forget(inner, &path);
        }
    }
}

#[expect(
    deprecated,
    reason = "sound for a descriptor we own; what is to replace it is an unsafe function"
)]
fn notices() -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?)
}

impl Inner {
    fn note(&mut self) {
        let now = Instant::now();
        let first = self.noted.map_or(now, |(first, _)| first);
        self.noted = Some((first, now));
    }

    /// Notes a change in a directory, for all directories above it too.
    fn dirty(&mut self, path: &Path) {
        for path in path.ancestors() {
            if let Some(directory) = self.directories.get_mut(path) {
                directory.dirty = true;
                directory.below = None;
            }
            if path == self.root {
                return;
            }
        }
    }

    fn write(&mut self, path: PathBuf, patience: Duration) {
        let now = Instant::now();
        if self.busy.len() >= BUSY && !self.busy.contains_key(&path) {
            self.busy.retain(|_, since| now.duration_since(*since) < patience);
            if self.busy.len() >= BUSY {
                return;
            }
        }
        self.busy.insert(path, now);
    }
}

impl Watcher for Tree {
    fn enter(&self, directory: &Path) {
        self.watch(&mut self.lock(), directory);
    }

    fn leave(&self, directory: &Path, below: Below) {
        if let Some(directory) = self.lock().directories.get_mut(directory) {
            directory.below = (!directory.dirty).then_some(below);
        }
    }

    fn unchanged(&self, directory: &Path) -> Option<Below> {
        let inner = self.lock();
        if inner.thorough {
            return None;
        }
        inner
            .directories
            .get(directory)
            .filter(|directory| !directory.dirty)?
            .below
    }

    fn is_busy(&self, file: &Path) -> bool {
        let mut inner = self.lock();
        let Some(rests) = inner.busy.get(file).map(|since| *since + self.settle * PATIENCE) else {
            return false;
        };
        if rests <= Instant::now() {
            inner.busy.remove(file);
            return false;
        }
        inner.again = Some(inner.again.map_or(rests, |again| again.min(rests)));
        if let Some(directory) = file.parent() {
            inner.dirty(directory);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cardume_content::{Cid, Hash};
    use std::os::unix::fs::PermissionsExt;

    const SETTLE: Duration = Duration::from_millis(50);

    fn below() -> Below {
        Below {
            cid: Cid::directory(Hash::of(b"below")),
            size: 1,
            files: 1,
        }
    }

    /// Walks a root with one directory in it, as an import does.
    fn walk(tree: &Tree, root: &Path) {
        let sub = root.join("sub");
        tree.enter(root);
        tree.enter(&sub);
        tree.leave(&sub, below());
        tree.leave(root, below());
    }

    fn root() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("sub")).unwrap();
        (dir, root)
    }

    async fn noticed(tree: &Tree) {
        let noticed = tokio::time::timeout(Duration::from_secs(20), tree.changed());
        noticed.await.expect("the kernel tells of it");
    }

    #[tokio::test]
    async fn only_directories_on_the_way_to_a_change_are_listed_again() {
        let (_dir, root) = root();
        fs::create_dir(root.join("other")).unwrap();
        let tree = Tree::new(true, SETTLE, usize::MAX);
        tree.begin(&root, true);
        walk(&tree, &root);
        tree.enter(&root.join("other"));
        tree.leave(&root.join("other"), below());
        tree.prune();
        tree.begin(&root, false);
        assert_eq!(tree.unchanged(&root.join("sub")), Some(below()));
        fs::write(root.join("sub/file"), "x").unwrap();
        noticed(&tree).await;
        assert!(tree.due().is_some());
        assert_eq!(tree.unchanged(&root.join("sub")), None);
        assert_eq!(tree.unchanged(&root), None);
        assert_eq!(tree.unchanged(&root.join("other")), Some(below()));
        tree.begin(&root, true);
        assert_eq!((tree.due(), tree.unchanged(&root.join("other"))), (None, None));
    }

    #[tokio::test]
    async fn where_the_kernel_watches_no_more_nothing_is_passed_over_and_the_remedy_is_told() {
        let (_dir, root) = root();
        let tree = Tree::new(true, SETTLE, 1);
        tree.begin(&root, true);
        walk(&tree, &root);
        tree.begin(&root, false);
        assert_eq!(tree.unchanged(&root.join("sub")), None);
        let problem = tree.blind().unwrap();
        assert!(
            problem.contains("raise it: sysctl -w fs.inotify.max_user_watches="),
            "{problem}"
        );
        assert_eq!(Tree::new(false, SETTLE, 1).blind(), None);
    }

    #[tokio::test]
    async fn when_notices_are_lost_everything_is_listed_again() {
        let (_dir, root) = root();
        let files = ["a", "b"].map(|name| root.join(name));
        files.iter().for_each(|file| fs::write(file, "x").unwrap());
        let tree = Tree::new(true, SETTLE, usize::MAX);
        tree.begin(&root, true);
        walk(&tree, &root);
        tree.begin(&root, false);
        let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let queue: u32 = queue.trim().parse().unwrap();
        if queue > 100_000 {
            return;
        }
        for index in 0..=queue {
            // Equal notices one after the other are one.
            let file = files.get(index as usize % 2).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        noticed(&tree).await;
        assert_eq!(tree.unchanged(&root.join("sub")), None);
    }

    #[tokio::test]
    async fn a_directory_just_made_is_watched_at_once() {
        let (_dir, root) = root();
        let tree = Tree::new(true, SETTLE, usize::MAX);
        tree.begin(&root, true);
        walk(&tree, &root);
        fs::create_dir_all(root.join("new/below")).unwrap();
        noticed(&tree).await;
        tree.begin(&root, false);
        let mut file = fs::File::create(root.join("new/below/file")).unwrap();
        io::Write::write_all(&mut file, b"half").unwrap();
        noticed(&tree).await;
        assert!(tree.is_busy(&root.join("new/below/file")));
        drop(file);
        noticed(&tree).await;
        assert!(!tree.is_busy(&root.join("new/below/file")));
    }
}
