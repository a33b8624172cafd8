//! What is there from an earlier try.
//!
//! Nothing is recorded of a partial blob but its own bytes and its tree: both prove themselves, or are fetched again.
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::*;
use crate::hashed::Grown;

impl Partial {
    /// Opens the files, verifies what they have, and takes the space for the rest.
    pub(super) fn open(
        store: &Arc<Inner>,
        hash: Hash,
        size: u64,
        target: Target,
    ) -> Result<Self, WriteError> {
        let own = if target == Target::Store { size } else { 0 };
        let reservation = store.reserve_fetch(own, tree::len(size))?;
        let none = PieceSet::empty(piece_count(size));
        let mut partial = Self {
            store: store.clone(),
            hash,
            size,
            data: PartialData::Memory(Mutex::new(vec![
                0;
                if size <= INLINE { size as usize } else { 0 }
            ])),
            tree: PartialTree::Memory(Mutex::default()),
            writing: Mutex::new(()),
            state: Mutex::new(State {
                unproven: none.clone(),
                pieces: none,
                stage: Stage::Running,
                is_claimed: false,
            }),
            reservation: Mutex::new(Some(reservation)),
            anchor: None,
            landing: RwLock::default(),
            target,
        };
        if partial.target == Target::Store && size <= INLINE {
            return Ok(partial);
        }
        if partial.open_arrived()? {
            return Ok(partial);
        }
        partial.open_files()?;
        Ok(partial)
    }

    /// Takes the file at its last name if it is complete: the program ended between the rename and the record of it.
    fn open_arrived(&mut self) -> Result<bool, WriteError> {
        let Target::File { temporary, path } = &self.target else {
            return Ok(false);
        };
        if temporary.symlink_metadata().is_ok() {
            return Ok(false);
        }
        let Ok(file) = disk::open_plain(path) else {
            return Ok(false);
        };
        if !file.metadata().is_ok_and(|found| found.len() == self.size) {
            return Ok(false);
        }
        let path = path.clone();
        self.take_whole(file, path)
    }

    /// Takes a file that has the whole blob and no tree.
    fn take_whole(&mut self, file: File, path: PathBuf) -> Result<bool, WriteError> {
        let failed = |error| WriteError::io(&path, error);
        let read = |offset, buffer: &mut [u8]| file.read_exact_at(buffer, offset);
        let hashed = Hashed::of_file(&self.store, self.size, read, |_| true).map_err(failed)?;
        if hashed.hash != self.hash {
            return Ok(false);
        }
        self.anchor = Some(
            self.store
                .anchor(&file, path.parent().unwrap_or(&path))
                .map_err(failed)?,
        );
        self.tree = match hashed.tree {
            Grown::Memory(bytes) => PartialTree::Memory(Mutex::new(bytes)),
            Grown::File(tree) => {
                let sidecar = self.store.disk.partial_tree(self.hash);
                let file = tree
                    .persist(&sidecar)
                    .map_err(|error| WriteError::io(&sidecar, error.error))?;
                PartialTree::File {
                    file: Arc::new(file),
                    path: sidecar,
                }
            }
        };
        self.data = PartialData::File {
            file: Arc::new(file),
            path,
        };
        lock(&self.state).pieces = PieceSet::full(piece_count(self.size));
        Ok(true)
    }

    fn open_files(&mut self) -> Result<(), WriteError> {
        let path = match &self.target {
            Target::Store => self.store.disk.partial(self.hash),
            Target::File { temporary, .. } => temporary.clone(),
        };
        let failed = |error| WriteError::io(&path, error);
        let is_new = path.symlink_metadata().is_err();
        let file = disk::open_partial(&path).map_err(failed)?;
        let whole = !is_new && file.metadata().map_err(failed)?.len() == self.size;
        let sidecar = self.store.disk.partial_tree(self.hash);
        let has_tree = self.size > PIECE && sidecar.symlink_metadata().is_ok();
        if whole && !has_tree && self.take_whole(file.try_clone().map_err(failed)?, path.clone())? {
            return Ok(());
        }
        self.anchor = Some(
            self.store
                .anchor(&file, path.parent().unwrap_or(&path))
                .map_err(failed)?,
        );
        if self.size > PIECE {
            disk::allocate(&file, self.size).map_err(|error| {
                if is_new {
                    // The first error is the one to tell.
                    let _ = disk::remove(&path);
                }
                WriteError::io(&path, error)
            })?;
            let tree_failed = |error| WriteError::io(&sidecar, error);
            let tree = disk::open_partial(&sidecar).map_err(tree_failed)?;
            disk::allocate(&tree, tree::len(self.size)).map_err(tree_failed)?;
            self.tree = PartialTree::File {
                file: Arc::new(tree),
                path: sidecar,
            };
        } else {
            file.set_len(self.size).map_err(failed)?;
            let len = usize::try_from(tree::len(self.size)).unwrap_or(0);
            self.tree = PartialTree::Memory(Mutex::new(vec![0; len]));
        }
        self.data = PartialData::File {
            file: Arc::new(file),
            path,
        };
        if has_tree && !is_new {
            self.verify_there();
        }
        Ok(())
    }

    /// Finds the pieces that verify, on all cores. Where parents are missing this is soon known.
    fn verify_there(&self) {
        let Some(source) = self.unchecked() else { return };
        let dead = AtomicBool::new(false);
        let count = piece_count(self.size);
        self.store.pool.install(|| {
            (0..count)
                .into_par_iter()
                .for_each_init(Vec::new, |scratch, piece| {
                    if dead.load(Ordering::Relaxed) {
                        return;
                    }
                    scratch.clear();
                    match source.encode(piece_range(self.size, piece), scratch) {
                        Ok(()) => {
                            lock(&self.state).pieces.insert(piece);
                        }
                        Err(slice::EncodeError::Io(error)) => {
                            tracing::warn!(hash = %self.hash, %error, "partial data cannot be read");
                            dead.store(true, Ordering::Relaxed);
                        }
                        Err(slice::EncodeError::Changed { .. }) => {}
                    }
                });
        });
    }

    /// The files as they are, whatever is in them.
    fn unchecked(&self) -> Option<Source> {
        let (PartialData::File { file, path }, PartialTree::File { file: tree, .. }) =
            (&self.data, &self.tree)
        else {
            return None;
        };
        Some(Source {
            hash: self.hash,
            size: self.size,
            data: Data::File {
                file: file.clone(),
                path: path.clone(),
                print: None,
            },
            tree: TreeData::File(tree.clone()),
        })
    }
}
