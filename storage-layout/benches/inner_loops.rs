//! What is done for every byte and for every key: `cargo bench -p storage-layout`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use storage_layout::test_util::noise;
use storage_layout::{Algorithm, Digester, Key};

/// All bytes of a download and of an upload are hashed. With the CPU's own instructions SHA-256 does more than 1 GB/s; without
/// them a quarter of that.
fn hash(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for kibibytes in [16, 256, 1024] {
            let bytes = noise(1, kibibytes * 1024);
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            group.bench_with_input(BenchmarkId::new(algorithm.as_str(), kibibytes), &bytes, |bencher, bytes| {
                let mut digester = Digester::new(algorithm);
                bencher.iter(|| digester.update(black_box(bytes)));
            });
        }
    }
    group.finish();
}

/// Listings hold thousands of keys, and every request makes some.
fn keys(criterion: &mut Criterion) {
    let digest = Algorithm::Sha256.digest(b"a layer");
    let key = Key::LayerLink("library/app".parse().expect("a name"), digest);
    let path = key.path();
    let mut group = criterion.benchmark_group("keys");
    group.bench_function("write", |bencher| bencher.iter(|| black_box(&key).path()));
    group.bench_function("read", |bencher| bencher.iter(|| Key::parse(black_box(&path))));
    group.finish();
}

criterion_group!(benches, hash, keys);
criterion_main!(benches);
