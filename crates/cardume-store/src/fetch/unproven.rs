//! Bytes whose source has no tree: kept apart from what is verified until the whole blob proves them.
use super::*;
use crate::hashed::Grown;

impl Store {
    /// Begins or resumes the fetch of one blob whose size somebody claims who cannot prove it.
    ///
    /// Nobody is told of it until something of it is proven.
    ///
    /// # Errors
    /// As for [`fetch`](Self::fetch); `Incomplete` when the blob is being fetched already, and has another size.
    pub fn fetch_claimed(&self, hash: Hash, size: u64, target: Target) -> Result<Fetch, WriteError> {
        if let Some(partial) = self.inner.partial(hash)
            && partial.size != size
        {
            return Err(WriteError::Incomplete);
        }
        let fetch = self.fetch(hash, size, target)?;
        let mut state = lock(&fetch.partial.state);
        if state.pieces.count() == 0 {
            state.is_claimed = true;
        }
        drop(state);
        Ok(fetch)
    }
}

impl Fetch {
    /// Takes one whole piece that nobody has proven; `false` if it was here already.
    ///
    /// It is never served, and gives way to the same piece verified.
    ///
    /// # Errors
    /// `Incomplete` when it has another length, or the fetch has ended.
    pub fn hold(&self, piece: u64, bytes: &[u8]) -> Result<bool, WriteError> {
        self.partial.hold(piece, bytes)
    }

    /// Pieces that are neither verified nor held unproven.
    pub fn wanted(&self) -> PieceSet {
        let state = lock(&self.partial.state);
        let mut wanted = PieceSet::empty(state.pieces.len());
        let open = state.pieces.iter_missing();
        for piece in open.filter(|piece| !state.unproven.contains(*piece)) {
            wanted.insert(piece);
        }
        wanted
    }

    /// Hashes the whole blob: if it is what it should be, every piece is verified. If not, what was held unproven is
    /// forgotten, and what was verified stays.
    ///
    /// # Errors
    /// `Incomplete` while a piece is not there at all.
    pub fn prove(&self) -> Result<bool, WriteError> {
        self.partial.prove()
    }
}

impl Partial {
    /// Whether this is a claim only, and another size has been proven.
    pub(super) fn is_disproven_by(&self, size: u64) -> bool {
        let state = lock(&self.state);
        state.is_claimed && state.pieces.count() == 0 && self.size != size
    }

    /// Ends, so that the same blob may be fetched with another size.
    pub(super) fn give_way(&self) {
        lock(&self.state).stage = Stage::Abandoned;
        lock(&self.reservation).take();
    }

    fn hold(&self, piece: u64, bytes: &[u8]) -> Result<bool, WriteError> {
        let range = piece_range(self.size, piece);
        if range.end - range.start != bytes.len() as u64 {
            return Err(WriteError::Incomplete);
        }
        let _landing = self.landing.write().unwrap_or_else(PoisonError::into_inner);
        {
            let state = lock(&self.state);
            if state.stage != Stage::Running {
                return Err(WriteError::Incomplete);
            }
            if state.pieces.contains(piece) || state.unproven.contains(piece) {
                return Ok(false);
            }
        }
        match &self.data {
            PartialData::Memory(data) => write_memory(&mut lock(data), range.start, bytes),
            PartialData::File { file, path } => file
                .write_all_at(bytes, range.start)
                .map_err(|error| WriteError::io(path, error))?,
        }
        lock(&self.state).unproven.insert(piece);
        Ok(true)
    }

    fn prove(&self) -> Result<bool, WriteError> {
        {
            let state = lock(&self.state);
            let is_there = |piece| state.pieces.contains(piece) || state.unproven.contains(piece);
            if state.stage != Stage::Running || !(0..state.pieces.len()).all(is_there) {
                return Err(WriteError::Incomplete);
            }
        }
        let hashed = match &self.data {
            PartialData::Memory(data) => Hashed::of_bytes(&self.store, &lock(data).clone()),
            PartialData::File { file, path } => {
                let read = |offset, buffer: &mut [u8]| file.read_exact_at(buffer, offset);
                Hashed::of_file(&self.store, self.size, read, |_| true)
                    .map_err(|error| WriteError::io(path, error))?
            }
        };
        let none = PieceSet::empty(piece_count(self.size));
        if hashed.hash != self.hash {
            lock(&self.state).unproven = none;
            return Ok(false);
        }
        self.take_tree(&hashed.tree)?;
        let mut state = lock(&self.state);
        state.unproven = none;
        state.pieces = PieceSet::full(piece_count(self.size));
        Ok(true)
    }

    fn take_tree(&self, grown: &Grown) -> Result<(), WriteError> {
        const AT_ONCE: u64 = PIECE;
        match grown {
            Grown::Memory(bytes) => self.write_run(0, bytes),
            Grown::File(tree) => {
                let failed = |error| WriteError::io(tree.path(), error);
                let (mut offset, end) = (0, tree::len(self.size));
                let mut buffer = vec![0; usize::try_from(end.min(AT_ONCE)).unwrap_or(0)];
                while offset < end {
                    let len = usize::try_from((end - offset).min(AT_ONCE)).unwrap_or(0);
                    let part = buffer.get_mut(..len).unwrap_or_default();
                    tree.as_file().read_exact_at(part, offset).map_err(failed)?;
                    self.write_run(offset, part)?;
                    offset += len as u64;
                }
                Ok(())
            }
        }
    }
}
