//! One fetch: from a root to verified files under their names.
use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use cardume_content::{Cid, Hash, Kind, PIECE};
use cardume_store::{
    Presence, Root, Store, Target,
    place::{Place, Shape},
};

use crate::{
    Config, Destination, FetchError, FetchRequest, Fetched, Phase,
    disk::Disk,
    download::{Download, Event, Sink},
    goal::{Goal, Site, names},
    lay::{self, Here},
    plan::{self, File, Tree},
};

/// Small files being asked for at once; several requests' worth.
const MAX_SMALL: usize = 8 * 1024;
/// Files prepared in one go on a blocking thread.
const CHUNK: usize = 512;
/// Complete files kept open until all have their names. Others are read once more then.
const MAX_OPEN_LARGE: usize = 128;
const MAX_OPEN_SMALL: usize = 128;

/// A fetch that ended well, and what is left to do in the background.
pub(crate) struct Outcome {
    pub(crate) fetched: Fetched,
    /// To be kept as a root; none if only a part of it was wanted.
    pub(crate) root: Option<Root>,
    /// Keeps it from collection until it is one.
    pub(crate) hold: cardume_store::Hold,
}

/// Runs a fetch to its end.
///
/// # Cancel safety
/// What has come stays where it is for the next try.
pub(crate) async fn run(
    request: &FetchRequest,
    config: &Config,
    disk: &Disk,
    data_dir: Option<PathBuf>,
    mut download: Download,
) -> Result<Outcome, FetchError> {
    let limits = config.limits();
    let cid = request.cid;
    // Kept from collection until it is a root, or given up.
    let hold = disk.run(move |store| store.hold(cid)).await?;
    check_destination(request, disk, data_dir.clone()).await?;
    plan::globs(&request.only)?;
    download.tally.phase(Phase::FindingPeers);
    let entry = plan::resolve(&mut download, disk, cid, &request.path, &limits).await?;
    let work = Work {
        request,
        config,
        disk,
        data_dir,
        download,
        target: entry.cid,
        hold,
        claim: None,
    };
    match entry.cid.kind() {
        Kind::Directory => work.directory().await,
        Kind::Blob => work.file(entry).await,
    }
}

/// Takes what an earlier run of this fetch has put at the destination, if it ended just before that was known.
pub(crate) async fn arrived(request: &FetchRequest, is_resumed: bool, disk: &Disk) -> Option<Outcome> {
    let Destination::Path { path, .. } = request.destination.clone() else {
        return None;
    };
    if !is_resumed || !request.path.is_empty() || !request.only.is_empty() {
        return None;
    }
    let (cid, name) = (request.cid, request.name.clone());
    let find = move |store: &Store| {
        let path = path.canonicalize().ok()?;
        let hold = store.hold(cid);
        let found = store.import(&path, cardume_store::Mode::InPlace, &()).ok()?;
        (found.cid == cid).then_some((found, path, hold))
    };
    let (found, path, hold) = disk.run(find).await.ok()??;
    let of_path = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Some(Outcome {
        root: Some(Root {
            cid,
            name: name.or(of_path).unwrap_or_else(|| cid.to_string()),
            size: found.size,
            files: found.files,
            path: Some(path.clone()),
            pinned: false,
            announce: true,
            added: now(),
        }),
        fetched: Fetched {
            cid,
            path: Some(path),
            size: found.size,
            files: found.files,
            fetched: 0,
            sources: Vec::new(),
        },
        hold,
    })
}

/// Seconds since 1970.
fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Says soon what would only fail late.
async fn check_destination(
    request: &FetchRequest,
    disk: &Disk,
    data_dir: Option<PathBuf>,
) -> Result<(), FetchError> {
    let Destination::Path { path, force } = request.destination.clone() else {
        return Ok(());
    };
    Ok(disk
        .run(move |_| cardume_store::place::check(&path, force, data_dir.as_deref()))
        .await??)
}

struct Work<'a> {
    request: &'a FetchRequest,
    config: &'a Config,
    disk: &'a Disk,
    data_dir: Option<PathBuf>,
    download: Download,
    target: Cid,
    hold: cardume_store::Hold,
    /// Room for what is missing, once that is known.
    claim: Option<cardume_store::Claim>,
}

/// Files to get, each blob once.
struct Job {
    /// Whether a file is fetched, not a directory.
    is_single: bool,
    site: Option<Site>,
    /// Each blob with all files that are it, the first being the one that is fetched.
    wanted: VecDeque<Wanted>,
    /// Those of them that are small, once it is known which are missing.
    wanted_small: VecDeque<Wanted>,
    /// Being fetched, by the download's number.
    running: HashMap<u32, Wanted>,
    /// Complete and open still.
    large: Vec<cardume_store::Fetch>,
    small: VecDeque<cardume_store::Fetch>,
    /// Complete blobs, to be told to the store when they have their names.
    complete: Vec<(Hash, u64, Arc<str>)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) first: File,
    pub(crate) others: Vec<File>,
}

