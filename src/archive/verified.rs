//! Writing a blob into a file while making sure that it is the blob it should be.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use futures::TryStreamExt;
use storage_layout::{Descriptor, Digester};

use super::problem::{blocking, file_error};
use crate::transfer::{ByteStream, Error};

/// What arrives in smaller pieces is gathered first: each write is a trip to another thread.
const PIECE: usize = 512 * 1024;

/// Writes a blob at `offset` of `file`. An error says nothing of what is in the file then.
pub(crate) async fn write_blob(
    file: &Arc<File>,
    path: &Path,
    offset: u64,
    descriptor: &Descriptor,
    mut body: ByteStream,
) -> Result<(), Error> {
    let (digest, expected) = (&descriptor.digest, descriptor.size);
    let wrong_size =
        |actual| Error::from(storage_layout::Error::SizeMismatch { digest: digest.clone(), expected, actual });
    let mut digester = Digester::new(digest.algorithm());
    let mut gathered = BytesMut::new();
    loop {
        let piece = body.try_next().await.map_err(storage_layout::Error::Body)?;
        let is_end = piece.is_none();
        gathered.extend_from_slice(&piece.unwrap_or_default());
        let length = digester.length() + gathered.len() as u64;
        // In a tar the next entry begins there.
        if length > expected {
            return Err(wrong_size(length));
        }
        if gathered.len() >= PIECE || is_end && !gathered.is_empty() {
            let (file, path, piece) = (Arc::clone(file), path.to_owned(), gathered.split().freeze());
            digester = blocking(move || {
                let position = offset + digester.length();
                digester.update(&piece);
                write_all_at(&file, &piece, position).map_err(|error| file_error("writing", &path, error))?;
                Ok(digester)
            })
            .await?;
        }
        if is_end {
            break;
        }
    }
    if digester.length() != expected {
        return Err(wrong_size(digester.length()));
    }
    let actual = digester.finish();
    if actual != *digest {
        return Err(storage_layout::Error::DigestMismatch { expected: digest.clone(), actual }.into());
    }
    Ok(())
}

/// Writes all of `bytes` at `offset`.
#[cfg(unix)]
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Writes all of `bytes` at `offset`.
#[cfg(windows)]
pub(crate) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[count..];
        offset += count as u64;
    }
    Ok(())
}
