//! A tar that is written by several at once.
//!
//! An entry's size is known before its bytes come, so its place is taken at once and filled meanwhile: blobs travel side by side
//! and are written one time. The file gets its name when it is whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use storage_layout::Descriptor;
use tar::{EntryType, Header};
use tempfile::TempPath;

use super::folder::{sync_folder, temporary_in};
use super::problem::{blocking, file_error};
use super::tar_header::{BLOCK, padding};
use super::verified::{write_all_at, write_blob};
use crate::transfer::{ByteStream, Error};

/// A tar on its way to `destination`. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub(super) struct TarWriter {
    file: Arc<File>,
    /// The name to be given up for the destination's; a spool file has neither.
    temporary: Option<TempPath>,
    /// The folder, for a spool file.
    destination: PathBuf,
    /// Where the next entry begins.
    end: Mutex<u64>,
}

impl TarWriter {
    pub(super) fn create(destination: &Path) -> Result<Self, Error> {
        // A link keeps pointing where it points; what it points to is replaced.
        let destination = match fs::metadata(destination) {
            Ok(metadata) if metadata.is_file() => {
                fs::canonicalize(destination).map_err(|error| file_error("looking at", destination, error))?
            }
            Ok(_) => {
                let path = destination.display();
                return Err(Error::Invalid(format!("{path} is no file that could be replaced; choose another name")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => destination.to_owned(),
            Err(error) => return Err(file_error("looking at", destination, error)),
        };
        let (file, temporary) = temporary_in(folder_of(&destination))
            .map_err(|error| file_error("making a file beside", &destination, error))?
            .into_parts();
        Ok(Self { file: Arc::new(file), temporary: Some(temporary), destination, end: Mutex::new(0) })
    }

    /// Writes into a file in `dir` that has no name and gets none.
    pub(super) fn nameless(file: File, dir: &Path) -> Self {
        Self { file: Arc::new(file), temporary: None, destination: dir.to_owned(), end: Mutex::new(0) }
    }

    /// Adds a file whose bytes come in pieces. After an error the tar is of no use.
    pub(super) async fn append(&self, name: &str, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error> {
        let offset = self.begin(name, descriptor.size).await?;
        write_blob(&self.file, &self.destination, offset, descriptor, body).await
    }

    /// Adds a file.
    pub(super) async fn append_bytes(&self, name: &str, bytes: bytes::Bytes) -> Result<(), Error> {
        let offset = self.begin(name, bytes.len() as u64).await?;
        let (file, path) = (Arc::clone(&self.file), self.destination.clone());
        blocking(move || write_all_at(&file, &bytes, offset).map_err(|error| file_error("writing", &path, error))).await
    }

    /// Takes the place of an entry and writes its header. Returns where the entry's bytes go.
    async fn begin(&self, name: &str, size: u64) -> Result<u64, Error> {
        let head = headers(name, size);
        let start = {
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            let start = *end;
            let next = (start + head.len() as u64).checked_add(size).and_then(|next| next.checked_add(padding(size)));
            *end = next.ok_or_else(|| file_error("writing", &self.destination, io::ErrorKind::FileTooLarge.into()))?;
            start
        };
        let offset = start + head.len() as u64;
        let (file, path) = (Arc::clone(&self.file), self.destination.clone());
        blocking(move || write_all_at(&file, &head, start).map_err(|error| file_error("writing", &path, error)))
            .await?;
        Ok(offset)
    }

    /// Ends the tar and gives it its name.
    pub(super) async fn finish(self) -> Result<(), Error> {
        blocking(move || {
            let Self { file, temporary, destination, end } = self;
            let end = end.into_inner().unwrap_or_else(PoisonError::into_inner);
            let writing = |error| file_error("writing", &destination, error);
            // What was never written reads as zeros: the padding, and the two blocks that end a tar.
            file.set_len(end + 2 * BLOCK as u64).map_err(writing)?;
            let Some(temporary) = temporary else { return Ok(()) };
            file.sync_all().map_err(writing)?;
            drop(file);
            temporary.persist(&destination).map_err(|error| writing(error.error))?;
            sync_folder(folder_of(&destination)).map_err(writing)
        })
        .await
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns the header of a file, before it that of its name where the name is long. Nothing in it depends on when and by whom
/// it is written.
fn headers(name: &str, size: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(3 * BLOCK);
    let mut header = plain_header(EntryType::Regular, size);
    if header.set_path(name).is_err() {
        let long = plain_header(EntryType::GNULongName, name.len() as u64 + 1);
        bytes.extend_from_slice(long_name_mark(long).as_bytes());
        bytes.extend_from_slice(name.as_bytes());
        let padded = (name.len() + 1).next_multiple_of(BLOCK) - name.len();
        bytes.extend(std::iter::repeat_n(0, padded));
        header.set_path(&name[..90]).expect("names of blobs are ASCII and 90 bytes fit");
    }
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes
}

fn plain_header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn long_name_mark(mut header: Header) -> Header {
    header.set_path("././@LongLink").expect("the mark fits");
    header.set_cksum();
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_sizes_and_long_names_read_back() {
        let name = format!("blobs/sha512/{}", "a".repeat(128));
        let bytes = headers(&name, 9 << 30);
        assert_eq!(bytes.len(), 3 * BLOCK);
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path_bytes().as_ref(), name.as_bytes());
        assert_eq!(entry.header().entry_size().unwrap(), 9 << 30);
        assert_eq!(headers("oci-layout", 1).len(), BLOCK);
    }
}
