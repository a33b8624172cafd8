//! The store's own directory, and the few things that are done to files.
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Component, Path, PathBuf},
};

use cardume_content::Hash;
use rustix::{
    fs::{FallocateFlags, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use tempfile::NamedTempFile;

/// How something of others is opened.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// Files synced one by one; more are synced with all of their file system in one go.
const SYNC_EACH: usize = 16;

/// `data/` (blobs), `trees/` (hash trees), `partial/` (both, while they come), `tmp/` (what nobody misses).
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// Is open from the start, so that write errors in the background since then are told by `syncfs`.
    anchor: File,
}

impl Disk {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let temporary = root.join("tmp");
        // What lies there was never promised to anybody.
        match fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for name in ["data", "trees", "partial", "tmp"] {
            fs::create_dir_all(root.join(name))?;
        }
        Ok(Self {
            anchor: File::open(root)?,
            root: root.canonicalize()?,
        })
    }

    pub(crate) fn data(&self, hash: Hash) -> PathBuf {
        self.sharded("data", hash)
    }
    pub(crate) fn tree(&self, hash: Hash) -> PathBuf {
        self.sharded("trees", hash)
    }
    fn sharded(&self, what: &str, hash: Hash) -> PathBuf {
        let name = hash.to_hex();
        let shard = name.get(..2).expect("a hash has 64 hex digits");
        self.root.join(what).join(shard).join(&name)
    }
    pub(crate) fn partial(&self, hash: Hash) -> PathBuf {
        self.root.join("partial").join(hash.to_hex())
    }
    pub(crate) fn partial_tree(&self, hash: Hash) -> PathBuf {
        self.root.join("partial").join(hash.to_hex() + ".tree")
    }
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file that is gone when it is dropped.
    pub(crate) fn temporary(&self) -> io::Result<NamedTempFile> {
        NamedTempFile::new_in(self.root.join("tmp"))
    }

    /// Gives a finished file of ours its name; not durable yet.
    pub(crate) fn name(&self, from: &Path, to: &Path) -> io::Result<()> {
        match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(to.parent().expect("every file of ours has a directory"))?;
                fs::rename(from, to)
            }
            result => result,
        }
    }

    /// Makes everything of ours durable, and all else on our file system.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        sync_all(&self.anchor)
    }

    /// Makes files of ours durable, names and all.
    pub(crate) fn sync(&self, files: &[PathBuf]) -> io::Result<()> {
        if files.len() > SYNC_EACH {
            return self.sync_all();
        }
        let mut directories: Vec<_> = files.iter().filter_map(|file| file.parent()).collect();
        directories.extend(files.iter().filter_map(|file| file.parent()?.parent()));
        directories.sort();
        directories.dedup();
        files.iter().try_for_each(|file| File::open(file)?.sync_data())?;
        directories.into_iter().try_for_each(sync_directory)
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes everything on the file system of `anchor` durable.
pub(crate) fn sync_all(anchor: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(anchor)?)
}

/// Opens a file that must be a plain one: no link is followed, no pipe waited for.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"))
    }
}

/// Opens a file or a directory for reading: no link is followed at the end of the path, no pipe waited for, no
/// terminal taken.
pub(crate) fn open_any(path: &Path) -> io::Result<File> {
    Ok(rustix::fs::open(path, READ, Mode::empty())?.into())
}

/// Opens a file or a directory below an open one without following any link, nor leaving it.
pub(crate) fn open_below(directory: &File, below: &Path) -> io::Result<File> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(directory, below, READ, Mode::empty(), resolve) {
        // Old kernels and some sandboxes do not have it; a long path does not fit it.
        Err(Errno::NOSYS | Errno::PERM | Errno::NAMETOOLONG | Errno::AGAIN) => step_below(directory, below),
        opened => Ok(opened?.into()),
    }
}

fn step_below(directory: &File, below: &Path) -> io::Result<File> {
    let mut opened = directory.try_clone()?;
    for part in below.components() {
        let Component::Normal(name) = part else {
            return Err(Errno::XDEV.into());
        };
        opened = rustix::fs::openat(&opened, name, READ, Mode::empty())?.into();
    }
    Ok(opened)
}

/// Opens or makes a file that partial data is written to.
pub(crate) fn open_partial(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"))
    }
}

/// Takes the space of a file before its bytes come, so that a full disk says so at once.
pub(crate) fn allocate(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return file.set_len(0);
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let system = rustix::fs::fstatvfs(file)?;
            if system.f_bavail.saturating_mul(system.f_frsize) < size {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        result => result?,
    }
    file.set_len(size)
}

/// Shares the blocks of `from` with `to`; `false` where the file system cannot.
pub(crate) fn clone_blocks(from: &File, to: &File) -> bool {
    rustix::fs::ioctl_ficlone(to, from).is_ok()
}

/// Reads bytes in memory as if they were a file.
pub(crate) fn read_memory(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let end = start
        .checked_add(buffer.len())
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    buffer.copy_from_slice(bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

/// Reads all of a small file.
pub(crate) fn read_all(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
