//! Directory trees, each directory read relative to its open handle and no link followed.
use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use cardume_content::{
    Cid, Hash, Manifest,
    manifest::{Entry, Limits, Name, Node, symlink_stays_inside},
};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};

use super::{Import, Leaf};
use crate::{
    Below, ImportError,
    hashed::Hashed,
    place::SUFFIX,
    private::Private,
    record::{Body, INLINE, Print, Record, nanoseconds},
    table,
};

/// Files that one core takes in before it looks for others to share with.
const FILES_AT_ONCE: usize = 16;

/// What a directory lists.
struct Listed {
    name: Name,
    raw: CString,
    path: PathBuf,
    stat: Stat,
    kind: FileType,
    /// What an earlier import has found there.
    known: Option<Hash>,
}

impl Listed {
    fn print(&self) -> Print {
        Print {
            size: self.stat.st_size.cast_unsigned(),
            mtime: nanoseconds(self.stat.st_mtime, self.stat.st_mtime_nsec.cast_signed()),
            inode: self.stat.st_ino,
        }
    }

    fn executable(&self) -> bool {
        self.stat.st_mode & 0o100 != 0
    }
}

impl Import<'_> {
    /// Takes a directory in; returns its id, bytes and files.
    pub(super) fn directory(
        &self,
        directory: &File,
        path: &Path,
        depth: u32,
    ) -> Result<(Cid, u64, u64), ImportError> {
        if let Some(watcher) = self.watcher {
            watcher.enter(path);
        }
        let listed = self.list(directory, path)?;
        let (files, others): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .partition(|listed| listed.kind == FileType::RegularFile);
        let entry = |listed| self.entry(directory, listed, depth);
        let others: Vec<_> = others.into_par_iter().map(entry).collect::<Result<_, _>>()?;
        // Small files are not worth handing around one by one; a large one keeps all cores busy by itself.
        let files: Vec<_> = files
            .into_par_iter()
            .with_min_len(FILES_AT_ONCE)
            .map(entry)
            .collect::<Result<_, _>>()?;
        let entries = others.into_iter().chain(files).flatten().collect();
        let manifest = Manifest::new(entries)?;
        let (size, files) = manifest.totals();
        let bytes = manifest.encode();
        let limit = Limits::default().manifest_bytes;
        if bytes.len() as u64 > limit {
            return Err(ImportError::Unsupported {
                path: path.to_owned(),
                reason: format!(
                    "the directory's manifest has {} bytes; at most {limit} are allowed",
                    bytes.len()
                ),
            });
        }
        let cid = self.keep_manifest(bytes)?;
        if let Some(watcher) = self.watcher {
            watcher.leave(path, Below { cid, size, files });
        }
        Ok((cid, size, files))
    }

    fn keep_manifest(&self, bytes: Vec<u8>) -> Result<Cid, ImportError> {
        let hashed = Hashed::of_bytes(self.store, &bytes);
        let hash = hashed.hash;
        let size = bytes.len() as u64;
        let reservation = self.store.reserve(size, false)?;
        let body = if size <= INLINE {
            Body::Inline(bytes.into())
        } else {
            self.store.place_own(hash, &bytes)?
        };
        let cid = Cid::directory(hash);
        let record = Record {
            kind: cid.kind(),
            size,
            tree: hashed.plant(self.store)?,
            body,
        };
        let entry = table::Entry {
            hash,
            record,
            place: None,
            guarded: self.guards(hash)?,
        };
        self.keep(entry, Some(reservation))?;
        Ok(cid)
    }

    /// Lists a directory, without what no manifest can name.
    fn list(&self, directory: &File, path: &Path) -> Result<Vec<Listed>, ImportError> {
        let failed = |error: rustix::io::Errno| ImportError::io(path, error.into());
        let limit = Limits::default().entries;
        let (mut listed, mut bytes, mut files) = (Vec::new(), 0_u64, 0);
        for entry in Dir::read_from(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let raw = entry.file_name();
            if matches!(raw.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = path.join(OsStr::from_bytes(raw.to_bytes()));
            let Some(name) = self.name(raw, &path) else {
                continue;
            };
            let stat = match statat(directory, raw, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(error) => {
                    self.skip(path, io::Error::from(error).to_string());
                    continue;
                }
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::RegularFile {
                bytes = bytes.saturating_add(stat.st_size.cast_unsigned());
                files += 1;
            }
            if listed.len() as u64 == limit {
                return Err(ImportError::Unsupported {
                    path: path.parent().unwrap_or(&path).to_owned(),
                    reason: format!("more than {limit} entries in one directory"),
                });
            }
            listed.push(Listed {
                name,
                raw: raw.to_owned(),
                path,
                stat,
                kind,
                known: None,
            });
        }
        self.found(bytes, files);
        // The order of the disk is nobody's; hashing in order of names reads most disks well enough.
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let tables = self.store.tables.snapshot()?;
        for file in listed
            .iter_mut()
            .filter(|listed| listed.kind == FileType::RegularFile)
        {
            file.known = match self.known(&tables, &file.path, file.print())? {
                None => self.moved(&tables, &file.path, file.print(), file.stat.st_dev)?,
                known => known,
            };
        }
        Ok(listed)
    }

    fn name(&self, raw: &CStr, path: &Path) -> Option<Name> {
        let Ok(text) = raw.to_str() else {
            self.skip(path.to_owned(), "its name is not UTF-8");
            return None;
        };
        if text.ends_with(SUFFIX) {
            self.skip(path.to_owned(), "an unfinished fetch");
            return None;
        }
        Name::new(text)
            .inspect_err(|error| self.skip(path.to_owned(), error.to_string()))
            .ok()
    }

    fn entry(&self, directory: &File, listed: Listed, depth: u32) -> Result<Option<Entry>, ImportError> {
        // Who shares a home directory must not share the private key of the node that lives in it.
        let is_own = |private: &Arc<Private>| private.is(&listed.path, &listed.stat);
        if self.private.iter().any(is_own) {
            self.skip(listed.path, "the node's own");
            return Ok(None);
        }
        let node = match listed.kind {
            FileType::RegularFile => self.leaf(directory, &listed)?.map(|leaf| Node::File {
                cid: Cid::blob(leaf.hash),
                size: leaf.size,
                executable: leaf.executable,
            }),
            FileType::Directory => self.below(directory, &listed.raw, &listed.path, depth)?,
            FileType::Symlink => self.symlink(directory, &listed.raw, &listed.path, depth),
            _ => {
                self.skip(listed.path, "neither a file, a directory nor a symlink");
                None
            }
        };
        Ok(node.map(|node| Entry {
            name: listed.name,
            node,
        }))
    }

    fn leaf(&self, directory: &File, listed: &Listed) -> Result<Option<Leaf>, ImportError> {
        if self.watcher.is_some_and(|watcher| watcher.is_busy(&listed.path)) {
            self.skip(listed.path.clone(), "it is being written to");
            return Ok(None);
        }
        if let Some(hash) = listed.known {
            return self
                .unread(hash, listed.print().size, listed.executable())
                .map(Some);
        }
        let open = || {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            Ok(File::from(openat(
                directory,
                listed.raw.as_c_str(),
                flags,
                Mode::empty(),
            )?))
        };
        match self.file(&listed.path, open) {
            Err(ImportError::Io { path, source }) if is_skipped(&source) => {
                self.skip(path, source.to_string());
                Ok(None)
            }
            Err(ImportError::Changed { path }) if self.watcher.is_some() => {
                self.skip(path, "it is being written to");
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    fn below(
        &self,
        directory: &File,
        raw: &CStr,
        path: &Path,
        depth: u32,
    ) -> Result<Option<Node>, ImportError> {
        if depth + 1 >= Limits::default().depth {
            self.skip(path.to_owned(), "too deep");
            return Ok(None);
        }
        if let Some(below) = self.watcher.and_then(|watcher| watcher.unchanged(path)) {
            let Below { cid, size, files } = below;
            self.found(size, files);
            self.advance(size, files)?;
            return Ok(Some(Node::Directory { cid, size, files }));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let below = match openat(directory, raw, flags, Mode::empty()) {
            Ok(below) => File::from(below),
            Err(error) => {
                let error = io::Error::from(error);
                if !is_skipped(&error) {
                    return Err(ImportError::io(path, error));
                }
                self.skip(path.to_owned(), error.to_string());
                return Ok(None);
            }
        };
        match self.directory(&below, path, depth + 1) {
            Ok((cid, size, files)) => Ok(Some(Node::Directory { cid, size, files })),
            // It was deleted while it was read.
            Err(ImportError::Io { path: gone, source })
                if gone == path && source.kind() == io::ErrorKind::NotFound =>
            {
                self.skip(gone, source.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn symlink(&self, directory: &File, raw: &CStr, path: &Path, depth: u32) -> Option<Node> {
        let target = match readlinkat(directory, raw, Vec::new()) {
            Ok(target) => target,
            Err(error) => {
                self.skip(path.to_owned(), io::Error::from(error).to_string());
                return None;
            }
        };
        match target.into_string() {
            Ok(target) if symlink_stays_inside(depth, &target) => Some(Node::Symlink { target }),
            Ok(_) => {
                self.skip(path.to_owned(), "the symlink leaves the tree");
                None
            }
            Err(_) => {
                self.skip(path.to_owned(), "the symlink's target is not UTF-8");
                None
            }
        }
    }
}

/// Whether a failure to open is the file's own, and the rest of the tree can do without it.
fn is_skipped(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    error.kind() == io::ErrorKind::NotFound
        || matches!(
            code,
            Some(Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::NOTDIR | Errno::NXIO)
        )
}
