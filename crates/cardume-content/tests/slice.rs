//! Slices: against `bao-tree`'s, and against hostile bytes.
use std::ops::Range;

use bao_tree::{BaoTree, BlockSize, ChunkNum, ChunkRanges, io::outboard::PreOrderMemOutboard};
use bytes::Bytes;
use cardume_content::{
    GROUP, Hash,
    slice::{self, DecodeError, EncodeError, Part, decode, encode, encoded_len, fill, proof_range, widen},
    tree,
};
use proptest::prelude::*;

struct Blob {
    bytes: Vec<u8>,
    root: Hash,
    tree: Vec<u8>,
}

/// Reads from memory.
fn copy_of(bytes: &[u8]) -> impl FnMut(u64, &mut [u8]) -> std::io::Result<()> {
    |offset, buffer| {
        buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
        Ok(())
    }
}

impl Blob {
    fn new(size: usize) -> Self {
        let mut bytes = vec![0; size];
        blake3::Hasher::new()
            .update(b"slices")
            .finalize_xof()
            .fill(&mut bytes);
        let (root, tree) = tree::of(&bytes);
        Self { bytes, root, tree }
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn try_encode(&self, range: Range<u64>) -> Result<Vec<u8>, EncodeError> {
        let mut out = b"before".to_vec();
        let done = encode(
            self.root,
            self.size(),
            range.clone(),
            copy_of(&self.bytes),
            copy_of(&self.tree),
            &mut out,
        );
        assert_eq!(&out[..6], b"before");
        self.check_fill(range.clone(), &out[6..], done.is_ok());
        self.check_read(range, done.is_ok());
        if done.is_err() {
            assert_eq!(out.len(), 6, "a failed slice leaves nothing");
        }
        done.map(|()| out.split_off(6))
    }

    /// Filling memory that was used before comes to the same, and only if there is just enough.
    fn check_fill(&self, range: Range<u64>, slice: &[u8], is_whole: bool) {
        let fill = |out: &mut [u8]| {
            let (data, tree) = (copy_of(&self.bytes), copy_of(&self.tree));
            fill(self.root, self.size(), range.clone(), data, tree, out)
        };
        let mut out = vec![0xaa; encoded_len(self.size(), range.clone()) as usize];
        assert_eq!(fill(&mut out).is_ok(), is_whole);
        if is_whole {
            assert_eq!(out, slice);
        }
        out.push(0);
        fill(&mut out).expect_err("one byte too many");
    }

    /// Reading without the slice tells what has changed as well.
    fn check_read(&self, range: Range<u64>, is_whole: bool) {
        let read = |out: &mut [u8]| {
            let (data, tree) = (copy_of(&self.bytes), copy_of(&self.tree));
            slice::read(self.root, self.size(), range.clone(), data, tree, out)
        };
        let wide = widen(self.size(), range.clone());
        let bytes = &self.bytes[wide.start as usize..wide.end as usize];
        let mut out = vec![0xaa; bytes.len()];
        assert_eq!(read(&mut out).is_ok(), is_whole);
        if is_whole {
            assert_eq!(out, bytes);
        }
        out.push(0);
        read(&mut out).expect_err("one byte too many");
    }

    fn encode(&self, range: Range<u64>) -> Vec<u8> {
        self.try_encode(range).expect("the content has not changed")
    }

    /// The slice as `bao-tree` makes it.
    fn encode_with_bao_tree(&self, range: Range<u64>) -> Vec<u8> {
        let outboard = PreOrderMemOutboard {
            root: blake3::Hash::from_bytes(*self.root.as_bytes()),
            tree: BaoTree::new(self.size(), BlockSize::from_chunk_log(6)),
            data: self.tree.clone(),
        };
        let wide = widen(self.size(), range);
        let ranges = if wide.is_empty() {
            ChunkRanges::empty()
        } else {
            ChunkRanges::from(ChunkNum(wide.start / 1024)..ChunkNum(wide.end.div_ceil(1024)))
        };
        let mut out = Vec::new();
        bao_tree::io::sync::encode_ranges_validated(&self.bytes[..], outboard, &ranges, &mut out)
            .expect("the content has not changed");
        out
    }
}

/// Decodes all of a slice; what it puts together, and the end.
fn read(root: Hash, size: u64, range: Range<u64>, slice: Vec<u8>) -> (Vec<u8>, Result<(), DecodeError>) {
    let mut bytes = Vec::new();
    let start = widen(size, range.clone()).start;
    for part in decode(root, size, range, slice.into()) {
        match part {
            Ok(Part::Leaf { offset, data }) => {
                assert_eq!(offset, start + bytes.len() as u64, "leaves follow each other");
                bytes.extend_from_slice(&data);
            }
            Ok(Part::Parent { .. }) => {}
            Err(error) => return (bytes, Err(error)),
        }
    }
    (bytes, Ok(()))
}

fn around() -> impl Strategy<Value = usize> {
    let group = GROUP as usize;
    prop_oneof![
        Just(0),
        0..3_000_usize,
        (1..20_usize, 0..3_usize).prop_map(move |(n, d)| n * group + d - 1),
        0..1_500_000_usize,
    ]
}

#[test]
fn an_empty_blob_proves_itself_with_no_bytes() {
    let blob = Blob::new(0);
    assert_eq!(blob.encode(0..0), b"");
    let parts: Vec<_> = decode(blob.root, 0, 0..100, Bytes::new()).collect();
    assert_eq!(
        parts,
        [Ok(Part::Leaf {
            offset: 0,
            data: Bytes::new()
        })]
    );
    let wrong = decode(Hash::of(b"x"), 0, 0..0, Bytes::new()).next();
    assert_eq!(wrong, Some(Err(DecodeError::Mismatch { offset: 0 })));
}

#[test]
fn odd_ranges_are_clamped_or_empty() {
    let blob = Blob::new(300_000);
    let all = blob.encode(0..300_000);
    assert_eq!(blob.encode(0..u64::MAX), all);
    for range in [
        0..0,
        70_000..70_000,
        300_000..400_000,
        u64::MAX..u64::MAX,
        u64::MAX - 1..u64::MAX,
    ] {
        assert_eq!(blob.encode(range.clone()), b"");
        assert_eq!(encoded_len(300_000, range.clone()), 0);
        assert_eq!(decode(blob.root, 300_000, range, Bytes::new()).next(), None);
    }
    #[expect(clippy::reversed_empty_ranges, reason = "a hostile range")]
    let backwards = 5..2;
    assert_eq!(blob.encode(backwards), b"");
}

#[test]
fn sizes_near_the_end_of_numbers_are_harmless() {
    for size in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + 1, (1 << 48) + 1] {
        for range in [0..1, 0..u64::MAX, size - 1..size, proof_range(size), 0..0] {
            let len = encoded_len(size, range.clone());
            assert!(len >= widen(size, range.clone()).end - widen(size, range.clone()).start);
            let slice = Bytes::from(vec![7; 200_000]);
            let last = decode(Hash::of(b"?"), size, range, slice).last();
            assert!(matches!(last, Some(Err(_))));
        }
    }
    assert_eq!(encoded_len(u64::MAX, 0..u64::MAX), u64::MAX);
    assert_eq!(encoded_len(u64::MAX, 0..1), GROUP + 48 * 64);
}

