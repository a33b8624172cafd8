//! Blobs of unknown length, as an upload brings them.
use std::{io::Write, os::unix::fs::FileExt, sync::Arc};

use cardume_content::{Cid, Hash, Kind};
use tempfile::NamedTempFile;

use crate::{
    Inner, Reservation, Store, WriteError,
    hashed::Hashed,
    lock,
    record::{Body, INLINE, Record},
    settle::Waiting,
    write::Own,
};

impl Store {
    /// Takes in a blob of unknown length, as an upload brings it.
    pub fn upload(&self) -> Result<Upload, WriteError> {
        Ok(Upload {
            inner: self.inner.clone(),
            memory: Vec::new(),
            file: None,
            size: 0,
            reservation: self.inner.reserve(0, true)?,
        })
    }
}

/// A blob coming in, of a length nobody knows yet. Dropped, it leaves nothing.
pub struct Upload {
    inner: Arc<Inner>,
    memory: Vec<u8>,
    /// Has everything, once `memory` would be too much.
    file: Option<NamedTempFile>,
    size: u64,
    reservation: Reservation,
}

impl Upload {
    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.inner.make_room_for(bytes.len() as u64)?;
        self.reservation
            .add(self.inner.reserve(bytes.len() as u64, true)?);
        self.size = self.size.saturating_add(bytes.len() as u64);
        let failed = |error| WriteError::io(self.inner.disk.root(), error);
        if self.file.is_none() && self.size > INLINE {
            let mut file = self.inner.disk.temporary().map_err(failed)?;
            file.write_all(&self.memory).map_err(failed)?;
            self.memory = Vec::new();
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes).map_err(failed),
            None => {
                self.memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// Ends the blob; durable after the next [`Store::settle`].
    pub fn finish(self) -> Result<(Hash, u64), WriteError> {
        let inner = &self.inner;
        let Some(file) = self.file else {
            drop(self.reservation);
            let hashed = Hashed::of_bytes(inner, &self.memory);
            let hash = hashed.hash;
            let _gate = inner.enter();
            let waiting = inner.place_bytes(Cid::blob(hash), &self.memory, hashed)?;
            inner.admit_new(hash, waiting)?;
            return Ok((hash, self.size));
        };
        let failed = |error| WriteError::io(inner.disk.root(), error);
        let read = |offset, buffer: &mut [u8]| file.as_file().read_exact_at(buffer, offset);
        let hashed = Hashed::of_file(inner, self.size, read, |_| true).map_err(failed)?;
        let hash = hashed.hash;
        let _gate = inner.enter();
        inner.name(&file.into_temp_path(), Own::Data(hash))?;
        let waiting = Waiting {
            record: Record {
                kind: Kind::Blob,
                size: self.size,
                tree: hashed.plant(inner)?,
                body: Body::Own,
            },
            place: None,
            anchor: None,
            _reservation: Some(self.reservation),
        };
        inner.admit_new(hash, waiting)?;
        Ok((hash, self.size))
    }
}

impl Inner {
    /// Admits a blob unless it is here as our own already.
    fn admit_new(&self, hash: Hash, waiting: Waiting) -> Result<(), WriteError> {
        match self.located(hash)? {
            Some((record, _)) if !matches!(record.body, Body::Places(_)) => {
                lock(&self.held).touch(Cid::blob(hash));
            }
            _ => self.admit(hash, waiting),
        }
        Ok(())
    }
}
