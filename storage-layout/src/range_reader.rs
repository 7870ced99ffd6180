//! One range of an object, asked for again from where it broke.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::blob::ByteStream;
use crate::objects::Objects;

/// How often a range is asked for again. A client of a store over HTTP has tried each request as often as the user wants before
/// it says that one failed, so few are enough.
pub(crate) const RESTARTS: u32 = 2;
/// How much is read from a file at once, in bytes: `object_store`'s own 8 KiB cost a thread hop each.
const FILE_PIECE: usize = 256 * 1024;

/// One version of an object.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    objects: Objects,
    path: Path,
    /// The object's `ETag`. Without a strong one nothing tells two versions apart, so what was begun is not begun again, and no
    /// second request is made beside the first.
    version: Option<String>,
}

/// An object that was opened.
pub(crate) struct Opened {
    /// The version that was found.
    pub(crate) source: Source,
    pub(crate) first: First,
    /// The whole object's size, in bytes.
    pub(crate) size: u64,
}

/// The first bytes that were asked for.
pub(crate) enum First {
    /// A file of this machine, standing at them. It stays the same when another takes its name.
    File(File),
    /// Bytes from elsewhere.
    Remote(RangeReader),
}

impl Source {
    /// Asks for an object's bytes from the start of `range` to `first`, or to its end if no second request can follow.
    pub(crate) async fn open(
        objects: &Objects,
        path: Path,
        range: Range<u64>,
        first: u64,
    ) -> object_store::Result<Opened> {
        let mut source = Self { objects: objects.clone(), path, version: None };
        let mut asked = range.start..first;
        let mut restarts = 0;
        loop {
            let found = match source.get(asked.clone()).await {
                Ok(found) => found,
                Err(error) if restarts < RESTARTS && is_passing(&error) => {
                    restarts += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let size = found.meta.size;
            source.version = found.meta.e_tag.clone().filter(|tag| !tag.starts_with("W/"));
            let first = match found.payload {
                GetResultPayload::File(file, _) => First::File(stand_at(file, range.start).await?),
                GetResultPayload::Stream(_) if !source.is_pinned() && asked != range => {
                    asked = range.clone();
                    continue;
                }
                GetResultPayload::Stream(_) => {
                    let stream = Some(into_stream(found));
                    First::Remote(RangeReader { source: source.clone(), rest: asked, stream, restarts })
                }
            };
            return Ok(Opened { source, first, size });
        }
    }

    /// Returns the `ETag` of the version, if there is a strong one.
    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Tells whether what is asked for by several requests is of one version.
    pub(crate) fn is_pinned(&self) -> bool {
        self.version.is_some()
    }

    async fn get(&self, range: Range<u64>) -> object_store::Result<GetResult> {
        let range = Some(GetRange::Bounded(range));
        let options = GetOptions { range, if_match: self.version.clone(), ..GetOptions::default() };
        self.objects.0.get_opts(&self.path, options).await
    }
}

async fn stand_at(file: std::fs::File, offset: u64) -> object_store::Result<File> {
    let mut file = File::from_std(file);
    file.set_max_buf_size(FILE_PIECE);
    match file.seek(io::SeekFrom::Start(offset)).await {
        Ok(_) => Ok(file),
        Err(error) => Err(object_store::Error::Generic { store: "file", source: error.into() }),
    }
}

/// Returns the next `length` bytes of a file.
pub(crate) fn read_file(file: File, length: u64) -> ByteStream {
    ReaderStream::with_capacity(file.take(length), FILE_PIECE).boxed()
}

fn into_stream(found: GetResult) -> ByteStream {
    found.into_stream().map_err(io::Error::other).boxed()
}

/// Tells whether the same request may succeed if it is made again.
fn is_passing(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. })
}

/// Reads one range.
pub(crate) struct RangeReader {
    source: Source,
    /// What is still to come.
    rest: Range<u64>,
    stream: Option<ByteStream>,
    restarts: u32,
}

impl RangeReader {
    /// Makes a reader that asks for nothing before it is read from.
    pub(crate) fn new(source: &Source, range: Range<u64>) -> Self {
        Self { source: source.clone(), rest: range, stream: None, restarts: 0 }
    }

    /// Returns where the range ends.
    pub(crate) fn end(&self) -> u64 {
        self.rest.end
    }

    /// Returns the next bytes, or `None` at the end of the range.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while !self.rest.is_empty() {
            let failure = match &mut self.stream {
                None => match self.source.get(self.rest.clone()).await {
                    Ok(found) => {
                        self.stream = Some(into_stream(found));
                        continue;
                    }
                    Err(error) => io::Error::other(error),
                },
                Some(stream) => match stream.next().await {
                    Some(Ok(mut bytes)) => {
                        bytes.truncate(usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX));
                        self.rest.start += bytes.len() as u64;
                        return Ok(Some(bytes));
                    }
                    Some(Err(error)) => error,
                    None => io::Error::new(io::ErrorKind::UnexpectedEof, "the store's answer ended too early"),
                },
            };
            self.prepare_restart(failure)?;
        }
        Ok(None)
    }

    fn prepare_restart(&mut self, failure: io::Error) -> io::Result<()> {
        let store_error = failure.get_ref().and_then(|inner| inner.downcast_ref::<object_store::Error>());
        let passing = store_error.map_or(failure.kind() == io::ErrorKind::UnexpectedEof, is_passing);
        if !passing || !self.source.is_pinned() || self.restarts == RESTARTS {
            return Err(failure);
        }
        tracing::debug!(path = %self.source.path, rest = ?self.rest, error = %failure, "a range broke and is asked for again");
        self.restarts += 1;
        self.stream = None;
        Ok(())
    }
}
