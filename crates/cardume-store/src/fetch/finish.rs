//! A fetch that ends: complete, or thrown away.
use std::time::SystemTime;

use super::*;
use crate::write::Own;

impl Partial {
    pub(super) fn finish(&self) -> Result<(), WriteError> {
        {
            let state = lock(&self.state);
            match state.stage {
                Stage::Finished => return Ok(()),
                Stage::Running if state.pieces.is_full() => {}
                _ => return Err(WriteError::Incomplete),
            }
        }
        let _gate = self.store.enter();
        let (body, place) = match (&self.data, &self.target) {
            (PartialData::Memory(bytes), _) => (Body::Inline(Bytes::copy_from_slice(&lock(bytes))), None),
            (PartialData::File { path, .. }, Target::Store) => {
                self.store.name(path, Own::Data(self.hash))?;
                (Body::Own, None)
            }
            (PartialData::File { file, .. }, Target::File { path, .. }) => {
                let print = self.arrived(file, path)?;
                let place = Place::new(self.hash, print, SystemTime::now());
                (Body::Places(vec![path.clone()]), Some((path.clone(), place)))
            }
        };
        let waiting = Waiting {
            record: Record {
                kind: Kind::Blob,
                size: self.size,
                tree: self.plant()?,
                body,
            },
            place,
            anchor: self.anchor.clone(),
            _reservation: lock(&self.reservation).take(),
        };
        self.store.admit(self.hash, waiting);
        lock(&self.state).stage = Stage::Finished;
        Ok(())
    }

    /// What the file at its last name looks like, if it is ours.
    fn arrived(&self, file: &File, path: &Path) -> Result<Print, WriteError> {
        let failed = |error| WriteError::io(path, error);
        let there = disk::open_plain(path).map_err(failed)?;
        let (ours, found) = (
            file.metadata().map_err(failed)?,
            there.metadata().map_err(failed)?,
        );
        let same = (ours.dev(), ours.ino()) == (found.dev(), found.ino()) && found.len() == self.size;
        if !same {
            let read = |offset, buffer: &mut [u8]| there.read_exact_at(buffer, offset);
            if found.len() != self.size || self.store.hash(self.size, read).map_err(failed)? != self.hash {
                return Err(WriteError::Incomplete);
            }
        }
        Ok(Print::of(&found))
    }

    /// Puts the tree where the store keeps trees.
    fn plant(&self) -> Result<Tree, WriteError> {
        match &self.tree {
            PartialTree::Memory(bytes) => self.store.place_tree(self.hash, lock(bytes).clone()),
            PartialTree::File { file, path } => {
                let failed = |error| WriteError::io(path, error);
                if tree::len(self.size) <= INLINE_TREE {
                    let bytes = disk::read_all(file, tree::len(self.size)).map_err(failed)?;
                    disk::remove(path).map_err(failed)?;
                    return Ok(Tree::Inline(bytes.into()));
                }
                self.store.name(path, Own::Tree(self.hash))?;
                Ok(Tree::File)
            }
        }
    }

    pub(super) fn abandon(&self) -> Result<(), WriteError> {
        {
            let mut state = lock(&self.state);
            if state.stage != Stage::Running {
                return Ok(());
            }
            state.stage = Stage::Abandoned;
            state.pieces = PieceSet::empty(piece_count(self.size));
        }
        lock(&self.reservation).take();
        if let PartialTree::File { path, .. } = &self.tree {
            disk::remove(path).map_err(|error| WriteError::io(path, error))?;
        }
        match &self.data {
            PartialData::File { path, .. } => disk::remove(path).map_err(|error| WriteError::io(path, error)),
            PartialData::Memory(_) => Ok(()),
        }
    }
}
