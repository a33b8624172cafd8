//! What the database says of a blob and of a file, and how that is written down.
//!
//! Rows begin with a version byte; integers are little endian.
use std::{
    ffi::OsStr,
    fs::Metadata,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use cardume_content::{Cid, Hash, Kind, tree};

use crate::error::Fault;

const VERSION: u8 = 1;
/// Of roots that everybody may have; those of version 1 do not say whether they are announced, and are.
const ROOT_VERSION: u8 = 2;
/// Of roots with an `allow` list: a program that does not know lists does not take one for a root that is everybody's.
const LISTED_VERSION: u8 = 3;

/// Blobs up to this size that are the store's own live in the database: a file would cost more than they do.
pub(crate) const INLINE: u64 = 16 * 1024;
/// Trees up to this size live in the blob's row: those of blobs up to 4 MiB.
pub(crate) const INLINE_TREE: u64 = 4 * 1024;
/// Places remembered of one blob; a thousand copies of an empty file need not all be known.
pub(crate) const PLACES: usize = 4;

/// A file younger than this, in nanoseconds, may still be written to without its time stamp showing it: some file
/// systems count in steps of two seconds.
const RESTED: i64 = 2_000_000_000;

/// A complete blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) tree: Tree,
    pub(crate) body: Body,
}

/// Where a blob's hash tree is. One of no parents is `Inline` and empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tree {
    Inline(Bytes),
    File,
}

/// Where a blob's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Inline(Bytes),
    /// In the store's own data.
    Own,
    /// In files of others, which may change under us.
    Places(Vec<PathBuf>),
}

impl Record {
    pub(crate) fn cid(&self, hash: Hash) -> Cid {
        Cid::new(self.kind, hash)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = vec![VERSION, u8::from(self.kind == Kind::Directory)];
        row.extend(self.size.to_le_bytes());
        match &self.tree {
            Tree::File => row.push(0),
            Tree::Inline(bytes) => {
                row.push(1);
                put_bytes(&mut row, bytes);
            }
        }
        match &self.body {
            Body::Own => row.push(0),
            Body::Inline(bytes) => {
                row.push(1);
                put_bytes(&mut row, bytes);
            }
            Body::Places(places) => {
                row.push(2);
                for place in places.iter().take(PLACES) {
                    put_bytes(&mut row, place.as_os_str().as_bytes());
                }
            }
        }
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, Fault> {
        Self::parse(Row(row)).ok_or_else(|| Fault("a blob's row is damaged".into()))
    }

    fn parse(mut row: Row<'_>) -> Option<Self> {
        (row.byte()? == VERSION).then_some(())?;
        let kind = if row.byte()? == 1 {
            Kind::Directory
        } else {
            Kind::Blob
        };
        let size = row.number()?;
        let tree = match row.byte()? {
            0 => Tree::File,
            1 => Tree::Inline(Bytes::copy_from_slice(row.bytes()?)),
            _ => return None,
        };
        let body = match row.byte()? {
            0 => Body::Own,
            1 => Body::Inline(Bytes::copy_from_slice(row.bytes()?)),
            2 => {
                let mut places = Vec::new();
                while !row.0.is_empty() {
                    places.push(PathBuf::from(OsStr::from_bytes(row.bytes()?)));
                }
                Body::Places(places)
            }
            _ => return None,
        };
        Some(Self {
            kind,
            size,
            tree,
            body,
        })
    }

    /// Bytes of the files in the store's own directory that go with this record.
    pub(crate) fn own_files(&self) -> u64 {
        let data = if self.body == Body::Own { self.size } else { 0 };
        let tree = if self.tree == Tree::File {
            tree::len(self.size)
        } else {
            0
        };
        data.saturating_add(tree)
    }
}

/// What a file looked like from outside when it was hashed.
///
/// The device is left out: its number may be another after a restart of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Print {
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) mtime: i64,
    pub(crate) inode: u64,
}

