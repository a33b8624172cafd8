//! What a path names, before anything of it is fetched.
use cardume_content::{Cid, Kind};
use cardume_store::Presence;

use crate::{
    Config, FetchError, Resolved,
    disk::Disk,
    download::{Download, Event},
    goal::Goal,
    plan,
};

/// Follows `path` from a root, to a file of a proven size or a directory that has been read.
pub(super) async fn resolve(
    download: &mut Download,
    disk: &Disk,
    cid: Cid,
    path: &[String],
    config: &Config,
) -> Result<Resolved, FetchError> {
    let limits = config.limits();
    let entry = plan::resolve(download, disk, cid, path, &limits).await?;
    if entry.cid.kind() == Kind::Directory {
        let manifest = plan::manifest(download, disk, entry.cid, &limits).await?;
        let size = manifest.totals().0;
        return Ok(Resolved::directory(entry.cid, size, manifest));
    }
    let size = match entry.size {
        Some(size) => size,
        None => proven_size(download, disk, entry.cid, config).await?,
    };
    Ok(Resolved {
        cid: entry.cid,
        size,
        executable: entry.executable,
        manifest: None,
    })
}

/// The size of a root that is a file: of what is here, or proven by its last piece.
async fn proven_size(
    download: &mut Download,
    disk: &Disk,
    cid: Cid,
    config: &Config,
) -> Result<u64, FetchError> {
    let hash = cid.hash();
    match disk.run(move |store| store.presence(hash)).await?? {
        Presence::Complete { size } | Presence::Partial { size, .. } => return Ok(size),
        Presence::Absent => {}
    }
    let id = download.add_blob(cid, None, config.max_total.get(), Goal::Store, true);
    loop {
        if let Event::Started { blob, fetch } = download.next().await?
            && blob == id
        {
            return Ok(fetch.size());
        }
    }
}
