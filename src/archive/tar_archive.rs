//! A tar file that images are read from, compressed as a whole or not.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::compression::{Compression, MAX_ZSTD_WINDOW};
use super::content::Content;
use super::problem::{blocking, file_error};
use super::tar_header::Refusal;
use super::tar_index::TarIndex;
use crate::transfer::Error;

/// How much is decompressed at once.
const PIECE: usize = 256 * 1024;
/// What a compressed archive may become without question, in bytes, and how many times its own size beyond that.
const MAX_UNQUESTIONED: u64 = 1024 * 1024 * 1024;
const MAX_RATIO: u64 = 200;

/// An open tar and where everything is in it.
#[derive(Debug)]
pub(super) struct TarArchive {
    label: String,
    path: PathBuf,
    content: Content,
    index: TarIndex,
}

impl TarArchive {
    /// Opens and scans a tar. One that is compressed, or one that comes through a pipe, goes to a nameless file in `spool_dir`
    /// first.
    pub(super) async fn open(label: String, path: &Path, spool_dir: &Path) -> Result<Self, Error> {
        let (path, spool_dir) = (path.to_owned(), spool_dir.to_owned());
        let stop = CancellationToken::new();
        let _stop_when_dropped = stop.clone().drop_guard();
        blocking(move || {
            let content = readable(&label, &path, &spool_dir, &stop)?;
            let index = TarIndex::scan(&content, &stop).map_err(|refusal| refused(&label, &path, refusal))?;
            Ok(Self { label, path, content, index })
        })
        .await
    }

    /// Scans a tar that is a nameless file of ours in `spool_dir`.
    pub(super) async fn of_file(label: String, file: File, spool_dir: &Path) -> Result<Self, Error> {
        let path = spool_dir.to_owned();
        let stop = CancellationToken::new();
        let _stop_when_dropped = stop.clone().drop_guard();
        blocking(move || {
            let content =
                Content::of_file(file).map_err(|error| file_error("reading a spool file in", &path, error))?;
            if content.size() == 0 {
                return Err(Error::Invalid(format!("{label} is empty")));
            }
            let index = TarIndex::scan(&content, &stop).map_err(|refusal| refused(&label, &path, refusal))?;
            Ok(Self { label, path, content, index })
        })
        .await
    }

    /// Returns what the archive is called in messages.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file of that name.
    pub(super) fn find(&self, name: &str) -> Result<Option<Content>, Error> {
        let found = self.index.find(name).map_err(|refusal| refused(&self.label, &self.path, refusal))?;
        Ok(found.map(|(offset, size)| self.content.part(offset, size)))
    }

    /// Returns the bytes of a document of at most `limit` bytes.
    pub(super) async fn document(&self, name: &str, limit: u64) -> Result<Option<Bytes>, Error> {
        match self.find(name)? {
            Some(content) if content.size() > limit => Err(too_long(&self.label, name, limit)),
            Some(content) => content.bytes(&self.path).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The refusal of a document that would not fit into memory safely.
pub(super) fn too_long(label: &str, name: &str, limit: u64) -> Error {
    Error::Invalid(format!("{label} is no image: its {name} is longer than {} MiB", limit >> 20))
}

fn refused(label: &str, path: &Path, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Io(error) => file_error("reading", path, error),
        other => Error::Invalid(format!("{label} {other}")),
    }
}

/// Opens the file so that any place of it can be read.
fn readable(label: &str, path: &Path, spool_dir: &Path, stop: &CancellationToken) -> Result<Content, Error> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound(format!("{label}: there is no such file")),
        _ => file_error("opening", path, error),
    })?;
    let reading = |error| file_error("reading", path, error);
    let metadata = file.metadata().map_err(reading)?;
    if metadata.is_dir() {
        let hint = format!("an OCI image layout in a folder is oci:{}", path.display());
        return Err(Error::Invalid(format!("{label} is a folder; {hint}")));
    }
    let mut magic = Vec::with_capacity(Compression::MAGIC);
    let count = (&mut file).take(Compression::MAGIC as u64).read_to_end(&mut magic).map_err(reading)?;
    if count == 0 {
        return Err(Error::Invalid(format!("{label} is empty")));
    }
    let compression = Compression::of(&magic);
    if let Compression::Other { name, tool } = compression {
        return Err(Error::Invalid(format!(
            "{label} is compressed by {name}; decompress it first: {tool} {}",
            path.display()
        )));
    }
    if metadata.is_file() && compression == Compression::None {
        return Content::of_file(file).map_err(reading);
    }
    // What a pipe gave cannot be read again.
    let whole = BufReader::with_capacity(PIECE, magic.chain(file));
    let mut reader = compression.decoder(whole, MAX_ZSTD_WINDOW).map_err(reading)?;
    let limit = metadata.is_file().then(|| (metadata.len() * MAX_RATIO).max(MAX_UNQUESTIONED));
    spool(&mut reader, limit, spool_dir, stop).map_err(|problem| match problem {
        SpoolProblem::TooMuch => Error::Invalid(format!(
            "{label} decompresses to more than {MAX_RATIO} times its size; if you trust it, decompress it first: {} {}",
            if compression == Compression::Zstd { "unzstd" } else { "gunzip" },
            path.display()
        )),
        SpoolProblem::Write(error) => file_error("writing a spool file in", spool_dir, error),
        SpoolProblem::Read(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::Invalid(format!("{label} is cut short; copy or save it again")),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                Error::Invalid(format!("{label} is damaged: {error}; copy or save it again"))
            }
            _ => file_error("reading", path, error),
        },
    })
}

enum SpoolProblem {
    Read(io::Error),
    Write(io::Error),
    TooMuch,
}

fn spool(
    reader: &mut dyn Read,
    limit: Option<u64>,
    dir: &Path,
    stop: &CancellationToken,
) -> Result<Content, SpoolProblem> {
    let mut file = tempfile::tempfile_in(dir).map_err(SpoolProblem::Write)?;
    let mut buffer = vec![0; PIECE];
    let mut total = 0;
    loop {
        if stop.is_cancelled() {
            return Err(SpoolProblem::Read(io::Error::other("the work was given up")));
        }
        let count = reader.read(&mut buffer).map_err(SpoolProblem::Read)?;
        if count == 0 {
            return Content::of_file(file).map_err(SpoolProblem::Write);
        }
        total += count as u64;
        if limit.is_some_and(|limit| total > limit) {
            return Err(SpoolProblem::TooMuch);
        }
        file.write_all(&buffer[..count]).map_err(SpoolProblem::Write)?;
    }
}
