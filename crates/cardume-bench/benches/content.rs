//! Hashing, slicing and checking, in memory and from disk.

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use cardume_content::{PIECE, slice, tree};
use cardume_store::{Config, Mode, Store};
use cardume_testkit::files;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const SIZE: usize = 64 << 20;

/// From a file on disk to a root in the store: read, hash, and the tree written.
fn import(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    files::random_file(&file, SIZE as u64, 1).expect("room on the disk");
    let mut group = criterion.benchmark_group("import");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    let mut count = 0;
    group.bench_function("64 MiB in place", |bencher| {
        let store = || {
            count += 1;
            let database = redb::Database::create(dir.path().join(format!("db{count}")));
            let database = Arc::new(database.expect("a database"));
            let place = dir.path().join(format!("store{count}"));
            Store::open(&place, database, &Config::default()).expect("a store")
        };
        let import = |store: Store| store.import(&file, Mode::InPlace, &()).expect("an import");
        bencher.iter_batched(store, import, BatchSize::PerIteration);
    });
    group.finish();
}

fn slices(criterion: &mut Criterion) {
    let bytes: Vec<u8> = (0..SIZE / 8).flat_map(|n| (n as u64).to_le_bytes()).collect();
    let (root, nodes) = tree::of(&bytes);
    let piece = 7 * PIECE..8 * PIECE;
    let from = |source: &[u8], at: u64, buffer: &mut [u8]| {
        let start = usize::try_from(at).expect("it is in memory");
        buffer.copy_from_slice(&source[start..start + buffer.len()]);
        Ok(())
    };
    let encode = |out: &mut Vec<u8>| {
        let data = |at, buffer: &mut [u8]| from(&bytes, at, buffer);
        let tree = |at, buffer: &mut [u8]| from(&nodes, at, buffer);
        slice::encode(root, SIZE as u64, piece.clone(), data, tree, out).expect("it verifies");
    };
    let mut group = criterion.benchmark_group("slice of one piece");
    group.throughput(Throughput::Bytes(PIECE));
    let mut out = Vec::new();
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode(black_box(&mut out));
        });
    });
    let encoded = Bytes::from(out);
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let parts = slice::decode(root, SIZE as u64, piece.clone(), encoded.clone());
            parts
                .map(|part| part.expect("it verifies"))
                .for_each(|part| drop(black_box(part)));
        });
    });
    group.bench_function("hash alone", |bencher| {
        bencher.iter(|| tree::of(black_box(&bytes[..PIECE as usize])));
    });
    group.finish();
}

criterion_group!(benches, import, slices);
criterion_main!(benches);
