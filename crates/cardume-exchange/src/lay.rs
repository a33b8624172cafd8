//! Files copied, named and told to the store, on blocking threads.
use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use cardume_content::{Hash, PIECE};
use cardume_store::{
    Fetch, Linked, Presence, Store, Target, WriteError,
    place::{Place, PlaceError},
};

use crate::{
    FetchError,
    fetch::Wanted,
    goal::{Goal, Site, names},
    plan::File,
};

/// Held files above this are not read once more only to be shared from the new place as well.
const MAX_REREAD: u64 = 64 << 20;

/// How a blob that need not be fetched came to be here.
pub(crate) enum Here {
    /// The store has it.
    Held,
    /// A file that the store has got its name here as well.
    Linked(Linked),
    /// An earlier try has left it.
    Resumed(Fetch),
}

/// Copies a blob that the store has, or takes what an earlier try has left of a small one.
pub(crate) fn take(
    store: &Store,
    site: Option<&Site>,
    link_within: Option<&Path>,
    wanted: Wanted,
) -> Result<(Wanted, Option<Here>), FetchError> {
    let hash = wanted.first.cid.hash();
    if let Ok(Presence::Complete { size }) = store.presence(hash) {
        if size != wanted.first.size {
            let (said, path) = (wanted.first.size, &wanted.first.path);
            return Err(FetchError::Refused(format!(
                "{path:?} is said to have {said} bytes, but has {size}"
            )));
        }
        match copy_held(store, site, link_within, &wanted) {
            Ok(linked) => return Ok((wanted, Some(linked.map_or(Here::Held, Here::Linked)))),
            // It changed or is damaged: others may have it.
            Err(CopyError::Store(WriteError::Read(error))) => {
                tracing::debug!(%hash, %error, "held content cannot be copied and is fetched");
            }
            Err(error) => return Err(error.into()),
        }
    }
    let Some(site) = site.filter(|_| wanted.first.size <= PIECE) else {
        return Ok((wanted, None));
    };
    if !site.lock().is_resumed() {
        return Ok((wanted, None));
    }
    let fetch = store.fetch(hash, wanted.first.size, goal(site, &wanted.first).target()?)?;
    if !fetch.pieces().is_full() {
        return Ok((wanted, None));
    }
    copy_out(store, Some(site), &wanted, &fetch, true)?;
    Ok((wanted, Some(Here::Resumed(fetch))))
}

pub(crate) fn goal(site: &Site, file: &File) -> Goal {
    Goal::Site {
        site: site.clone(),
        path: file.path.clone(),
        executable: file.executable,
    }
}

/// Lays out a blob that the store has; how, if its first file is linked and not copied.
fn copy_held(
    store: &Store,
    site: Option<&Site>,
    link_within: Option<&Path>,
    wanted: &Wanted,
) -> Result<Option<Linked>, CopyError> {
    let Some(site) = site else { return Ok(None) };
    let mut place = site.lock();
    let mut lay = |file: &File| {
        let hash = file.cid.hash();
        let make = |path: &Path| {
            if let Some(within) = link_within
                && let Some(linked) = store.link_to(hash, within, path, file.executable)?
            {
                return Ok(Some(linked));
            }
            store.copy_to(hash, path).map(|_| None).map_err(CopyError::Store)
        };
        place.make_linked_with(&names(&file.path), file.executable, make)
    };
    let linked = lay(&wanted.first)?;
    for other in &wanted.others {
        lay(other)?;
    }
    Ok(linked)
}

/// Puts a complete blob wherever it is wanted besides where it was fetched to.
pub(crate) fn copy_out(
    store: &Store,
    site: Option<&Site>,
    wanted: &Wanted,
    fetch: &Fetch,
    is_ours: bool,
) -> Result<(), FetchError> {
    let Some(site) = site else {
        return Ok(fetch.clone().finish()?);
    };
    let mut place = site.lock();
    let first = &wanted.first;
    if !is_ours {
        let export = |path: &Path| export(store, fetch, path);
        place.make_file_with(&names(&first.path), first.executable, export)?;
    }
    let from = place.below(&names(&first.path));
    for other in &wanted.others {
        let copy = |path: &Path| copy_file(&from, path);
        place.make_file_with(&names(&other.path), other.executable, copy)?;
    }
    Ok(())
}

