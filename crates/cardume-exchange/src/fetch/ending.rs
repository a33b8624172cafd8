//! The end of a fetch: everything has its name, and the store is told.
use std::path::PathBuf;

use cardume_store::{Root, Store};

use super::{Outcome, Work, job::Job};
use crate::{Destination, FetchError, FetchRequest, Fetched, Phase, disk::Disk, goal::Site, lay, plan::Tree};

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
            announce: request.allow.is_none(),
            allow: request.allow.clone(),
            added: now(),
        }),
        fetched: Fetched {
            cid,
            path: Some(path),
            size: found.size,
            files: found.files,
            fetched: 0,
            origin: 0,
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

impl Work<'_> {
    /// Gives everything its name and tells the store.
    pub(super) async fn settle_down(
        mut self,
        tree: Tree,
        job: Job,
        site: Option<Site>,
    ) -> Result<Outcome, FetchError> {
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
            linked,
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
                lay::down(store, place, &tree.symlinks, &complete, linked, open)
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
            origin: self.download.tally.web_bytes(),
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
            announce: self.request.allow.is_none(),
            allow: self.request.allow.clone(),
            added: now(),
        }
    }
}
