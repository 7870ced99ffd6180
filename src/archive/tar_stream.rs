//! A tar that is read once, as it comes.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};

use super::problem::{file_error, too_short};
use super::tar_header::{BLOCK, Block, Entry, Headers, Refusal, padding};
use crate::transfer::{ByteStream, Error};

/// A tar on its way.
pub(super) struct TarStream {
    label: String,
    body: ByteStream,
    /// What came and was not looked at yet.
    rest: Bytes,
    headers: Headers,
    is_begun: bool,
    /// What is still to come of the entry, in bytes.
    left: u64,
    /// What follows it before the next header, in bytes.
    padding: u64,
}

impl TarStream {
    pub(super) fn new(label: String, body: ByteStream) -> Self {
        let (rest, headers) = (Bytes::new(), Headers::default());
        Self { label, body, rest, headers, is_begun: false, left: 0, padding: 0 }
    }

    /// Returns what the archive is called in messages.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Returns the next entry. What was not read of the one before is passed over.
    pub(super) async fn next(&mut self) -> Result<Option<Entry>, Error> {
        loop {
            let passed_over = self.left + self.padding;
            self.pass_over(passed_over).await?;
            (self.left, self.padding) = (0, 0);
            let header = self.take(BLOCK).await?;
            let header = header.as_ref().try_into().expect("so many bytes were asked for");
            match self.headers.read(header).map_err(|refusal| self.refused(refusal))? {
                Block::End => return self.drain().await.map(|()| None),
                Block::Extension(kind, size) => {
                    let data = self.take(size).await?;
                    self.headers.extend(kind, &data).map_err(|refusal| self.refused(refusal))?;
                    self.padding = padding(size as u64);
                }
                Block::Entry(entry) => {
                    (self.left, self.padding) = (entry.size, padding(entry.size));
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// Returns the bytes of a small entry.
    pub(super) async fn document(&mut self) -> Result<Bytes, Error> {
        let length = usize::try_from(std::mem::take(&mut self.left)).expect("the caller has looked at its size");
        self.take(length).await
    }

    /// Returns the bytes of the entry in pieces.
    pub(super) fn content(&mut self) -> BoxStream<'_, io::Result<Bytes>> {
        let content = futures::stream::try_unfold(self, |tar| async move {
            if tar.left == 0 {
                return Ok(None);
            }
            let mut piece = tar.some().await?;
            if u64::try_from(piece.len()).is_ok_and(|length| length > tar.left) {
                tar.rest = piece.split_off(usize::try_from(tar.left).expect("it is below the length of a piece"));
            }
            tar.left -= piece.len() as u64;
            Ok(Some((piece, tar)))
        });
        content.boxed()
    }

    /// Says why the tar cannot be read on, which [`TarStream::content`] tells as an error of any reader.
    pub(super) fn failed(&self, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => too_short(&self.label),
            _ => file_error("reading", self.label.as_ref(), error),
        }
    }

    fn refused(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Io(error) => self.failed(error),
            other => Error::Invalid(format!("{} {other}", self.label)),
        }
    }

    /// Returns whatever comes next, but not nothing.
    async fn some(&mut self) -> io::Result<Bytes> {
        while self.rest.is_empty() {
            self.rest = self.body.try_next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.is_begun = true;
        }
        Ok(std::mem::take(&mut self.rest))
    }

    async fn take(&mut self, length: usize) -> Result<Bytes, Error> {
        let mut taken = BytesMut::with_capacity(length);
        while taken.len() < length {
            let mut piece = match self.some().await {
                Ok(piece) => piece,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !self.is_begun => {
                    return Err(Error::Invalid(format!("{} is empty", self.label)));
                }
                Err(error) => return Err(self.failed(error)),
            };
            self.rest = piece.split_off(piece.len().min(length - taken.len()));
            taken.extend_from_slice(&piece);
        }
        Ok(taken.freeze())
    }

    async fn pass_over(&mut self, mut length: u64) -> Result<(), Error> {
        while length > 0 {
            let mut piece = self.some().await.map_err(|error| self.failed(error))?;
            let passed = usize::try_from(length).unwrap_or(usize::MAX).min(piece.len());
            self.rest = piece.split_off(passed);
            length -= passed as u64;
        }
        Ok(())
    }

    /// Reads what is behind the end mark: whoever writes may still say that it failed.
    async fn drain(&mut self) -> Result<(), Error> {
        while self.body.try_next().await.map_err(|error| self.failed(error))?.is_some() {}
        Ok(())
    }
}

impl std::fmt::Debug for TarStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TarStream").field("label", &self.label).field("left", &self.left).finish_non_exhaustive()
    }
}