/// Copies within one file system, sharing blocks where it can.
fn copy_file(from: &Path, to: &Path) -> Result<(), FetchError> {
    let copied = fs::copy(from, to).map(|_| ());
    copied.map_err(|error| FetchError::io_at(to, &error))
}

/// Writes a blob that another fetch brings elsewhere to `path`.
fn export(store: &Store, fetch: &Fetch, path: &Path) -> Result<(), FetchError> {
    let failed = |error: std::io::Error| FetchError::io_at(path, &error);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    let mut at = 0;
    while at < fetch.size() {
        let part = store.read(fetch.hash(), at..fetch.size())?;
        if part.is_empty() {
            return Err(FetchError::Failed("content ended early".into()));
        }
        file.write_all(&part).map_err(failed)?;
        at += part.len() as u64;
    }
    Ok(())
}

/// Gives everything its name and tells the store where it is. Returns the destination.
pub(crate) fn down(
    store: &Store,
    place: Option<Place>,
    symlinks: &[(Arc<str>, String)],
    complete: &[(Hash, u64, Arc<str>)],
    linked: Vec<(Linked, Arc<str>)>,
    open: Vec<Fetch>,
) -> Result<Option<PathBuf>, FetchError> {
    let Some(mut place) = place else { return Ok(None) };
    if let Some(fetch) = open.iter().find(|fetch| fetch.missing() > 0) {
        // Nothing incomplete ever gets its name, whatever else went wrong before.
        let reason = format!("{} pieces of {} are missing", fetch.missing(), fetch.hash());
        return Err(FetchError::Failed(reason));
    }
    for (path, target) in symlinks {
        place.make_symlink(&names(path), target)?;
    }
    let targets = complete.iter().map(|(hash, size, path)| {
        let names = names(path);
        let target = Target::File {
            temporary: place.below(&names),
            path: place.below_path(&names),
        };
        (*hash, *size, target)
    });
    let targets: Vec<_> = targets.collect();
    let linked = linked
        .into_iter()
        .map(|(linked, path)| (linked, place.below_path(&names(&path))));
    let linked: Vec<_> = linked.collect();
    let path = place.commit()?;
    let mut open: HashMap<Hash, Fetch> = open.into_iter().map(|fetch| (fetch.hash(), fetch)).collect();
    for (hash, size, target) in targets {
        // Everything has its name: the fetch has succeeded, even if somebody already changes what came.
        if let Err(error) = tell(store, hash, size, target, open.remove(&hash)) {
            tracing::warn!(%hash, %error, "a fetched file is not shared");
        }
    }
    for (linked, path) in linked {
        if let Err(error) = store.linked(linked, &path) {
            tracing::warn!(path = %path.display(), %error, "a file that was there before is not shared from its new place");
        }
    }
    Ok(Some(path))
}

fn tell(store: &Store, hash: Hash, size: u64, target: Target, open: Option<Fetch>) -> Result<(), FetchError> {
    let fetch = match open {
        Some(fetch) => fetch,
        None if size > MAX_REREAD && matches!(store.presence(hash)?, Presence::Complete { .. }) => {
            return Ok(());
        }
        None => store.fetch(hash, size, target.clone())?,
    };
    if *fetch.target() != target {
        // Somebody else fetches it as well, and shares it when done.
        return Ok(());
    }
    Ok(fetch.finish()?)
}

/// Why a copy was not made.
enum CopyError {
    Place(PlaceError),
    Store(WriteError),
}

impl From<PlaceError> for CopyError {
    fn from(error: PlaceError) -> Self {
        Self::Place(error)
    }
}

impl From<WriteError> for CopyError {
    fn from(error: WriteError) -> Self {
        Self::Store(error)
    }
}

impl From<CopyError> for FetchError {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Place(error) => error.into(),
            CopyError::Store(error) => error.into(),
        }
    }
}
