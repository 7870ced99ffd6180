//! Making a layer of a `docker save` archive what a registry holds: compressed, with its digest known.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use flate2::GzBuilder;
use flate2::read::MultiGzDecoder;
use storage_layout::{Algorithm, Descriptor, Digest, Digester, media_type};
use tokio_util::sync::CancellationToken;

use super::content::Content;
use super::problem::{file_error, quoted};
use super::tar_archive::Compression;
use crate::transfer::Error;

const PIECE: usize = 256 * 1024;
/// What Docker compresses with.
const LEVEL: u32 = 6;
/// What containerd calls a zstd layer of a Docker image.
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

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
    pub(super) descriptor: Descriptor,
    pub(super) content: Content,
}

impl SavedLayer {
    /// Finds out the layer's digest, compressing it into a nameless file in `spool_dir` unless it is compressed already.
    /// Keeps a core busy: to be run on a thread of its own.
    pub(super) fn prepare(&self, spool_dir: &std::path::Path, stop: &CancellationToken) -> Result<ReadyLayer, Error> {
        let mut magic = vec![0; usize::try_from(self.content.size().min(6)).expect("at most 6")];
        self.content.read_exact_at(&mut magic, 0).map_err(|error| self.reading(error))?;
        match Compression::of(&magic) {
            Compression::None => self.compress(spool_dir, stop),
            Compression::Gzip => self.keep_gzip(stop),
            Compression::Other { name: "zstd", .. } => self.keep_zstd(stop),
            Compression::Other { name, .. } => {
                let (label, own) = (&self.label, quoted(&self.name));
                Err(Error::Invalid(format!(
                    "{label} has the layer {own} compressed by {name}, which registries do not take"
                )))
            }
        }
    }

    fn compress(&self, spool_dir: &std::path::Path, stop: &CancellationToken) -> Result<ReadyLayer, Error> {
        let spooling = |error| file_error("writing a spool file in", spool_dir, error);
        let file = tempfile::tempfile_in(spool_dir).map_err(spooling)?;
        let mut plain = HashingReader::new(self.content.reader(stop.clone()), self.diff_id.algorithm());
        // No time and no name: the same layer has the same digest on every machine.
        let mut encoder = GzBuilder::new().mtime(0).write(HashingWriter::new(file), flate2::Compression::new(LEVEL));
        let mut buffer = vec![0; PIECE];
        loop {
            let count = plain.read(&mut buffer).map_err(|error| self.reading(error))?;
            if count == 0 {
                break;
            }
            encoder.write_all(&buffer[..count]).map_err(spooling)?;
        }
        self.check(&plain.digester.finish())?;
        let (file, digester) = encoder.finish().and_then(HashingWriter::finish).map_err(spooling)?;
        let content = Content::of_file(file).map_err(spooling)?;
        Ok(ReadyLayer { descriptor: described(media_type::DOCKER_LAYER_GZIP, digester), content })
    }

    fn keep_gzip(&self, stop: &CancellationToken) -> Result<ReadyLayer, Error> {
        let compressed = HashingReader::new(self.content.reader(stop.clone()), Algorithm::Sha256);
        let mut compressed = BufReader::with_capacity(PIECE, compressed);
        let decoder = MultiGzDecoder::new(&mut compressed);
        let mut plain = HashingReader::new(decoder, self.diff_id.algorithm());
        match plain.drain() {
            Ok(()) => self.check(&plain.digester.finish())?,
            Err(error) if is_damage(&error) => return Err(self.damaged(&format!("is no whole gzip file ({error})"))),
            Err(error) => return Err(self.reading(error)),
        }
        let digester = compressed.into_inner().digester;
        Ok(ReadyLayer { descriptor: described(media_type::DOCKER_LAYER_GZIP, digester), content: self.content.clone() })
    }

    /// There is no decoder for zstd here, so that its diffID is taken on trust.
    fn keep_zstd(&self, stop: &CancellationToken) -> Result<ReadyLayer, Error> {
        let mut compressed = HashingReader::new(self.content.reader(stop.clone()), Algorithm::Sha256);
        compressed.drain().map_err(|error| self.reading(error))?;
        let descriptor = described(DOCKER_LAYER_ZSTD, compressed.digester);
        Ok(ReadyLayer { descriptor, content: self.content.clone() })
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

fn described(media_type: &str, digester: Digester) -> Descriptor {
    let size = digester.length();
    Descriptor::new(media_type, digester.finish(), size)
}

struct HashingReader<R> {
    inner: R,
    digester: Digester,
}

impl<R: Read> HashingReader<R> {
    fn new(inner: R, algorithm: Algorithm) -> Self {
        Self { inner, digester: Digester::new(algorithm) }
    }

    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        while self.read(&mut buffer)? > 0 {}
        Ok(())
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digester.update(&buffer[..count]);
        Ok(count)
    }
}

struct HashingWriter {
    inner: BufWriter<File>,
    digester: Digester,
}

impl HashingWriter {
    fn new(file: File) -> Self {
        Self { inner: BufWriter::with_capacity(PIECE, file), digester: Digester::new(Algorithm::Sha256) }
    }

    fn finish(self) -> io::Result<(File, Digester)> {
        Ok((self.inner.into_inner().map_err(io::IntoInnerError::into_error)?, self.digester))
    }
}

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.digester.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