#[test]
fn only_the_last_group_proves_the_size() {
    let blob = Blob::new(16 * GROUP as usize);
    let size = blob.size();
    let first = blob.encode(0..1);
    // With one byte less the tree has the same shape, so the first group verifies all the same.
    assert_eq!(read(blob.root, size - 1, 0..1, first).1, Ok(()));
    for lie in [1, GROUP, size - 1, size + 1, size + GROUP, 2 * size, u64::MAX] {
        let proof = blob.encode(proof_range(size));
        assert!(read(blob.root, lie, proof_range(lie), proof).1.is_err(), "{lie}");
        let all = blob.encode(0..size);
        assert!(read(blob.root, lie, 0..lie, all).1.is_err(), "{lie}");
    }
}

#[test]
fn leaves_share_the_memory_of_the_slice() {
    let blob = Blob::new(200_000);
    let slice = Bytes::from(blob.encode(0..200_000));
    let memory = slice.as_ptr_range();
    for part in decode(blob.root, 200_000, 0..200_000, slice.clone()) {
        if let Part::Leaf { data, .. } = part.unwrap() {
            assert!(memory.contains(&data.as_ptr()));
        }
    }
}

#[test]
fn changed_content_is_never_sent() {
    let mut blob = Blob::new(500_000);
    blob.bytes[400_000] ^= 1;
    let error = blob.try_encode(0..500_000).unwrap_err();
    assert!(
        matches!(error, EncodeError::Changed { offset: 393_216 }),
        "{error}"
    );
    assert!(blob.try_encode(0..300_000).is_ok(), "the rest is still good");
    blob.tree[0] ^= 1;
    assert!(matches!(
        blob.try_encode(0..1),
        Err(EncodeError::Changed { offset: 0 })
    ));
}