impl Print {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// One time stamp out of its two parts; those out of range stay at the end of it.
pub(crate) fn nanoseconds(seconds: i64, nanoseconds: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// What a path was when it was last taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) hash: Hash,
    pub(crate) print: Print,
    /// Whether the file had rested before it was hashed, so that a later change must show in the print.
    pub(crate) rested: bool,
}

impl Place {
    /// Describes a file of which hashing began at `started`.
    pub(crate) fn new(hash: Hash, print: Print, started: SystemTime) -> Self {
        let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let started = i64::try_from(started).unwrap_or(i64::MAX);
        let rested = started.saturating_sub(print.mtime) > RESTED;
        Self { hash, print, rested }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = vec![VERSION];
        row.extend(self.hash.as_bytes());
        row.extend(self.print.size.to_le_bytes());
        row.extend(self.print.mtime.to_le_bytes());
        row.extend(self.print.inode.to_le_bytes());
        row.push(u8::from(self.rested));
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, Fault> {
        Self::parse(Row(row)).ok_or_else(|| Fault("a path's row is damaged".into()))
    }

    fn parse(mut row: Row<'_>) -> Option<Self> {
        (row.byte()? == VERSION).then_some(())?;
        let hash = Hash::from_bytes(row.take(32)?.try_into().ok()?);
        let print = Print {
            size: row.number()?,
            mtime: row.number()?.cast_signed(),
            inode: row.number()?,
        };
        let rested = row.byte()? == 1;
        Some(Self { hash, print, rested })
    }
}

/// A root's row, without its id, which is the key.
pub(crate) fn encode_root(root: &crate::Root) -> Vec<u8> {
    let version = root.allow.as_ref().map_or(ROOT_VERSION, |_| LISTED_VERSION);
    let mut row = vec![version, u8::from(root.pinned), u8::from(root.announce)];
    if let Some(words) = &root.allow {
        row.extend((words.len() as u64).to_le_bytes());
        words.iter().for_each(|word| put_bytes(&mut row, word.as_bytes()));
    }
    for number in [root.size, root.files, root.added] {
        row.extend(number.to_le_bytes());
    }
    put_bytes(&mut row, root.name.as_bytes());
    if let Some(path) = &root.path {
        put_bytes(&mut row, path.as_os_str().as_bytes());
    }
    row
}

pub(crate) fn decode_root(cid: &[u8], row: &[u8]) -> Result<crate::Root, Fault> {
    parse_root(cid, Row(row)).ok_or_else(|| Fault("a root's row is damaged".into()))
}

fn parse_root(cid: &[u8], mut row: Row<'_>) -> Option<crate::Root> {
    let version = row.byte()?;
    (1..=LISTED_VERSION).contains(&version).then_some(())?;
    let pinned = row.byte()? == 1;
    let announce = version == 1 || row.byte()? == 1;
    let allow = match version {
        LISTED_VERSION => Some(parse_words(&mut row)?),
        _ => None,
    };
    let (size, files, added) = (row.number()?, row.number()?, row.number()?);
    let name = String::from_utf8(row.bytes()?.to_vec()).ok()?;
    let path = match row.0 {
        [] => None,
        _ => Some(Path::new(OsStr::from_bytes(row.bytes()?)).to_owned()),
    };
    Some(crate::Root {
        cid: Cid::from_bytes(cid).ok()?,
        name,
        size,
        files,
        path,
        pinned,
        announce,
        allow,
        added,
    })
}

fn parse_words(row: &mut Row<'_>) -> Option<Vec<String>> {
    let words = row.number()?;
    (0..words)
        .map(|_| String::from_utf8(row.bytes()?.to_vec()).ok())
        .collect()
}

fn put_bytes(row: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("rows are far below 4 GiB");
    row.extend(len.to_le_bytes());
    row.extend(bytes);
}

/// What is left of a row.
struct Row<'a>(&'a [u8]);

impl<'a> Row<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(len).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_of_the_first_version_is_announced_as_it_always_was() {
        let root = crate::Root {
            cid: Cid::blob(Hash::of(b"bytes")),
            name: "a name".into(),
            size: 5,
            files: 1,
            path: Some("/srv/films".into()),
            pinned: true,
            announce: false,
            allow: None,
            added: 1_700_000_000,
        };
        let row = encode_root(&root);
        let cid = root.cid.to_bytes();
        assert_eq!(decode_root(&cid, &row).unwrap(), root);
        let first = [&[1, 1], row.get(3..).unwrap()].concat();
        let announced = crate::Root {
            announce: true,
            ..root
        };
        assert_eq!(decode_root(&cid, &first).unwrap(), announced);
        assert!(decode_root(&cid, &[&[4, 1, 1], row.get(3..).unwrap()].concat()).is_err());
        for words in [vec![], vec!["nas".to_owned(), "group:web".to_owned()]] {
            let listed = crate::Root {
                allow: Some(words),
                ..announced.clone()
            };
            assert_eq!(decode_root(&cid, &encode_root(&listed)).unwrap(), listed);
        }
    }
}
