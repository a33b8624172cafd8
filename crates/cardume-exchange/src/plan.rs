//! What there is to fetch: directories read, paths resolved, files listed, all within bounds and before anything is
//! written.
use std::{collections::HashMap, collections::VecDeque, sync::Arc};

use cardume_content::{
    Cid, Kind, Manifest,
    manifest::{Limits, Node, symlink_stays_inside},
};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::{
    FetchError,
    disk::Disk,
    download::{Download, Event, Sink},
    goal::Goal,
};

/// Directories being asked for at once.
const MAX_ASKED: usize = 1024;

/// What a path names.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) cid: Cid,
    /// As the directory above says; none for a root.
    pub(crate) size: Option<u64>,
    pub(crate) executable: bool,
}

/// One file to be got.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Below the root, with `/` between names; empty for a root that is a file.
    pub(crate) path: Arc<str>,
    pub(crate) cid: Cid,
    pub(crate) size: u64,
    pub(crate) executable: bool,
}

/// A directory tree to be got.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    /// Parents before their children.
    pub(crate) directories: Vec<Arc<str>>,
    /// Path and target.
    pub(crate) symlinks: Vec<(Arc<str>, String)>,
    pub(crate) size: u64,
    /// Whether nothing was left out.
    pub(crate) is_whole: bool,
}

/// Follows `path` from a root; only directories on the way are fetched.
pub(crate) async fn resolve(
    download: &mut Download,
    disk: &Disk,
    root: Cid,
    path: &[String],
    limits: &Limits,
) -> Result<Entry, FetchError> {
    let missing = || FetchError::NoSuchPath {
        cid: root,
        path: path.join("/"),
    };
    let mut entry = Entry {
        cid: root,
        size: None,
        executable: false,
    };
    for name in path {
        if entry.cid.kind() != Kind::Directory {
            return Err(missing());
        }
        let manifest = manifest(download, disk, entry.cid, limits).await?;
        let node = manifest.find(name).map(|entry| &entry.node).ok_or_else(missing)?;
        entry = match node {
            Node::File {
                cid,
                size,
                executable,
            } => Entry {
                cid: *cid,
                size: Some(*size),
                executable: *executable,
            },
            Node::Directory { cid, size, .. } => Entry {
                cid: *cid,
                size: Some(*size),
                executable: false,
            },
            Node::Symlink { .. } => {
                return Err(FetchError::Refused(format!(
                    "{name:?} is a symbolic link; ask for what it names"
                )));
            }
        };
    }
    Ok(entry)
}

/// Gets one directory.
pub(crate) async fn manifest(
    download: &mut Download,
    disk: &Disk,
    cid: Cid,
    limits: &Limits,
) -> Result<Manifest, FetchError> {
    if let Some(manifest) = held(disk, cid, limits).await? {
        return Ok(manifest);
    }
    download.add_item(cid, None, Sink::Manifest(*limits));
    loop {
        match download.next().await? {
            Event::Item {
                manifest: Some(manifest),
                ..
            } => return Ok(manifest),
            Event::TooLarge { .. } => {
                download.add_blob(cid, None, limits.manifest_bytes, Goal::Manifest, false);
            }
            Event::Complete { fetch, .. } => return large(disk, cid, &fetch, limits).await,
            _ => {}
        }
    }
}

/// Reads a directory that is here already.
async fn held(disk: &Disk, cid: Cid, limits: &Limits) -> Result<Option<Manifest>, FetchError> {
    let limits = *limits;
    let read = move |store: &cardume_store::Store| match store.presence(cid.hash()) {
        // One whose record is damaged is fetched again.
        Ok(cardume_store::Presence::Complete { size }) if size <= limits.manifest_bytes => {
            store.manifest(cid).ok()
        }
        _ => None,
    };
    let Some(manifest) = disk.run(read).await? else {
        return Ok(None);
    };
    check(&manifest, &limits)?;
    Ok(Some(manifest))
}

/// Finishes a directory that came piece by piece, and reads it.
pub(crate) async fn large(
    disk: &Disk,
    cid: Cid,
    fetch: &Arc<cardume_store::Fetch>,
    limits: &Limits,
) -> Result<Manifest, FetchError> {
    let fetch = cardume_store::Fetch::clone(fetch);
    let limits = *limits;
    disk.run(move |store| {
        let size = fetch.size();
        let mut content = Vec::new();
        while (content.len() as u64) < size {
            let part = store.read(cid.hash(), content.len() as u64..size)?;
            if part.is_empty() {
                break;
            }
            content.extend_from_slice(&part);
        }
        let manifest = Manifest::decode(&content, &limits)?;
        store.put(cid, &content)?;
        fetch.abandon()?;
        Ok(manifest)
    })
    .await?
}

fn check(manifest: &Manifest, limits: &Limits) -> Result<(), FetchError> {
    let entries = manifest.entries().len() as u64;
    if entries > limits.entries {
        return Err(over(
            "entries of a directory",
            entries,
            limits.entries,
            "max_directory_entries",
        ));
    }
    Ok(())
}

fn over(what: &str, value: u64, limit: u64, key: &str) -> FetchError {
    FetchError::Limit(format!(
        "{what}: {value}, more than the {limit} of exchange.{key}"
    ))
}

struct Directory {
    path: Arc<str>,
    cid: Cid,
    depth: u32,
}

