//! Compressing layers on several cores.
//!
//! A layer is cut into pieces of one size, and each becomes a gzip member (RFC 1952, section 2.2) or a zstd frame (RFC 8878,
//! section 3) of its own. A file of many such is as good as one: every decoder reads on. What comes out depends on the bytes, the
//! format and the level alone, never on how many threads there were.

mod engine;
mod format;
#[cfg(test)]
mod tests;

use std::io;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use storage_layout::{Algorithm, Digest, Digester};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};

use engine::Engines;
pub use format::{CompressionFormat, LayerBlob, LayerCompression};

/// How much of a layer is compressed at once, in bytes. Smaller pieces compress worse, larger ones take more memory: of files as
/// images hold them, four times as much made layers 0.5 % smaller.
const PIECE: usize = 1024 * 1024;
/// More threads than this are of no use: no daemon writes archives as fast as they compress.
const MAX_THREADS: usize = 16;

/// Compresses layers. Several may be compressed at once, and share the memory and the cores.
#[derive(Debug)]
pub struct Compressor {
    engines: Arc<Engines>,
    /// One for each piece that is being filled, compressed, or waits for those before it.
    pieces: Arc<Semaphore>,
    in_flight: usize,
}

impl Compressor {
    /// Makes a compressor that keeps all cores busy.
    pub fn new(compression: LayerCompression) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::with_threads(compression, cores.min(MAX_THREADS))
    }

    fn with_threads(compression: LayerCompression, threads: usize) -> Self {
        // One is filled and one is written while the others are compressed.
        let in_flight = threads + 2;
        Self { engines: Arc::new(Engines::new(compression)), pieces: Arc::new(Semaphore::new(in_flight)), in_flight }
    }

    /// Returns how layers are compressed.
    pub fn compression(&self) -> LayerCompression {
        self.engines.compression()
    }

    /// Compresses a layer as it comes.
    pub fn compress<'a>(&self, layer: impl Stream<Item = io::Result<Bytes>> + Send + 'a) -> CompressedLayer<'a> {
        let diff_id = Arc::new(OnceLock::new());
        let cutting = Cutting {
            layer: Box::pin(layer),
            pieces: Arc::clone(&self.pieces),
            hashing: None,
            is_empty: true,
            rest: Bytes::new(),
            diff_id: Arc::clone(&diff_id),
        };
        let engines = Arc::clone(&self.engines);
        let compressed = futures::stream::try_unfold(cutting, Cutting::next)
            .map(move |cut| {
                let engines = Arc::clone(&engines);
                async move {
                    let (piece, permit) = cut?;
                    let compressed = spawn_blocking(move || engines.compress(&piece)).await??;
                    Ok((compressed, permit))
                }
            })
            .buffered(self.in_flight)
            .map_ok(|(compressed, _permit)| compressed);
        CompressedLayer { compressed: compressed.boxed(), diff_id }
    }
}

/// The bytes of a compressed layer.
pub struct CompressedLayer<'a> {
    compressed: BoxStream<'a, io::Result<Bytes>>,
    diff_id: Arc<OnceLock<Digest>>,
}

impl CompressedLayer<'_> {
    /// Returns the digest of the layer uncompressed, once the last byte came.
    pub fn diff_id(&self) -> Option<&Digest> {
        self.diff_id.get()
    }
}

impl std::fmt::Debug for CompressedLayer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompressedLayer").field("diff_id", &self.diff_id).finish_non_exhaustive()
    }
}

impl Stream for CompressedLayer<'_> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.compressed.poll_next_unpin(context)
    }
}

/// Cuts a layer into pieces and hashes it.
struct Cutting<'a> {
    layer: BoxStream<'a, io::Result<Bytes>>,
    pieces: Arc<Semaphore>,
    /// What goes on while the next piece is gathered. `None` at first.
    hashing: Option<JoinHandle<Digester>>,
    is_empty: bool,
    /// What came and was not yet cut.
    rest: Bytes,
    diff_id: Arc<OnceLock<Digest>>,
}

type Cut<'a> = ((Bytes, OwnedSemaphorePermit), Cutting<'a>);

impl<'a> Cutting<'a> {
    async fn next(mut self) -> io::Result<Option<Cut<'a>>> {
        let permit = Arc::clone(&self.pieces).acquire_owned().await.map_err(io::Error::other)?;
        let piece = self.gather().await?;
        let mut digester = match self.hashing.take() {
            Some(hashing) => hashing.await?,
            None => Digester::new(Algorithm::Sha256),
        };
        // Nothing at all is compressed too: no bytes are no gzip file.
        if piece.is_empty() && !self.is_empty {
            self.diff_id.set(digester.finish()).expect("the stream ends once");
            return Ok(None);
        }
        self.is_empty = false;
        let hashed = piece.clone();
        self.hashing = Some(spawn_blocking(move || {
            digester.update(&hashed);
            digester
        }));
        Ok(Some(((piece, permit), self)))
    }

    async fn gather(&mut self) -> io::Result<Bytes> {
        let mut piece = BytesMut::new();
        loop {
            let room = PIECE - piece.len();
            if !self.rest.is_empty() {
                piece.reserve(room);
                piece.extend_from_slice(&self.rest.split_to(room.min(self.rest.len())));
            }
            if piece.len() == PIECE {
                return Ok(piece.freeze());
            }
            match self.layer.try_next().await? {
                Some(bytes) => self.rest = bytes,
                None => return Ok(piece.freeze()),
            }
        }
    }
}
