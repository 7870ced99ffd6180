//! What is compressed reads back, whoever reads it, and is always the same.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use futures::stream;
use storage_layout::test_util::noise;

use super::*;

/// A layer that compresses by half, in pieces that are no multiple of anything.
fn layer(length: usize) -> Bytes {
    let mut bytes = noise(length as u64, length.div_ceil(2)).to_vec();
    bytes.resize(length, b'x');
    bytes.into()
}

async fn compress(compressor: &Compressor, plain: &Bytes, cut: usize) -> (Vec<u8>, Digest) {
    let pieces: Vec<io::Result<Bytes>> = plain.chunks(cut).map(|piece| Ok(plain.slice_ref(piece))).collect();
    let mut compressed = compressor.compress(stream::iter(pieces));
    let mut bytes = Vec::new();
    while let Some(piece) = compressed.try_next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    (bytes, compressed.diff_id().unwrap().clone())
}

fn compression(format: CompressionFormat, level: i32) -> LayerCompression {
    LayerCompression::new(format, Some(level)).unwrap()
}

fn read_back(format: CompressionFormat, compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match format {
        CompressionFormat::Gzip => flate2::read::MultiGzDecoder::new(compressed).read_to_end(&mut plain).unwrap(),
        CompressionFormat::Zstd => {
            zstd::stream::read::Decoder::new(compressed).unwrap().read_to_end(&mut plain).unwrap()
        }
    };
    plain
}

const FORMATS: [CompressionFormat; 2] = [CompressionFormat::Gzip, CompressionFormat::Zstd];

#[tokio::test]
async fn layers_of_any_length_read_back_and_have_their_diff_id() {
    for format in FORMATS {
        for level in [1, 12] {
            let compressor = Compressor::new(compression(format, level));
            for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, 3 * PIECE + 77_777] {
                let plain = layer(length);
                let (compressed, diff_id) = compress(&compressor, &plain, 65_537).await;
                assert_eq!(read_back(format, &compressed), plain, "{length} bytes by {format}");
                assert_eq!(diff_id, Algorithm::Sha256.digest(&plain));
                assert!(!compressed.is_empty() && compressed.len() < length / 2 + length / 10 + 100);
            }
        }
    }
}

#[tokio::test]
async fn threads_and_the_pieces_that_came_change_nothing() {
    let plain = layer(9 * PIECE + 1);
    for format in FORMATS {
        let expected = compress(&Compressor::with_threads(compression(format, 3), 1), &plain, PIECE).await;
        for (threads, cut) in [(1, 1000), (2, 100_000), (7, 3_000_000), (16, usize::MAX)] {
            let compressor = Compressor::with_threads(compression(format, 3), threads);
            // The second time with engines that were used before, for something else.
            for _ in 0..2 {
                assert_eq!(compress(&compressor, &plain, cut).await, expected, "{threads} threads");
                compress(&compressor, &layer(PIECE / 2), cut).await;
            }
        }
        let other = compress(&Compressor::new(compression(format, 1)), &plain, PIECE).await;
        assert_ne!(other.0, expected.0, "a level makes a difference");
    }
}

#[tokio::test]
async fn layers_share_the_memory() {
    let compressor = Compressor::with_threads(LayerCompression::default(), 1);
    let layers: Vec<Bytes> = (1..6).map(|n| layer(n * PIECE)).collect();
    // More at once than there are pieces in flight: none waits for what another keeps.
    let all = futures::future::join_all(layers.iter().map(|plain| compress(&compressor, plain, 70_000))).await;
    for ((compressed, _), plain) in all.iter().zip(&layers) {
        assert_eq!(read_back(CompressionFormat::Gzip, compressed), *plain);
    }
    assert_eq!(compressor.pieces.available_permits(), 3);
    assert!(compressor.engines.compression() == LayerCompression::default());
}

#[tokio::test]
async fn a_layer_that_breaks_off_is_an_error_and_has_no_diff_id() {
    let broken = stream::iter([Ok(layer(PIECE + 5)), Err(io::ErrorKind::ConnectionReset.into())]);
    let compressor = Compressor::new(LayerCompression::default());
    let mut compressed = compressor.compress(broken);
    let mut error = None;
    while let Some(piece) = compressed.next().await {
        error = piece.err();
    }
    assert_eq!(error.unwrap().kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(compressed.diff_id(), None);
    drop(compressed);
    assert_eq!(compressor.pieces.available_permits(), compressor.in_flight);
}

#[tokio::test]
async fn gunzip_reads_it() {
    let plain = layer(3 * PIECE + 5);
    let (compressed, _) = compress(&Compressor::new(LayerCompression::default()), &plain, 100_000).await;
    let mut gunzip = Command::new("gunzip").arg("-c").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = gunzip.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&compressed).unwrap());
    let output = gunzip.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success() && output.stdout == plain);
}

#[test]
fn levels_are_checked() {
    for (format, good, bad) in
        [(CompressionFormat::Gzip, [1, 12], [0, 13]), (CompressionFormat::Zstd, [1, 19], [0, 20])]
    {
        for level in good {
            assert!(LayerCompression::new(format, Some(level)).is_ok());
        }
        for level in bad {
            let error = LayerCompression::new(format, Some(level)).unwrap_err();
            assert!(error.starts_with(&format!("{format} has the levels 1 to ")), "{error}");
        }
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    assert!("xz".parse::<CompressionFormat>().is_err());
}