/// Reads a whole tree.
///
/// # Errors
/// `Limit` as soon as it is known to be larger than allowed; nothing has been written then.
pub(crate) async fn tree(
    download: &mut Download,
    disk: &Disk,
    root: Cid,
    only: &[String],
    limits: &Limits,
) -> Result<Tree, FetchError> {
    let mut walk = Walk {
        limits: *limits,
        entries: 0,
        tree: Tree::default(),
        open: VecDeque::new(),
        links: Vec::new(),
    };
    walk.open.push_back(Directory {
        path: Arc::from(""),
        cid: root,
        depth: 0,
    });
    let mut asked = HashMap::new();
    loop {
        while asked.len() < MAX_ASKED
            && let Some(directory) = walk.open.pop_front()
        {
            match held(disk, directory.cid, limits).await? {
                Some(manifest) => walk.add(&directory, &manifest)?,
                None => {
                    let item = download.add_item(directory.cid, None, Sink::Manifest(*limits));
                    asked.insert(item, directory);
                }
            }
        }
        if asked.is_empty() {
            return walk.finish(only);
        }
        match download.next().await? {
            Event::Item {
                item,
                manifest: Some(manifest),
                ..
            } => {
                if let Some(directory) = asked.remove(&item) {
                    walk.add(&directory, &manifest)?;
                }
            }
            Event::TooLarge { item } => {
                if let Some(directory) = asked.remove(&item) {
                    let (cid, max) = (directory.cid, limits.manifest_bytes);
                    let blob = download.add_blob(cid, None, max, Goal::Manifest, false);
                    asked.insert(blob, directory);
                }
            }
            Event::Complete { blob, fetch } => {
                if let Some(directory) = asked.remove(&blob) {
                    let manifest = large(disk, directory.cid, &fetch, limits).await?;
                    walk.add(&directory, &manifest)?;
                }
            }
            _ => {}
        }
    }
}

struct Walk {
    limits: Limits,
    entries: u64,
    tree: Tree,
    open: VecDeque<Directory>,
    links: Vec<(Arc<str>, String)>,
}

impl Walk {
    fn add(&mut self, directory: &Directory, manifest: &Manifest) -> Result<(), FetchError> {
        check(manifest, &self.limits)?;
        self.entries = self.entries.saturating_add(manifest.entries().len() as u64);
        if self.entries > self.limits.tree_entries {
            return Err(over(
                "files and directories",
                self.entries,
                self.limits.tree_entries,
                "max_tree_entries",
            ));
        }
        for entry in manifest.entries() {
            let name = entry.name.as_str();
            let path: Arc<str> = match &*directory.path {
                "" => Arc::from(name),
                above => Arc::from(format!("{above}/{name}")),
            };
            self.add_node(path, &entry.node, directory.depth)?;
        }
        Ok(())
    }

    fn add_node(&mut self, path: Arc<str>, node: &Node, depth: u32) -> Result<(), FetchError> {
        match node {
            Node::File {
                cid,
                size,
                executable,
            } => {
                self.tree.size = self.tree.size.saturating_add(*size);
                if self.tree.size > self.limits.total {
                    return Err(over("bytes", self.tree.size, self.limits.total, "max_total"));
                }
                self.tree.files.push(File {
                    path,
                    cid: *cid,
                    size: *size,
                    executable: *executable,
                });
            }
            Node::Directory { cid, size, .. } => {
                if *size > self.limits.total {
                    return Err(over("bytes", *size, self.limits.total, "max_total"));
                }
                if depth >= self.limits.depth {
                    return Err(over(
                        "nested directories",
                        u64::from(depth) + 1,
                        u64::from(self.limits.depth),
                        "max_depth",
                    ));
                }
                self.tree.directories.push(path.clone());
                self.open.push_back(Directory {
                    path,
                    cid: *cid,
                    depth: depth + 1,
                });
            }
            Node::Symlink { target } if symlink_stays_inside(depth, target) => {
                self.links.push((path, target.clone()));
            }
            Node::Symlink { target } => {
                return Err(FetchError::Refused(format!(
                    "the symlink {path:?} leads out of the directory, to {target:?}"
                )));
            }
        }
        Ok(())
    }

    fn finish(self, only: &[String]) -> Result<Tree, FetchError> {
        let mut tree = self.tree;
        tree.symlinks = self.links;
        tree.is_whole = true;
        if !only.is_empty() {
            select(&mut tree, &globs(only)?);
        }
        Ok(tree)
    }
}

/// Leaves out what no glob matches, and directories that are then of no use.
fn select(tree: &mut Tree, globs: &GlobSet) {
    tree.is_whole = false;
    tree.files.retain(|file| globs.is_match(&*file.path));
    tree.symlinks.retain(|(path, _)| globs.is_match(&**path));
    tree.size = tree.files.iter().map(|file| file.size).sum();
    let mut needed = std::collections::HashSet::new();
    let paths = tree.files.iter().map(|file| &*file.path);
    for path in paths.chain(tree.symlinks.iter().map(|(path, _)| &**path)) {
        let mut rest = path;
        while let Some((above, _)) = rest.rsplit_once('/') {
            if !needed.insert(above.to_owned()) {
                break;
            }
            rest = above;
        }
    }
    tree.directories.retain(|path| needed.contains(&**path));
}

/// Builds the matcher; a glob without `/` matches a name in any directory.
pub(crate) fn globs(only: &[String]) -> Result<GlobSet, FetchError> {
    let failed = |error: globset::Error| FetchError::Failed(format!("not a glob: {error}"));
    let mut set = GlobSetBuilder::new();
    for glob in only {
        let glob = if glob.contains('/') {
            glob.clone()
        } else {
            format!("**/{glob}")
        };
        let glob = GlobBuilder::new(glob.trim_start_matches('/'))
            .literal_separator(true)
            .build();
        set.add(glob.map_err(failed)?);
    }
    set.build().map_err(failed)
}
