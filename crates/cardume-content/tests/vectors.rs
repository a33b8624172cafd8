//! The test vectors in `docs/protocols/content.md` are what this crate computes.
use std::fmt::Write;

use cardume_content::{
    Cid, Hash, Link, Manifest,
    manifest::{Entry, Name, Node},
    slice, tree,
};

const PAGE: &str = include_str!("../../../docs/protocols/content.md");

/// Byte `i` is `i` modulo 251, as in BLAKE3's own test vectors.
fn content(size: u64) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Finds the block after a heading of the page.
fn check(heading: &str, vectors: &str) {
    let (_, after) = PAGE
        .split_once(&format!("### {heading}\n"))
        .expect("the page has this heading");
    let block = after
        .split("```")
        .nth(1)
        .and_then(|block| block.split_once('\n'))
        .expect("a block")
        .1;
    assert!(
        block == vectors,
        "under {heading:?} the page should have:\n{vectors}"
    );
}

#[test]
fn blobs() {
    let mut vectors = String::new();
    for size in [0, 1, 1_024, 65_536, 65_537, 200_000] {
        let (hash, tree) = tree::of(&content(size));
        writeln!(vectors, "size {size}").unwrap();
        writeln!(vectors, "  blake3 {hash}").unwrap();
        writeln!(vectors, "  cid    {}", Cid::blob(hash)).unwrap();
        writeln!(vectors, "  bytes  {}", hex(&Cid::blob(hash).to_bytes())).unwrap();
        writeln!(
            vectors,
            "  tree   {} bytes, blake3 {}",
            tree.len(),
            Hash::of(&tree)
        )
        .unwrap();
    }
    check("Blobs", &vectors);
}

#[test]
fn slices() {
    let mut vectors = String::new();
    let bytes = content(200_000);
    let (root, outboard) = tree::of(&bytes);
    for range in [0..1, 65_536..65_537, 65_535..65_537, 199_999..200_000, 0..200_000] {
        let mut out = Vec::new();
        let read = |from: &[u8], offset: u64, buffer: &mut [u8]| {
            buffer.copy_from_slice(&from[offset as usize..][..buffer.len()]);
            Ok(())
        };
        slice::encode(
            root,
            200_000,
            range.clone(),
            |offset, buffer| read(&bytes, offset, buffer),
            |offset, buffer| read(&outboard, offset, buffer),
            &mut out,
        )
        .unwrap();
        let (start, end) = (range.start, range.end);
        writeln!(
            vectors,
            "range {start}..{end}: {} bytes, blake3 {}",
            out.len(),
            Hash::of(&out)
        )
        .unwrap();
    }
    check("Slices of the blob of 200000 bytes", &vectors);
}

#[test]
fn manifests() {
    let manifest = |entries: Vec<(&str, Node)>| {
        let entries = entries.into_iter().map(|(name, node)| Entry {
            name: Name::new(name).unwrap(),
            node,
        });
        Manifest::new(entries.collect()).unwrap()
    };
    let script = content(1);
    let inner = manifest(vec![(
        "run.sh",
        Node::File {
            cid: Cid::blob(Hash::of(&script)),
            size: 1,
            executable: true,
        },
    )]);
    let outer = manifest(vec![
        (
            "é.txt",
            Node::File {
                cid: Cid::blob(Hash::of(b"")),
                size: 0,
                executable: false,
            },
        ),
        (
            "bin",
            Node::Directory {
                cid: inner.cid(),
                size: 1,
                files: 1,
            },
        ),
        (
            "latest",
            Node::Symlink {
                target: "bin/run.sh".to_owned(),
            },
        ),
    ]);
    let mut vectors = String::new();
    for (name, manifest) in [("empty", &Manifest::default()), ("bin", &inner), ("root", &outer)] {
        writeln!(vectors, "{name}").unwrap();
        writeln!(vectors, "  bytes {}", hex(&manifest.encode())).unwrap();
        writeln!(vectors, "  cid   {}", manifest.cid()).unwrap();
    }
    check("Manifests", &vectors);
}

#[test]
fn links() {
    let (_, after) = PAGE.split_once("### Links\n").unwrap();
    let block = after.split("```").nth(1).unwrap();
    let mut lines = block.lines().skip(1);
    let mut seen = 0;
    while let (Some(text), Some(meaning)) = (lines.next(), lines.next()) {
        let link: Link = text.parse().unwrap();
        let shown = format!(
            "  path {:?} name {:?} size {:?} peers {} origins {}",
            link.path,
            link.name,
            link.size,
            link.peers.len(),
            link.origins.len()
        );
        assert_eq!(shown, meaning);
        seen += 1;
    }
    assert!(seen >= 4);
}