impl Wanted {
    /// Bytes it takes: in the store once, at a destination as often as it is there.
    fn size(&self, is_laid_out: bool) -> u64 {
        let others = self.others.iter().map(|file| file.size);
        let others = others.filter(|_| is_laid_out);
        others.fold(self.first.size, u64::saturating_add)
    }
}

impl Work<'_> {
    async fn file(mut self, entry: plan::Entry) -> Result<Outcome, FetchError> {
        let size = match entry.size {
            Some(size) => size,
            None => self.root_size(entry.cid.hash()).await?,
        };
        let file = File {
            path: Arc::from(""),
            cid: entry.cid,
            size,
            executable: entry.executable,
        };
        let shape = Shape::File {
            executable: entry.executable,
        };
        let site = self.site(shape).await?;
        self.download.tally.wanted(size, 1);
        let tree = Tree {
            size,
            files: vec![file],
            is_whole: true,
            ..Tree::default()
        };
        // A root's size is only claimed so far; it is proven when its last piece is.
        self.content(tree, site, entry.size.is_some()).await
    }

    /// The size of a root as the store knows it, or as the first source claims it.
    async fn root_size(&mut self, hash: Hash) -> Result<u64, FetchError> {
        let presence = self.disk.run(move |store| store.presence(hash)).await?;
        if let Ok(Presence::Complete { size }) = presence {
            return Ok(size);
        }
        loop {
            if let Some(size) = self.download.claimed_size() {
                return Ok(size);
            }
            self.download.next().await?;
        }
    }

    async fn directory(mut self) -> Result<Outcome, FetchError> {
        self.download.tally.phase(Phase::Manifests);
        let limits = self.config.limits();
        let only = &self.request.only;
        let tree = plan::tree(&mut self.download, self.disk, self.target, only, &limits).await?;
        self.download.tally.wanted(tree.size, tree.files.len() as u64);
        let site = self.site(Shape::Directory).await?;
        if let Some(site) = site.clone() {
            let directories = tree.directories.clone();
            self.disk
                .run(move |_| {
                    let mut place = site.lock();
                    directories
                        .iter()
                        .try_for_each(|path| place.make_directory(&names(path)))
                })
                .await??;
        }
        self.content(tree, site, true).await
    }

    /// Opens the destination.
    async fn site(&mut self, shape: Shape) -> Result<Option<Site>, FetchError> {
        let Destination::Path { path, force } = self.request.destination.clone() else {
            return Ok(None);
        };
        let (hash, outside) = (self.target.hash(), self.data_dir.clone());
        let begin = move |_: &Store| Place::begin(&path, shape, hash, force, outside.as_deref());
        Ok(Some(Site::new(self.disk.run(begin).await??)))
    }

    async fn content(
        mut self,
        tree: Tree,
        site: Option<Site>,
        is_size_sure: bool,
    ) -> Result<Outcome, FetchError> {
        self.download.tally.phase(Phase::Content);
        let mut job = Job {
            is_single: tree.files.len() == 1,
            site: site.clone(),
            wanted: group(&tree.files),
            wanted_small: VecDeque::new(),
            running: HashMap::new(),
            large: Vec::new(),
            small: VecDeque::new(),
            complete: Vec::new(),
        };
        if let Err(error) = self.get(&mut job, is_size_sure).await {
            if matches!(error, FetchError::NoRoom(_)) {
                self.leave_nothing(site).await;
            }
            return Err(error);
        }
        self.settle_down(tree, job, site).await
    }

    /// Copies what the store has, and takes what an earlier try has left.
    async fn take_held(&mut self, job: &mut Job) -> Result<(), FetchError> {
        let mut missing = Vec::new();
        while !job.wanted.is_empty() {
            let chunk: Vec<Wanted> = job.wanted.drain(..job.wanted.len().min(CHUNK)).collect();
            let site = job.site.clone();
            let results = self
                .disk
                .run(move |store| {
                    chunk
                        .into_iter()
                        .map(|wanted| lay::take(store, site.as_ref(), wanted))
                        .collect::<Vec<_>>()
                })
                .await?;
            for result in results {
                match result? {
                    (wanted, Some(here)) => {
                        let fetch = match here {
                            Here::Held => None,
                            Here::Resumed(fetch) => Some(fetch),
                        };
                        job.complete(&wanted.first, fetch);
                        self.count(&wanted);
                    }
                    (wanted, None) => missing.push(wanted),
                }
            }
        }
        (job.wanted_small, job.wanted) = missing.into_iter().partition(|wanted| wanted.first.size <= PIECE);
        Ok(())
    }

    /// Gets everything that is not here.
    async fn get(&mut self, job: &mut Job, is_size_sure: bool) -> Result<(), FetchError> {
        self.take_held(job).await?;
        if is_size_sure {
            self.claim(job).await?;
        }
        loop {
            self.feed(job, is_size_sure);
            if job.running.is_empty() {
                return Ok(());
            }
            let event = self.download.next().await?;
            self.on_event(job, event).await?;
        }
    }

    /// Takes a destination away again that was refused before anything came to it.
    async fn leave_nothing(&mut self, site: Option<Site>) {
        let Some(site) = site.filter(|_| self.download.tally.fetched_bytes() == 0) else {
            return;
        };
        let remove = move |_: &Store| {
            let place = site.lock();
            let temporary = place.temporary_path();
            if place.is_resumed() {
                return;
            }
            // Best effort: the refusal is what is to be told.
            let _ = std::fs::remove_file(&temporary).or_else(|_| std::fs::remove_dir_all(&temporary));
        };
        // Fails only when the node is stopping.
        let _ = self.disk.run(remove).await;
    }

    /// Has room promised for all that is missing, before any of it comes.
    async fn claim(&mut self, job: &Job) -> Result<(), FetchError> {
        let missing = job.wanted.iter().chain(&job.wanted_small);
        let blobs: Vec<_> = missing
            .map(|wanted| (wanted.first.cid.hash(), wanted.size(job.site.is_some())))
            .collect();
        if blobs.is_empty() {
            return Ok(());
        }
        let site = job.site.clone();
        let claim = self
            .disk
            .run(move |store| {
                let temporary = site.map(|site| site.lock().temporary_path());
                store.claim(&blobs, temporary.as_deref())
            })
            .await??;
        self.claim = Some(claim);
        Ok(())
    }

    /// Counts a blob that is here without having been fetched.
    fn count(&mut self, wanted: &Wanted) {
        self.download.tally.done(wanted.first.size);
        self.count_files(wanted);
    }

    fn count_files(&mut self, wanted: &Wanted) {
        self.download.tally.file_done();
        for other in &wanted.others {
            self.download.tally.done(other.size);
            self.download.tally.file_done();
        }
    }

    /// Keeps the download busy, and no more: what waits costs memory and open files.
    fn feed(&mut self, job: &mut Job, is_size_sure: bool) {
        while self.download.unfinished_items() < MAX_SMALL
            && let Some(wanted) = job.wanted_small.pop_front()
        {
            let expected = is_size_sure.then_some(wanted.first.size);
            let sink = Sink::Goal(job.goal(&wanted.first));
            let id = self.download.add_item(wanted.first.cid, expected, sink);
            job.running.insert(id, wanted);
        }
        while self.download.unfinished_blobs() < self.config.max_open_files.max(1)
            && let Some(wanted) = job.wanted.pop_front()
        {
            let expected = is_size_sure.then_some(wanted.first.size);
            let (goal, max) = (job.goal(&wanted.first), self.config.max_total.get());
            let id = self
                .download
                .add_blob(wanted.first.cid, expected, max, goal, false);
            job.running.insert(id, wanted);
        }
    }

    async fn on_event(&mut self, job: &mut Job, event: Event) -> Result<(), FetchError> {
        match event {
            Event::Item { item, fetch, .. } => {
                if let (Some(wanted), Some(fetch)) = (job.running.remove(&item), fetch) {
                    if let Some(claim) = &self.claim {
                        claim.arrived(wanted.first.size);
                    }
                    self.finish_file(job, wanted, fetch).await?;
                }
            }
            Event::Complete { blob, fetch } => {
                if let Some(wanted) = job.running.remove(&blob) {
                    self.finish_file(job, wanted, cardume_store::Fetch::clone(&fetch))
                        .await?;
                }
            }
            Event::TooLarge { item } => {
                if let Some(wanted) = job.running.remove(&item) {
                    let goal = job.goal(&wanted.first);
                    let max = self.config.max_total.get();
                    let blob = self.download.add_blob(wanted.first.cid, None, max, goal, false);
                    job.running.insert(blob, wanted);
                }
            }
            Event::Started { fetch, .. } => {
                if let Some(claim) = &self.claim {
                    claim.arrived(fetch.size());
                }
                if job.is_single {
                    self.download.tally.wanted(fetch.size(), 1);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A blob is complete: it is copied to where else it is wanted.
    async fn finish_file(
        &mut self,
        job: &mut Job,
        mut wanted: Wanted,
        fetch: cardume_store::Fetch,
    ) -> Result<(), FetchError> {
        wanted.first.size = fetch.size();
        let is_ours = job.is_target(&fetch, &wanted.first);
        // Small blobs of the store's own were finished when they were verified.
        let is_kept = job.site.is_none() && wanted.first.size <= PIECE;
        if !is_kept && (job.site.is_none() || !is_ours || !wanted.others.is_empty()) {
            let (site, wanted, fetch) = (job.site.clone(), wanted.clone(), fetch.clone());
            self.disk
                .run(move |store| lay::copy_out(store, site.as_ref(), &wanted, &fetch, is_ours))
                .await??;
        }
        self.count_files(&wanted);
        job.complete(&wanted.first, is_ours.then_some(fetch));
        Ok(())
    }

    /// Gives everything its name and tells the store.
    async fn settle_down(mut self, tree: Tree, job: Job, site: Option<Site>) -> Result<Outcome, FetchError> {
        self.download.tally.phase(Phase::Placing);
        let size = if tree.files.len() == 1 {
            job.complete.first().map_or(tree.size, |(_, size, _)| *size)
        } else {
            tree.size
        };
        let files = tree.files.len() as u64;
        let is_whole = tree.is_whole;
        let Job {
            site: same,
            complete,
            large,
            small,
            ..
        } = job;
        drop(same);
        let place = match site {
            Some(site) => Some(
                site.into_place()
                    .ok_or_else(|| FetchError::Failed("still being written".into()))?,
            ),
            None => None,
        };
        let path = self
            .disk
            .run(move |store| {
                let open: Vec<_> = large.into_iter().chain(small).collect();
                lay::down(store, place, &tree.symlinks, &complete, open)
            })
            .await??;
        self.download.tally.wanted(size, files);
        let root = is_whole.then(|| self.root(path.clone(), size, files));
        let fetched = Fetched {
            cid: self.target,
            path,
            size,
            files,
            fetched: self.download.tally.fetched_bytes(),
            sources: self.download.tally.sources(),
        };
        self.download.tally.phase(Phase::Done);
        Ok(Outcome {
            fetched,
            root,
            hold: self.hold,
        })
    }

    fn root(&self, path: Option<PathBuf>, size: u64, files: u64) -> Root {
        let of_path = || {
            path.as_ref()
                .and_then(|path| path.file_name())
                .map(|name| name.to_string_lossy().into_owned())
        };
        let name = self.request.name.clone().or_else(of_path);
        let name = name.or_else(|| self.request.path.last().cloned());
        Root {
            cid: self.target,
            name: name.unwrap_or_else(|| self.target.to_string()),
            size,
            files,
            path,
            pinned: false,
            announce: true,
            added: now(),
        }
    }
}

impl Job {
    fn goal(&self, file: &File) -> Goal {
        match &self.site {
            None => Goal::Store,
            Some(site) => lay::goal(site, file),
        }
    }

    /// Whether the blob lies where this fetch wants it, not where another fetch of it began.
    fn is_target(&self, fetch: &cardume_store::Fetch, file: &File) -> bool {
        match (&self.site, fetch.target()) {
            (Some(site), Target::File { temporary, .. }) => {
                *temporary == site.lock().below(&names(&file.path))
            }
            (Some(_), Target::Store) => false,
            (None, _) => true,
        }
    }

    fn complete(&mut self, file: &File, fetch: Option<cardume_store::Fetch>) {
        self.complete
            .push((file.cid.hash(), file.size, file.path.clone()));
        let Some(fetch) = fetch.filter(|_| self.site.is_some()) else {
            return;
        };
        if file.size > PIECE {
            if self.large.len() < MAX_OPEN_LARGE {
                self.large.push(fetch);
            }
            return;
        }
        self.small.push_back(fetch);
        if self.small.len() > MAX_OPEN_SMALL {
            self.small.pop_front();
        }
    }
}

/// Files by what they are, in order of their first appearance.
fn group(files: &[File]) -> VecDeque<Wanted> {
    let mut places: HashMap<Hash, usize> = HashMap::new();
    let mut grouped: VecDeque<Wanted> = VecDeque::new();
    for file in files {
        match places
            .get(&file.cid.hash())
            .and_then(|place| grouped.get_mut(*place))
        {
            Some(wanted) => wanted.others.push(file.clone()),
            None => {
                places.insert(file.cid.hash(), grouped.len());
                grouped.push_back(Wanted {
                    first: file.clone(),
                    others: Vec::new(),
                });
            }
        }
    }
    grouped
}
