//! Bytes that lie somewhere in an open file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream;
use tokio_util::sync::CancellationToken;

use super::problem::{blocking, file_error};
use crate::transfer::{ByteStream, Error};

/// How much is read at once.
const PIECE: usize = 512 * 1024;

/// A stretch of an open file. Reads say where they read, so any number may go on at once, and a file that is replaced
/// meanwhile does not matter.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    file: Arc<File>,
    offset: u64,
    size: u64,
}

impl Content {
    /// Takes in the whole file.
    pub(crate) fn of_file(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), offset: 0, size })
    }

    /// Returns a part of this. The part must be inside.
    pub(super) fn part(&self, offset: u64, size: u64) -> Self {
        debug_assert!(offset.checked_add(size).is_some_and(|end| end <= self.size), "a part lies inside");
        Self { file: Arc::clone(&self.file), offset: self.offset + offset, size }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` with the bytes at `offset`.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match read_at(&self.file, &mut buffer[filled..], self.offset + offset + filled as u64) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the file became shorter while it was read",
                    ));
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns all bytes: for documents, whose size the caller has limited.
    pub(crate) async fn bytes(self, path: &Path) -> Result<Bytes, Error> {
        let path = path.to_owned();
        blocking(move || {
            let length = usize::try_from(self.size)
                .map_err(|_| file_error("reading", &path, io::ErrorKind::FileTooLarge.into()))?;
            let mut buffer = BytesMut::zeroed(length);
            self.read_exact_at(&mut buffer, 0).map_err(|error| file_error("reading", &path, error))?;
            Ok(buffer.freeze())
        })
        .await
    }

    /// Returns the bytes in pieces.
    pub(crate) fn stream(self) -> ByteStream {
        Box::pin(stream::try_unfold(0, move |position| {
            let content = self.clone();
            async move {
                let left = usize::try_from(content.size - position).unwrap_or(PIECE).min(PIECE);
                if left == 0 {
                    return Ok(None);
                }
                let read = tokio::task::spawn_blocking(move || {
                    let mut buffer = BytesMut::zeroed(left);
                    content.read_exact_at(&mut buffer, position).map(|()| buffer.freeze())
                });
                Ok(Some((read.await??, position + left as u64)))
            }
        }))
    }

    /// Returns a reader for a thread of its own. It fails once `stop` is cancelled, for such a thread is stopped by nothing else.
    pub(crate) fn reader(&self, stop: CancellationToken) -> ContentReader {
        ContentReader { content: self.clone(), position: 0, stop }
    }
}

/// Reads a [`Content`] from its beginning to its end.
#[derive(Debug)]
pub(crate) struct ContentReader {
    content: Content,
    position: u64,
    stop: CancellationToken,
}

impl Read for ContentReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_cancelled() {
            return Err(io::Error::other("the work was given up"));
        }
        let left = usize::try_from(self.content.size - self.position).unwrap_or(usize::MAX).min(buffer.len());
        self.content.read_exact_at(&mut buffer[..left], self.position)?;
        self.position += left as u64;
        Ok(left)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}
