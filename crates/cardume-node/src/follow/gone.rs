//! What one version has and the next has not.

use std::{collections::HashSet, path::PathBuf};

use cardume_channel::versions::Gone;
use cardume_content::{Cid, Kind, manifest::Node};
use cardume_store::{ReadError, Store};

/// Paths that one version has and the next has not, each directory after what is in it. Of a version whose directories
/// are not here any more nothing is known, and what it had stays. Blocks on the disk.
///
/// # Errors
/// When the directories of the next version cannot be read: nothing may be deleted then.
pub(super) fn gone(store: &Store, before: Cid, after: Cid) -> Result<Vec<Gone>, ReadError> {
    let kept: HashSet<_> = paths(store, after)?.into_iter().collect();
    let old = paths(store, before).unwrap_or_default().into_iter().rev();
    let gone = old.filter(|path| !kept.contains(path));
    Ok(gone
        .map(|(path, is_directory)| Gone { path, is_directory })
        .collect())
}

/// Every path below a directory, each after the directory that it is in, and whether it is one itself.
fn paths(store: &Store, cid: Cid) -> Result<Vec<(PathBuf, bool)>, ReadError> {
    if cid.kind() != Kind::Directory {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    let mut open = vec![(cid, PathBuf::new())];
    while let Some((cid, at)) = open.pop() {
        for entry in store.manifest(cid)?.entries() {
            let path = at.join(entry.name.as_str());
            let is_directory = matches!(entry.node, Node::Directory { .. });
            if let Node::Directory { cid, .. } = &entry.node {
                open.push((*cid, path.clone()));
            }
            paths.push((path, is_directory));
        }
    }
    Ok(paths)
}
