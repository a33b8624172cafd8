//! A manifest's bytes: `[1, [entry, …]]` in DAG-CBOR.
//!
//! A list, so that the version comes first. The kind of an entry is told by its fields: `l` makes a symlink,
//! `f` a directory, neither a file.
use std::fmt;

use serde::{
    Deserialize, Serialize,
    de::{self, DeserializeSeed, SeqAccess},
};

use super::{Entry, ManifestError, Name, Node};
use crate::Cid;

/// The version of the format.
const VERSION: u64 = 1;
/// Entries that memory is taken for in advance, whatever number the bytes claim.
const TRUSTED_CAPACITY: usize = 1_024;

/// An entry as it is written, its keys in the order of DAG-CBOR.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    /// The CID of a file or a directory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    c: Option<cid::Cid>,
    /// Files below a directory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    f: Option<u64>,
    /// What a symlink points to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    l: Option<String>,
    /// The name.
    n: String,
    /// Bytes of a file, or of all files below a directory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    s: Option<u64>,
    /// Whether a file is executable; left out when not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    x: Option<bool>,
}

pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    let wires: Vec<Wire> = entries.iter().map(Wire::from).collect();
    serde_ipld_dagcbor::to_vec(&(VERSION, wires)).expect("texts, numbers and CIDs can always be encoded")
}

/// Parses entries, at most `most` of them.
pub(super) fn decode(bytes: &[u8], most: u64) -> Result<Vec<Entry>, ManifestError> {
    let mut refused = None;
    let mut deserializer = serde_ipld_dagcbor::de::Deserializer::from_slice(bytes);
    let wires = de::Deserializer::deserialize_tuple(
        &mut deserializer,
        2,
        DocumentVisitor {
            most,
            refused: &mut refused,
        },
    );
    let ended = wires.and_then(|wires| deserializer.end().map(|()| wires));
    match ended {
        Ok(wires) => wires.into_iter().map(Entry::try_from).collect(),
        Err(error) => {
            Err(refused.unwrap_or_else(|| ManifestError::Malformed(super::name::cut(&error.to_string()))))
        }
    }
}

/// Reads the version, then the entries.
struct DocumentVisitor<'a> {
    most: u64,
    /// The error that serde has no words for.
    refused: &'a mut Option<ManifestError>,
}

impl<'de> de::Visitor<'de> for DocumentVisitor<'_> {
    type Value = Vec<Wire>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of a version and entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut document: A) -> Result<Vec<Wire>, A::Error> {
        let version: u64 = document
            .next_element()?
            .ok_or_else(|| de::Error::invalid_length(0, &self))?;
        if version != VERSION {
            return Err(de::Error::custom(format_args!(
                "version {version} is not supported; only 1 is"
            )));
        }
        let entries = EntriesSeed {
            most: self.most,
            refused: &mut *self.refused,
        };
        document
            .next_element_seed(entries)?
            .ok_or_else(|| de::Error::custom("the entries are missing"))
    }
}

/// Reads entries, no more than allowed.
struct EntriesSeed<'a> {
    most: u64,
    refused: &'a mut Option<ManifestError>,
}

impl<'de> DeserializeSeed<'de> for EntriesSeed<'_> {
    type Value = Vec<Wire>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Wire>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> de::Visitor<'de> for EntriesSeed<'_> {
    type Value = Vec<Wire>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<Wire>, A::Error> {
        let claimed = entries.size_hint().unwrap_or(0);
        let mut wires = Vec::new();
        let mut count = claimed as u64;
        if count <= self.most {
            wires.reserve(claimed.min(TRUSTED_CAPACITY));
            while let Some(wire) = entries.next_element()? {
                wires.push(wire);
                count = wires.len() as u64;
                if count > self.most {
                    break;
                }
            }
        }
        match super::limit("the number of entries", count, self.most) {
            Ok(()) => Ok(wires),
            Err(error) => {
                *self.refused = Some(error);
                Err(de::Error::custom("too many entries"))
            }
        }
    }
}

impl From<&Entry> for Wire {
    fn from(entry: &Entry) -> Self {
        let blank = Self {
            c: None,
            f: None,
            l: None,
            n: entry.name.to_string(),
            s: None,
            x: None,
        };
        match &entry.node {
            Node::File {
                cid,
                size,
                executable,
            } => Self {
                c: Some((*cid).into()),
                s: Some(*size),
                x: executable.then_some(true),
                ..blank
            },
            Node::Directory { cid, size, files } => Self {
                c: Some((*cid).into()),
                s: Some(*size),
                f: Some(*files),
                ..blank
            },
            Node::Symlink { target } => Self {
                l: Some(target.clone()),
                ..blank
            },
        }
    }
}

impl TryFrom<Wire> for Entry {
    type Error = ManifestError;

    fn try_from(wire: Wire) -> Result<Self, ManifestError> {
        let name = Name::new(wire.n)?;
        let node = match (wire.c, wire.s, wire.f, wire.l) {
            (Some(cid), Some(size), None, None) => Node::File {
                cid: ours(cid)?,
                size,
                executable: wire.x.unwrap_or(false),
            },
            (Some(cid), Some(size), Some(files), None) => Node::Directory {
                cid: ours(cid)?,
                size,
                files,
            },
            (None, None, None, Some(target)) => Node::Symlink { target },
            _ => {
                let reason = format!("{:?} is neither file, directory nor symlink", name.as_str());
                return Err(ManifestError::Malformed(reason));
            }
        };
        Ok(Self { name, node })
    }
}

fn ours(cid: cid::Cid) -> Result<Cid, ManifestError> {
    Cid::try_from(cid).map_err(|error| ManifestError::Malformed(error.to_string()))
}
