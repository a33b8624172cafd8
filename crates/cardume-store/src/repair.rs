//! What is broken made ready to be fetched again: only pieces that do not verify will be missing.
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use cardume_content::{Cid, Kind, PIECE};

use crate::{Broken, Remedy, Store, Target, WriteError, disk, lock};

impl Store {
    /// Tells where a broken blob is to be fetched to again, and puts what is left of it there: for a file that was
    /// fetched, the file itself, which is then written to where it does not verify.
    ///
    /// Files that the operator shares in place are written to only if `overwrite` says so.
    ///
    /// A file that has only been touched, and has its content still, is taken back at once.
    ///
    /// # Errors
    /// What the disk says; the remedy says why something is left as it is.
    pub fn prepare_repair(&self, broken: &Broken, overwrite: bool) -> Result<Remedy, WriteError> {
        let root = broken
            .root
            .map(|cid| self.inner.tables.root(cid))
            .transpose()?
            .flatten();
        let Some(root) = root else {
            return Ok(Remedy::Left("nothing that is shared or kept needs it".into()));
        };
        let is_fetched = self.inner.tables.is_fetched(root.cid)?;
        let hash = broken.cid.hash();
        let Some(path) = root.path.filter(|_| broken.cid.kind() == Kind::Blob) else {
            self.keep_for_repair(broken.cid)?;
            return Ok(Remedy::Fetch(Target::Store));
        };
        let file = below(&path, &broken.path);
        if self.take_back(hash, broken.size, &file, &())?.is_some() {
            return Ok(Remedy::Whole);
        }
        if !is_fetched && !overwrite {
            return Ok(Remedy::Left(format!(
                "{} has been changed by somebody; share it again as it is now, or repair it with --overwrite",
                below(&path, &broken.path).display()
            )));
        }
        let file = match reachable(&path, &broken.path) {
            Ok(file) => file,
            Err(reason) => return Ok(Remedy::Left(reason)),
        };
        let failed = |error| WriteError::io(&file, error);
        let made = disk::open_partial(&file).map_err(failed)?;
        if broken.executable {
            let mode = made.metadata().map_err(failed)?.permissions().mode();
            made.set_permissions(fs::Permissions::from_mode(mode | 0o100))
                .map_err(failed)?;
        }
        let sidecar = self.inner.disk.partial_tree(hash);
        if broken.size.is_none_or(|size| size > PIECE) && self.inner.partial(hash).is_none() {
            // The tree says which pieces are right; without it all are fetched.
            let tree = self.inner.disk.tree(hash);
            if tree.exists() {
                fs::copy(&tree, &sidecar).map_err(|error| WriteError::io(&sidecar, error))?;
            }
        }
        Ok(Remedy::Fetch(Target::File {
            temporary: file.clone(),
            path: file,
        }))
    }

    /// Makes a damaged blob of our own a partial one.
    fn keep_for_repair(&self, cid: Cid) -> Result<(), WriteError> {
        let hash = cid.hash();
        let inner = &self.inner;
        let _gate = inner.enter();
        if inner.located(hash)?.is_some() || inner.partial(hash).is_some() {
            return Ok(());
        }
        lock(&inner.open).close(hash);
        let moves = [
            (inner.disk.data(hash), inner.disk.partial(hash)),
            (inner.disk.tree(hash), inner.disk.partial_tree(hash)),
        ];
        for (from, to) in moves {
            if from.exists() && !to.exists() {
                fs::rename(&from, &to).map_err(|error| WriteError::io(&from, error))?;
            }
        }
        Ok(())
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    if path.is_empty() {
        root.to_owned()
    } else {
        root.join(path)
    }
}

/// Where a file of a root lies, its directories made; never outside the root, whatever links there are by now.
fn reachable(root: &Path, path: &str) -> Result<PathBuf, String> {
    let file = below(root, path);
    let explain = |at: &Path, error: std::io::Error| format!("{}: {error}", at.display());
    if path.is_empty() {
        return Ok(file);
    }
    let mut directory = root.to_owned();
    let mut names: Vec<&str> = path.split('/').collect();
    names.pop();
    for name in std::iter::once("").chain(names) {
        if !name.is_empty() {
            directory.push(name);
        }
        match directory.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(format!("{} is not a directory any more", directory.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                fs::create_dir(&directory).map_err(|error| explain(&directory, error))?;
            }
            Err(error) => return Err(explain(&directory, error)),
        }
    }
    Ok(file)
}
