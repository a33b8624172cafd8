//! Hashes against BLAKE3's own, and trees against those that `bao-tree` makes.
use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bao_tree::{
    BlockSize,
    io::{outboard::PreOrderOutboard, sync::CreateOutboard},
};
use cardume_content::{GROUP, Hash, PIECE, tree};
use proptest::prelude::*;

/// Bytes that differ everywhere, the same on every run.
fn content(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new()
        .update(b"content")
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

fn hash_in_parts(bytes: &[u8]) -> (Hash, Vec<u8>) {
    let size = bytes.len() as u64;
    let mut outboard = vec![0; tree::len(size) as usize];
    let mut written = 0;
    let hashed = AtomicU64::new(0);
    let hash = tree::hash(
        size,
        |offset, buffer| {
            buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
            Ok(())
        },
        |offset, part| {
            outboard[offset as usize..][..part.len()].copy_from_slice(part);
            written += part.len();
            Ok(())
        },
        |part| {
            hashed.fetch_add(part, Ordering::Relaxed);
            true
        },
    )
    .expect("bytes in memory can be read");
    assert_eq!(written, outboard.len(), "every parent is written once");
    assert_eq!(hashed.into_inner(), size, "all progress is told");
    (hash, outboard)
}

fn check(size: usize) {
    let bytes = content(size);
    let (hash, outboard) = tree::of(&bytes);
    assert_eq!(hash, Hash::of(&bytes), "{size}");
    let theirs =
        PreOrderOutboard::<Vec<u8>>::create_sized(&bytes[..], size as u64, BlockSize::from_chunk_log(6))
            .expect("bytes in memory can be read");
    assert_eq!(hash.as_bytes(), theirs.root.as_bytes(), "{size}");
    assert!(outboard == theirs.data, "the tree of {size} bytes");
    assert!((hash, outboard) == hash_in_parts(&bytes), "{size} in parts");
}

#[test]
fn trees_agree_with_bao_tree_at_every_border() {
    let (group, piece) = (GROUP as usize, PIECE as usize);
    let borders = [
        0,
        1024,
        group,
        2 * group,
        3 * group,
        4 * group,
        5 * group,
        8 * group,
        piece,
        2 * piece,
        5 * piece,
    ];
    for border in borders {
        for size in [border.saturating_sub(1), border, border + 1] {
            check(size);
        }
    }
}

#[test]
fn trees_of_more_than_one_span_agree_with_bao_tree() {
    check((128 << 20) + 12_345);
}

#[test]
fn a_failed_read_is_the_error_returned() {
    let error = tree::hash(
        100 * PIECE,
        |offset, _| {
            if offset == 50 * PIECE {
                Err(io::Error::other("gone"))
            } else {
                Ok(())
            }
        },
        |_, _| Ok(()),
        |_| true,
    );
    assert_eq!(error.unwrap_err().to_string(), "gone");
}

#[test]
fn a_failed_write_is_the_error_returned() {
    let error = tree::hash(
        10 * PIECE,
        |_, _| Ok(()),
        |_, _| Err(io::Error::other("full")),
        |_| true,
    );
    assert_eq!(error.unwrap_err().to_string(), "full");
}

#[test]
fn hashing_stops_soon_when_told_to() {
    let read = Mutex::new(0);
    let error = tree::hash(
        u64::MAX,
        |_, buffer| {
            *read.lock().unwrap() += buffer.len() as u64;
            Ok(())
        },
        |_, _| Ok(()),
        |_| false,
    );
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::Interrupted);
    assert!(*read.lock().unwrap() < 64 * PIECE);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn trees_agree_with_bao_tree(size in prop_oneof![0..200_000_usize, 0..6_000_000_usize]) {
        check(size);
    }
}
