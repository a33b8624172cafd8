//! The address book on disk: one JSON document with a format number, replaced whole.
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use libp2p_core::Multiaddr;

use super::{MAX_ADDRESSES, MAX_PEERS, Seen};
use crate::replace::replace;

/// The format that this code reads and writes.
const FORMAT: u32 = 1;
/// A longer file was not written by us: 4,096 peers with 8 addresses take a quarter of it.
const MAX_BYTES: u64 = 16 << 20;

#[derive(serde::Serialize, serde::Deserialize)]
struct Document {
    format: u32,
    peers: Vec<Entry>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Entry {
    id: String,
    seen: u64,
    addresses: Vec<Multiaddr>,
}

/// Reads the book; an unreadable one is set aside, since it only costs us old addresses.
pub(crate) fn load(path: &Path) -> Vec<Seen> {
    match read(path) {
        Ok(peers) => peers,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let aside = path.with_extension("damaged");
            tracing::warn!(file = %path.display(), aside = %aside.display(), %error, "the address book cannot be read; set aside");
            if let Err(error) = fs::rename(path, &aside) {
                tracing::warn!(file = %path.display(), %error, "the damaged address book cannot be set aside");
            }
            Vec::new()
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<Seen>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "longer than any address book",
        ));
    }
    let document: Document = serde_json::from_slice(&bytes)?;
    if document.format != FORMAT {
        let text = format!(
            "format {} is not {FORMAT}, the one this version reads",
            document.format
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    document.peers.into_iter().take(MAX_PEERS).map(seen).collect()
}

fn seen(entry: Entry) -> io::Result<Seen> {
    let peer = entry.id.parse();
    let mut addresses = entry.addresses;
    addresses.truncate(MAX_ADDRESSES);
    Ok(Seen {
        peer: peer.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
        seen: entry.seen,
        addresses,
    })
}

/// Replaces the file by `peers`: at any moment, and after a power cut, it is the old one or the new one.
pub(crate) fn save(path: &Path, peers: Vec<Seen>) -> io::Result<()> {
    let document = Document {
        format: FORMAT,
        peers: peers.into_iter().map(entry).collect(),
    };
    replace(path, |file| {
        serde_json::to_writer(io::BufWriter::new(&mut *file), &document)?;
        file.write_all(b"\n")
    })
}

fn entry(seen: Seen) -> Entry {
    Entry {
        id: seen.peer.to_string(),
        seen: seen.seen,
        addresses: seen.addresses,
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::PeerId;

    use super::*;

    fn peers() -> Vec<Seen> {
        vec![Seen {
            peer: PeerId::random(),
            seen: 1_700_000_000,
            addresses: vec!["/ip4/10.0.0.1/tcp/4011".parse().unwrap()],
        }]
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers");
        assert_eq!(load(&path), []);
        let peers = peers();
        save(&path, peers.clone()).unwrap();
        save(&path, peers.clone()).unwrap();
        assert_eq!(load(&path), peers);
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "no temporary files are left"
        );
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers");
        for damage in [
            "",
            "{",
            "\0\0\0",
            r#"{"format":2,"peers":[]}"#,
            r#"{"format":1,"peers":[{"id":"x","seen":1,"addresses":[]}]}"#,
            r#"{"format":1,"peers":[{"id":"12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA","seen":1,"addresses":["?"]}]}"#,
        ] {
            fs::write(&path, damage).unwrap();
            assert_eq!(load(&path), [], "{damage}");
            assert!(!path.exists());
            assert_eq!(
                fs::read_to_string(path.with_extension("damaged")).unwrap(),
                damage
            );
        }
        save(&path, peers()).unwrap();
        assert_eq!(load(&path).len(), 1);
    }
}