#[test]
fn decoding_ends_after_the_first_error() {
    let blob = Blob::new(300_000);
    let mut slice = blob.encode(0..300_000);
    slice[100] ^= 1;
    let mut decoder = decode(blob.root, 300_000, 0..300_000, slice.into());
    assert!(decoder.by_ref().any(|part| part.is_err()));
    assert_eq!(decoder.next(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn slices_are_those_of_bao_tree_and_come_back(size in around(), a in any::<u64>(), b in any::<u64>()) {
        let blob = Blob::new(size);
        let size = blob.size();
        let (a, b) = (a % (size + 2), b % (size + 2));
        let range = a.min(b)..a.max(b);
        let slice = blob.encode(range.clone());
        prop_assert!(slice == blob.encode_with_bao_tree(range.clone()));
        prop_assert_eq!(slice.len() as u64, encoded_len(size, range.clone()));
        let (bytes, end) = read(blob.root, size, range.clone(), slice.clone());
        prop_assert_eq!(end, Ok(()));
        let wide = widen(size, range.clone());
        prop_assert!(bytes == blob.bytes[wide.start as usize..wide.end as usize]);
        if !slice.is_empty() {
            let short = slice[..slice.len() - 1].to_vec();
            prop_assert_eq!(read(blob.root, size, range.clone(), short).1, Err(DecodeError::Truncated));
        }
        let long = [&slice[..], b"more"].concat();
        prop_assert_eq!(read(blob.root, size, range, long).1, Err(DecodeError::Trailing(4)));
    }

    #[test]
    fn parents_rebuild_the_tree(size in around()) {
        let blob = Blob::new(size);
        let mut tree = vec![0; blob.tree.len()];
        for part in decode(blob.root, blob.size(), 0..u64::MAX, blob.encode(0..u64::MAX).into()) {
            if let Part::Parent { offset, pair } = part.unwrap() {
                tree[offset as usize..][..64].copy_from_slice(&pair);
            }
        }
        prop_assert!(tree == blob.tree);
    }

    #[test]
    fn one_wrong_bit_is_always_noticed(size in 1..400_000_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let blob = Blob::new(size);
        let mut slice = blob.encode(0..blob.size());
        let at = at.index(slice.len());
        slice[at] ^= 1 << bit;
        let (bytes, end) = read(blob.root, blob.size(), 0..blob.size(), slice);
        let noticed = matches!(end, Err(DecodeError::Mismatch { .. }));
        prop_assert!(noticed);
        prop_assert!(blob.bytes.starts_with(&bytes), "what came before is good");
    }

    #[test]
    fn no_slice_makes_it_panic(
        root in any::<[u8; 32]>(), size in any::<u64>(), shift in 0..64_u32,
        start in any::<u64>(), end in any::<u64>(), slice in any::<Vec<u8>>(),
    ) {
        let size = size >> shift;
        let _ = encoded_len(size, start..end);
        prop_assert!(decode(Hash::from_bytes(root), size, start..end, slice.into()).count() < 10_000);
    }
}
