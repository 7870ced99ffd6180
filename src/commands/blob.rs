//! `blob`: single blobs of a repository.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use storage_layout::{Algorithm, Descriptor, Digest, Digester};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use super::{Context, RepositoryPlace, input};
use crate::backend::Intent;
use crate::transfer::{BlobStatus, ByteStream, Error};
use crate::ui::{CommandError, ExitStatus, Format};

/// What a blob is where nobody says what it is.
const MEDIA_TYPE: &str = "application/octet-stream";
/// How much is read at once, in bytes.
const PIECE: usize = 256 * 1024;

/// The result of `put`.
#[derive(Serialize)]
struct Stored {
    reference: String,
    digest: Digest,
    size: u64,
    status: BlobStatus,
}

/// Writes a blob to a file, or to stdout. A file gets its name when it is whole and has the right digest.
///
/// # Errors
/// If there is no such blob, or it is damaged.
pub async fn get(place: RepositoryPlace, output: Option<PathBuf>, context: &Context) -> Result<(), CommandError> {
    let Some(digest) = place.digest() else {
        return Err(CommandError::usage(format!("{place} names no blob")).hint("write its digest: …@sha256:…"));
    };
    let attempted = format!("cannot read the blob {place}");
    let work = context.unless_stopped(format!("reading {place}"), async {
        let because = |error| CommandError::because(attempted.clone(), error);
        let repository = context.repository(&place, Intent::Read).await?;
        let size = repository.blob_size(digest).await.map_err(because)?;
        let missing = || because(Error::NotFound(format!("there is no blob {digest}")));
        let descriptor = Descriptor::new(MEDIA_TYPE, digest.clone(), size.ok_or_else(missing)?);
        let body = repository.get_blob(&descriptor).await.map_err(because)?;
        let written = match &output {
            Some(file) => to_file(body, &descriptor, file).await,
            None => match input::stdout() {
                Ok(stdout) => verified(body, &descriptor, stdout).await,
                Err(error) => Err(error),
            },
        };
        written.map_err(|error| CommandError::because(attempted.clone(), error))
    });
    work.await
}

async fn to_file(body: ByteStream, descriptor: &Descriptor, file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let temporary = tempfile::Builder::new().prefix(".oci-store-").tempfile_in(folder)?;
    verified(body, descriptor, File::from_std(temporary.as_file().try_clone()?)).await?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    Ok(())
}

/// Passes a blob on and fails at its end if it was not what was asked for.
async fn verified(mut body: ByteStream, descriptor: &Descriptor, mut writer: File) -> io::Result<()> {
    let mut digester = Digester::new(descriptor.digest.algorithm());
    while let Some(piece) = body.try_next().await? {
        digester.update(&piece);
        writer.write_all(&piece).await?;
    }
    writer.flush().await?;
    let actual = digester.finish();
    if actual != descriptor.digest {
        let problem = format!("what came has the digest {actual}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(())
}

/// Stores a file as a blob, unless it is there.
///
/// # Errors
/// If the file cannot be read or the repository does not take it.
pub async fn put(place: RepositoryPlace, file: PathBuf, context: &Context) -> Result<(), CommandError> {
    let attempted = format!("cannot store a blob at {place}");
    let stopped = || format!("storing a blob at {place}");
    let because = |error| CommandError::because(attempted.clone(), error);
    let prepared = context.unless_stopped(stopped(), async {
        let of_file = |error| CommandError::because(format!("{attempted}: reading {}", file.display()), error);
        let algorithm = place.digest().map_or(Algorithm::default(), Digest::algorithm);
        let (spool, descriptor) = measured(&file, algorithm, &context.settings.spool_dir).await.map_err(of_file)?;
        if let Some(named) = place.digest()
            && *named != descriptor.digest
        {
            let message = format!("{attempted}: the digest of {} is {}", file.display(), descriptor.digest);
            return Err(CommandError::new(ExitStatus::Integrity, message));
        }
        Ok((context.repository(&place, Intent::Write).await?, spool, descriptor))
    });
    let (repository, spool, descriptor) = prepared.await?;
    let stored = context.unless_stopped(stopped(), async {
        if repository.has_blob(&descriptor).await.map_err(because)? {
            return Ok(BlobStatus::Exists);
        }
        let body = ReaderStream::with_capacity(spool, PIECE).boxed();
        repository.put_blob(&descriptor, body).await.map_err(because)?;
        Ok(BlobStatus::Sent)
    });
    let status = stored.await;
    // On every way out: what was begun in a bucket is aborted.
    repository.settle().await;
    let reference = place.with_reference(None).to_string();
    let stored = Stored { reference, digest: descriptor.digest, size: descriptor.size, status: status? };
    if context.printer.format() == Format::Json {
        return context.printer.document(&stored);
    }
    context.printer.result(&format!("{}@{}", stored.reference, stored.digest));
    Ok(())
}

/// Hashes a file into a spool file without a name: what is read twice must not change in between.
async fn measured(file: &Path, algorithm: Algorithm, spool_dir: &Path) -> io::Result<(File, Descriptor)> {
    let mut reader = input::open(file).await?;
    let mut spool = File::from_std(tempfile::tempfile_in(spool_dir)?);
    let (mut digester, mut size, mut buffer) = (Digester::new(algorithm), 0, vec![0; PIECE]);
    loop {
        let length = reader.read(&mut buffer).await?;
        if length == 0 {
            break;
        }
        digester.update(&buffer[..length]);
        spool.write_all(&buffer[..length]).await?;
        size += length as u64;
    }
    spool.flush().await?;
    spool.seek(SeekFrom::Start(0)).await?;
    Ok((spool, Descriptor::new(MEDIA_TYPE, digester.finish(), size)))
}
