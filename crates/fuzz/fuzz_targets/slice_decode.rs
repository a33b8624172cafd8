//! Slices: whatever the bytes and the claimed size, only true bytes at their true place come out.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use cardume_content::{
    GROUP, Hash,
    slice::{self, Part},
    tree,
};
use libfuzzer_sys::fuzz_target;

struct Blob {
    bytes: Vec<u8>,
    root: Hash,
    tree: Vec<u8>,
}

static BLOBS: LazyLock<Vec<Blob>> = LazyLock::new(|| {
    [
        0,
        1,
        1_025,
        GROUP - 1,
        GROUP,
        GROUP + 1,
        2 * GROUP,
        3 * GROUP + 77,
        5 * GROUP,
    ]
    .into_iter()
    .map(|size| {
        let mut bytes = vec![0; size as usize];
        blake3::Hasher::new()
            .update(b"fuzz")
            .finalize_xof()
            .fill(&mut bytes);
        let (root, tree) = tree::of(&bytes);
        Blob { bytes, root, tree }
    })
    .collect()
});

#[derive(Debug, Arbitrary)]
struct Input {
    blob: u8,
    range: (u64, u64),
    /// What the peer claims instead, if it lies about the size.
    size: Option<u64>,
    /// The range that is decoded, if not the one that was sent.
    asked: Option<(u64, u64)>,
    /// Bytes changed on the way.
    changes: Vec<(u32, u8)>,
    /// Where the slice is cut.
    cut: Option<u32>,
    tail: Vec<u8>,
}

fuzz_target!(|input: Input| {
    let blob = &BLOBS[usize::from(input.blob) % BLOBS.len()];
    let true_size = blob.bytes.len() as u64;
    let range = input.range.0 % (true_size + 2)..input.range.1;
    let mut sent = Vec::new();
    let read = |from: &[u8], offset: u64, buffer: &mut [u8]| {
        buffer.copy_from_slice(&from[offset as usize..][..buffer.len()]);
        Ok(())
    };
    slice::encode(
        blob.root,
        true_size,
        range.clone(),
        |offset, buffer| read(&blob.bytes, offset, buffer),
        |offset, buffer| read(&blob.tree, offset, buffer),
        &mut sent,
    )
    .expect("true content verifies");
    assert_eq!(sent.len() as u64, slice::encoded_len(true_size, range.clone()));
    for (at, byte) in input.changes {
        let len = sent.len();
        if let Some(changed) = sent.get_mut(at as usize % len.max(1)) {
            *changed ^= byte;
        }
    }
    if let Some(cut) = input.cut {
        sent.truncate(cut as usize);
    }
    sent.extend(input.tail);

    let size = input.size.unwrap_or(true_size);
    let asked = input.asked.map_or(range, |(start, end)| start..end);
    let mut failed = false;
    for part in slice::decode(blob.root, size, asked, sent.into()) {
        assert!(!failed, "nothing comes after an error");
        match part {
            Ok(Part::Leaf { offset, data }) => {
                let offset = offset as usize;
                assert_eq!(
                    data,
                    blob.bytes[offset..offset + data.len()],
                    "only true bytes come out"
                );
            }
            Ok(Part::Parent { .. }) => {}
            Err(_) => failed = true,
        }
    }
});
