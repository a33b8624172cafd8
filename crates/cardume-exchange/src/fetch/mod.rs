//! One fetch: from a root to verified files under their names.
use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use cardume_content::{Cid, Hash, Kind};
use cardume_store::{
    Presence, Root, Store,
    place::{Place, Shape},
};

use self::job::{Job, group};
pub(crate) use self::{ending::arrived, job::Wanted};
use crate::{
    Config, Destination, FetchError, FetchRequest, Fetched, Phase,
    disk::Disk,
    download::Download,
    goal::{Site, names},
    plan::{self, File, Tree},
};

mod ending;
mod getting;
mod job;

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
        for file in &tree.files {
            self.download.locate(file.cid, &file.path);
        }
        let mut job = Job {
            is_single: tree.files.len() == 1,
            site: site.clone(),
            wanted: group(&tree.files),
            wanted_small: VecDeque::new(),
            running: HashMap::new(),
            large: Vec::new(),
            small: VecDeque::new(),
            complete: Vec::new(),
            linked: Vec::new(),
        };
        if let Err(error) = self.get(&mut job, is_size_sure).await {
            if matches!(error, FetchError::NoRoom(_)) {
                self.leave_nothing(site).await;
            }
            return Err(error);
        }
        self.settle_down(tree, job, site).await
    }
}
