//! What is done for every byte of a layer that a daemon saves: `cargo bench --bench compress`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::{StreamExt, TryStreamExt};
use oci_store::archive::{CompressionFormat, Compressor, LayerCompression};

/// How much is compressed, in bytes: many pieces for each core of a small machine.
const LENGTH: usize = 32 * 1024 * 1024;
/// What comes of a socket at once, in bytes.
const READ: usize = 64 * 1024;

/// Compresses files as images hold them, on all cores: this very program, once or several times.
fn compress(criterion: &mut Criterion) {
    let program = std::env::current_exe().and_then(std::fs::read).expect("a program can read itself");
    let layer: Arc<[Bytes]> = program.chunks(READ).cycle().take(LENGTH / READ).map(Bytes::copy_from_slice).collect();
    let length = layer.iter().map(Bytes::len).sum::<usize>();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    let mut group = criterion.benchmark_group("compress");
    group.throughput(Throughput::Bytes(length as u64)).sample_size(10).measurement_time(Duration::from_secs(10));
    for (format, levels) in [(CompressionFormat::Gzip, &[1, 4, 6, 9][..]), (CompressionFormat::Zstd, &[1, 3, 9])] {
        for &level in levels {
            let compression = LayerCompression::new(format, Some(level)).expect("it has that level");
            let compressor = Compressor::new(compression);
            let pass = async || {
                let pieces: Vec<_> = layer.iter().cloned().map(Ok).collect();
                let mut compressed = compressor.compress(futures::stream::iter(pieces).boxed());
                let mut size = 0;
                while let Some(piece) = compressed.try_next().await.expect("memory does not fail") {
                    size += piece.len();
                }
                size
            };
            let percent = runtime.block_on(pass()) * 100 / length;
            let name = BenchmarkId::new(format.to_string(), format!("level {level}, to {percent} %"));
            group.bench_function(name, |bencher| bencher.iter(|| runtime.block_on(pass())));
        }
    }
    group.finish();
}

criterion_group!(benches, compress);
criterion_main!(benches);
