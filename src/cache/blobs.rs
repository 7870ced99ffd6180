//! The files of a cache.
//!
//! A file gets its name when it is whole and verified, by a rename; it is read through one descriptor, verified again. So any
//! number of processes may read, write and clean up at once. Nothing that goes wrong here keeps anybody from reading what the
//! cache is of: it is told with `-v`, and the cache is done without.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use storage_layout::{ByteStream, Descriptor, Digest, Digester};
use tempfile::TempPath;

use crate::archive::{Content, blocking, file_error, temporary_in, write_all_at};
use crate::transfer::Error;

/// How much is gathered before it is written: each write is a trip to another thread.
const PIECE: usize = 512 * 1024;
/// An unfinished file older than this is one that nobody writes to any more.
const UNFINISHED: Duration = Duration::from_hours(24);

/// How much a cache keeps, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// The size of all files together, in bytes. Those that were not used for longest go first.
    pub size: u64,
    /// How long a file is kept that nobody uses.
    pub age: Duration,
}

impl Default for CacheLimits {
    /// 10 GiB and 30 days.
    fn default() -> Self {
        Self { size: 10 << 30, age: Duration::from_hours(30 * 24) }
    }
}

/// A folder of blobs by digest. A cheap handle.
#[derive(Clone, Debug)]
pub struct BlobCache {
    folder: PathBuf,
    limits: CacheLimits,
}

impl BlobCache {
    /// Opens the cache in `folder`, which is made if need be, for its owner alone.
    ///
    /// # Errors
    /// [`Error::File`] if there is no such folder and none can be made.
    pub fn open(folder: &Path, limits: CacheLimits) -> Result<Self, Error> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder.join("blobs"))
            .map_err(|error| file_error("making the cache", folder, error))?;
        Ok(Self { folder: folder.to_owned(), limits })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join(digest.algorithm().as_str()).join(digest.hex())
    }

    /// Returns a blob, verified from its start to its end. One that is damaged is removed.
    pub(super) async fn find(&self, digest: &Digest, size: Option<u64>) -> Option<Content> {
        let (cache, digest) = (self.clone(), digest.clone());
        let found = blocking(move || {
            let path = cache.path(&digest);
            let verify = || -> io::Result<Option<Content>> {
                let mut file = match File::open(&path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    file => file?,
                };
                let mut digester = Digester::new(digest.algorithm());
                let mut buffer = vec![0; PIECE];
                loop {
                    match io::Read::read(&mut file, &mut buffer)? {
                        0 => break,
                        count => digester.update(&buffer[..count]),
                    }
                }
                if size.is_some_and(|size| size != digester.length()) || digester.finish() != digest {
                    tracing::warn!("the cache held {digest} damaged; it is read from where it came from");
                    fs::remove_file(&path)?;
                    return Ok(None);
                }
                // What was used last is kept longest. Another user's file cannot be marked, and then simply goes earlier.
                drop(file.set_modified(SystemTime::now()));
                Content::of_file(file).map(Some)
            };
            verify().map_err(|error| file_error("reading", &path, error))
        });
        found.await.unwrap_or_else(|error| {
            done_without(&error);
            None
        })
    }

    /// Returns a blob's bytes as they come, and keeps them as well.
    pub(super) async fn keeping(&self, descriptor: &Descriptor, body: ByteStream) -> ByteStream {
        if descriptor.size > self.limits.size {
            return body;
        }
        let (cache, descriptor) = (self.clone(), descriptor.clone());
        let begun = blocking(move || {
            let path = cache.path(&descriptor.digest);
            let begin = || {
                fs::create_dir_all(path.parent().unwrap_or(&cache.folder))?;
                temporary_in(&cache.folder)
            };
            let (file, temporary) = begin().map_err(|error| file_error("writing", &path, error))?.into_parts();
            let digester = Digester::new(descriptor.digest.algorithm());
            Ok(NewBlob { cache, descriptor, file: Arc::new(file), temporary, digester, gathered: BytesMut::new() })
        });
        let new = begun.await.map_err(|error| done_without(&error)).ok();
        stream::try_unfold((body, new), |(mut body, new)| async move {
            let piece = body.try_next().await?;
            let new = match (new, &piece) {
                (Some(new), Some(piece)) => new.write(piece).await,
                (Some(new), None) => new.finish().await.map(|()| None),
                (None, _) => Ok(None),
            };
            let new = new.unwrap_or_else(|error| {
                done_without(&error);
                None
            });
            Ok(piece.map(|piece| (piece, (body, new))))
        })
        .boxed()
    }

    /// Removes what is too old, and of the rest what was not used for longest until there is room.
    fn clean_up(&self) -> io::Result<()> {
        let now = SystemTime::now();
        let is_older = |modified: SystemTime, than| now.duration_since(modified).is_ok_and(|age| age > than);
        for (path, metadata) in files_in(&self.folder)? {
            let is_ours = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".oci-store-"));
            if is_ours && is_older(metadata.modified()?, UNFINISHED) {
                remove(&path)?;
            }
        }
        let mut blobs = Vec::new();
        for algorithm in fs::read_dir(self.folder.join("blobs"))? {
            for (path, metadata) in files_in(&algorithm?.path())? {
                blobs.push((metadata.modified()?, metadata.len(), path));
            }
        }
        blobs.sort_unstable();
        let mut total: u64 = blobs.iter().map(|(_, size, _)| size).sum();
        for (modified, size, path) in blobs {
            if total <= self.limits.size && !is_older(modified, self.limits.age) {
                break;
            }
            remove(&path)?;
            total -= size;
        }
        Ok(())
    }
}

/// A blob on its way into the cache. Dropped unfinished, it leaves nothing.
struct NewBlob {
    cache: BlobCache,
    descriptor: Descriptor,
    file: Arc<File>,
    temporary: TempPath,
    digester: Digester,
    gathered: BytesMut,
}

impl NewBlob {
    async fn write(mut self, piece: &Bytes) -> Result<Option<Self>, Error> {
        self.gathered.extend_from_slice(piece);
        if self.gathered.len() < PIECE {
            return Ok(Some(self));
        }
        blocking(move || self.flush().map(Some)).await
    }

    fn flush(mut self) -> Result<Self, Error> {
        let piece = self.gathered.split();
        write_all_at(&self.file, &piece, self.digester.length())
            .map_err(|error| file_error("writing", &self.temporary, error))?;
        self.digester.update(&piece);
        Ok(self)
    }

    /// Gives the file its name, if it is what it should be.
    async fn finish(self) -> Result<(), Error> {
        blocking(move || {
            let Self { cache, descriptor, file, temporary, digester, .. } = self.flush()?;
            drop(file);
            if digester.length() == descriptor.size && digester.finish() == descriptor.digest {
                let path = cache.path(&descriptor.digest);
                temporary.persist(&path).map_err(|error| file_error("writing", &path, error.error))?;
                cache.clean_up().map_err(|error| file_error("cleaning up", &cache.folder, error))?;
            }
            Ok(())
        })
        .await
    }
}

/// Returns the files in a folder. One that is gone meanwhile is not among them.
fn files_in(folder: &Path) -> io::Result<Vec<(PathBuf, fs::Metadata)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => files.push((entry.path(), metadata)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(files)
}

/// Removes a file, unless another process has done so.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn done_without(error: &Error) {
    tracing::info!(%error, "the cache is done without");
}
