//! Compressing one piece. What that needs is large, so it is kept for the next.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::format::{CompressionFormat, LayerCompression};

/// Compressors that nobody uses at the moment.
#[derive(Debug)]
pub(super) struct Engines {
    compression: LayerCompression,
    idle: Mutex<Vec<Engine>>,
}

enum Engine {
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Engines {
    pub(super) fn new(compression: LayerCompression) -> Self {
        Self { compression, idle: Mutex::default() }
    }

    pub(super) fn compression(&self) -> LayerCompression {
        self.compression
    }

    /// Compresses a piece. Keeps a core busy: to be called on a thread of its own.
    pub(super) fn compress(&self, piece: &[u8]) -> io::Result<Bytes> {
        let idle = self.idle().pop();
        let mut engine = match idle {
            Some(engine) => engine,
            None => Engine::new(self.compression)?,
        };
        let compressed = engine.compress(piece)?;
        self.idle().push(engine);
        Ok(compressed)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Engine>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    fn new(compression: LayerCompression) -> io::Result<Self> {
        Ok(match compression.format() {
            CompressionFormat::Gzip => {
                let level = libdeflater::CompressionLvl::new(compression.level());
                let level = level.map_err(|error| io::Error::other(format!("libdeflate: {error:?}")))?;
                Self::Gzip(libdeflater::Compressor::new(level))
            }
            CompressionFormat::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(compression.level())?;
                // What is damaged is then found where it is decompressed, as with gzip.
                compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
                Self::Zstd(compressor)
            }
        })
    }

    fn compress(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        match self {
            Self::Gzip(compressor) => {
                // The header has neither a time nor a name: the same piece is the same on every machine.
                let mut compressed = vec![0; compressor.gzip_compress_bound(piece.len())];
                let length = compressor
                    .gzip_compress(piece, &mut compressed)
                    .map_err(|error| io::Error::other(format!("libdeflate: {error:?}")))?;
                compressed.truncate(length);
                Ok(compressed.into())
            }
            Self::Zstd(compressor) => Ok(compressor.compress(piece)?.into()),
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}
