//! What the tests stand on: a store in a directory of its own, and bytes to put into it.
use std::{fs, path::PathBuf, sync::Arc};

use bytes::Bytes;
use cardume_content::{
    Hash, PIECE,
    pieces::{piece_count, piece_range},
    slice, tree,
};
use cardume_store::{Config, Fetch, Store};
use tempfile::TempDir;

/// A store that can be closed and opened again.
pub(crate) struct Stand {
    pub(crate) dir: TempDir,
    database: Option<Arc<redb::Database>>,
    store: Option<Store>,
    config: Config,
}

impl Stand {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let mut stand = Self {
            dir: tempfile::tempdir().unwrap(),
            database: None,
            store: None,
            config,
        };
        stand.reopen();
        stand
    }

    /// Drops the store, as an unclean stop does, and opens it again.
    pub(crate) fn reopen(&mut self) -> &Store {
        self.store = None;
        self.database = None;
        let database = Arc::new(redb::Database::create(self.dir.path().join("db")).unwrap());
        let store = Store::open(&self.dir.path().join("store"), database.clone(), &self.config).unwrap();
        self.database = Some(database);
        self.store.insert(store)
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// A path beside the store.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// Bytes that repeat nowhere and are the same every time.
pub(crate) fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next)
        .take(len.div_ceil(8))
        .flatten()
        .collect();
    bytes.truncate(len);
    bytes
}

/// Reads a whole blob through the store.
pub(crate) fn read(store: &Store, hash: Hash) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let part = store.read(hash, all.len() as u64..u64::MAX).unwrap();
        if part.is_empty() {
            return all;
        }
        all.extend(part);
    }
}

/// What an honest peer answers.
pub(crate) fn slice_of(content: &[u8], range: std::ops::Range<u64>) -> Bytes {
    let (hash, tree) = tree::of(content);
    let from = |source: &[u8], offset: u64, buffer: &mut [u8]| {
        let start = offset as usize;
        buffer.copy_from_slice(&source[start..start + buffer.len()]);
        Ok(())
    };
    let mut out = Vec::new();
    let data = |offset, buffer: &mut [u8]| from(content, offset, buffer);
    let nodes = |offset, buffer: &mut [u8]| from(&tree, offset, buffer);
    slice::encode(hash, content.len() as u64, range, data, nodes, &mut out).unwrap();
    out.into()
}

pub(crate) fn piece(content: &[u8], index: u64) -> std::ops::Range<u64> {
    piece_range(content.len() as u64, index)
}

/// Brings in the pieces that are missing.
pub(crate) fn complete(fetch: &Fetch, content: &[u8]) {
    for index in 0..piece_count(content.len() as u64) {
        if !fetch.pieces().contains(index) {
            let range = piece(content, index);
            fetch.write(range.clone(), slice_of(content, range)).unwrap();
        }
    }
}

pub(crate) const MIB: usize = PIECE as usize;
