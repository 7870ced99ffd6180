//! Making a layer of a `docker save` archive what a registry holds: compressed, with its digest known.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use storage_layout::{Algorithm, Digest, Digester};
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::compress::{CompressionFormat, Compressor, LayerBlob};
use super::compression::{Compression, MAX_ZSTD_WINDOW};
use super::content::Content;
use super::problem::{blocking, file_error, quoted};
use crate::transfer::Error;

const PIECE: usize = 256 * 1024;

/// A layer as the archive has it.
#[derive(Clone, Debug)]
pub(super) struct SavedLayer {
    /// What its archive is called in messages, and its file.
    pub(super) label: String,
    pub(super) archive: PathBuf,
    /// Its own name in the archive.
    pub(super) name: String,
    pub(super) content: Content,
    /// The digest of the layer uncompressed, as the config has it.
    pub(super) diff_id: Digest,
}

/// A layer as a registry has it.
#[derive(Clone, Debug)]
pub(super) struct ReadyLayer {
    pub(super) blob: LayerBlob,
    pub(super) content: Content,
}

impl SavedLayer {
    /// Finds out the layer's digest, compressing it into a nameless file in `spool_dir` unless it is compressed already.
    pub(super) async fn prepare(
        self,
        compressor: &Compressor,
        spool_dir: &Path,
        stop: &CancellationToken,
    ) -> Result<ReadyLayer, Error> {
        let (layer, stop) = (self.clone(), stop.clone());
        match blocking(move || layer.kept(&stop)).await? {
            Some(ready) => Ok(ready),
            None => self.compress(compressor, spool_dir).await,
        }
    }

    /// Returns the layer if it is compressed already. Keeps a core busy.
    fn kept(&self, stop: &CancellationToken) -> Result<Option<ReadyLayer>, Error> {
        let mut magic = vec![0; Compression::MAGIC.min(usize::try_from(self.content.size()).unwrap_or(usize::MAX))];
        self.content.read_exact_at(&mut magic, 0).map_err(|error| self.reading(error))?;
        let compression = Compression::of(&magic);
        let format = match compression {
            Compression::None => return Ok(None),
            Compression::Gzip => CompressionFormat::Gzip,
            Compression::Zstd => CompressionFormat::Zstd,
            Compression::Other { name, .. } => {
                let (label, own) = (&self.label, quoted(&self.name));
                return Err(Error::Invalid(format!(
                    "{label} has the layer {own} compressed by {name}, which registries do not take"
                )));
            }
        };
        self.keep(compression, format, stop).map(Some)
    }

    async fn compress(self, compressor: &Compressor, spool_dir: &Path) -> Result<ReadyLayer, Error> {
        let spooling = |error| file_error("writing a spool file in", spool_dir, error);
        let file = tempfile::tempfile_in(spool_dir).map_err(spooling)?;
        let mut spool = tokio::fs::File::from_std(file.try_clone().map_err(spooling)?);
        let mut digester = Digester::new(Algorithm::Sha256);
        let mut compressed = compressor.compress(self.content.clone().stream());
        while let Some(piece) = compressed.try_next().await.map_err(|error| self.reading(error))? {
            digester.update(&piece);
            spool.write_all(&piece).await.map_err(spooling)?;
        }
        spool.flush().await.map_err(spooling)?;
        self.check(compressed.diff_id().expect("the last byte came"))?;
        let content = Content::of_file(file).map_err(spooling)?;
        Ok(ReadyLayer { blob: described(compressor.compression().format(), digester), content })
    }

    fn keep(
        &self,
        compression: Compression,
        format: CompressionFormat,
        stop: &CancellationToken,
    ) -> Result<ReadyLayer, Error> {
        let compressed = HashingReader::new(self.content.reader(stop.clone()), Algorithm::Sha256);
        let mut compressed = BufReader::with_capacity(PIECE, compressed);
        let decoder = compression.decoder(&mut compressed, MAX_ZSTD_WINDOW).map_err(|error| self.reading(error))?;
        let plain = HashingReader::new(decoder, self.diff_id.algorithm());
        match plain.drain() {
            Ok(digester) => self.check(&digester.finish())?,
            Err(error) if is_damage(&error) => {
                return Err(self.damaged(&format!("is no whole {format} file ({error})")));
            }
            Err(error) => return Err(self.reading(error)),
        }
        let digester = compressed.into_inner().digester;
        Ok(ReadyLayer { blob: described(format, digester), content: self.content.clone() })
    }

    fn check(&self, actual: &Digest) -> Result<(), Error> {
        if *actual == self.diff_id {
            return Ok(());
        }
        Err(self.damaged(&format!("has the digest {actual}, its config says {}", self.diff_id)))
    }

    fn damaged(&self, found: &str) -> Error {
        Error::Invalid(format!("{} is damaged: layer {} {found}; save the image again", self.label, quoted(&self.name)))
    }

    fn reading(&self, error: io::Error) -> Error {
        file_error("reading", &self.archive, error)
    }
}

/// Tells whether a decoder failed for what it read, not for how.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

fn described(format: CompressionFormat, digester: Digester) -> LayerBlob {
    let size = digester.length();
    LayerBlob { digest: digester.finish(), size, format }
}

struct HashingReader<R> {
    inner: R,
    digester: Digester,
}

impl<R: Read> HashingReader<R> {
    fn new(inner: R, algorithm: Algorithm) -> Self {
        Self { inner, digester: Digester::new(algorithm) }
    }

    fn drain(mut self) -> io::Result<Digester> {
        let mut buffer = vec![0; PIECE];
        while self.read(&mut buffer)? > 0 {}
        Ok(self.digester)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digester.update(&buffer[..count]);
        Ok(count)
    }
}
