//! Uploads whose digest is learnt last: memory first, then a spool file, and the bucket only when the digest is known.

use std::io::{self, SeekFrom};

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::blob_writer::BlobWriter;
use crate::digest::{Algorithm, Digest, Digester};
use crate::error::{Error, Result};
use crate::store::{MIB, Repository};

/// How much is kept in memory before a file is used, in bytes. Most configs and many layers are smaller.
const IN_MEMORY: usize = 256 * 1024;
/// How much is read back from the file at once, in bytes.
const PIECE: usize = 1024 * 1024;

/// A blob on its way into a repository. Nothing of it is in the bucket before [`Upload::commit`].
#[derive(Debug)]
pub struct Upload {
    repository: Repository,
    digester: Digester,
    spool: Spool,
}

#[derive(Debug)]
enum Spool {
    Memory(BytesMut),
    /// A file without a name, so that it is gone when the process is, whatever ends it.
    File(File),
}

impl Repository {
    /// Begins an upload. `algorithm` is what its digest will probably be made with; with another one the content is hashed twice.
    pub fn begin_upload(&self, algorithm: Algorithm) -> Upload {
        Upload { repository: self.clone(), digester: Digester::new(algorithm), spool: Spool::Memory(BytesMut::new()) }
    }
}

impl Upload {
    /// Returns how many bytes were received.
    pub fn offset(&self) -> u64 {
        self.digester.length()
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`Error::Spool`] if the spool file cannot be written. The upload is then of no more use.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.digester.update(&bytes);
        let written = match &mut self.spool {
            Spool::Memory(memory) if memory.len() + bytes.len() <= IN_MEMORY => {
                memory.extend_from_slice(&bytes);
                Ok(())
            }
            Spool::Memory(memory) => {
                let memory = memory.split().freeze();
                match self.open_spool().await {
                    Ok(mut file) => {
                        let written = async {
                            file.write_all(&memory).await?;
                            file.write_all(&bytes).await
                        };
                        let written = written.await;
                        self.spool = Spool::File(file);
                        written
                    }
                    Err(error) => Err(error),
                }
            }
            Spool::File(file) => file.write_all(&bytes).await,
        };
        written.map_err(|source| self.spool_error(source))
    }

    async fn open_spool(&self) -> io::Result<File> {
        let directory = self.repository.store.inner.options.spool_dir.clone();
        let opened = tokio::task::spawn_blocking(move || tempfile::tempfile_in(directory)).await;
        let mut file = File::from_std(opened.map_err(io::Error::other)??);
        // Each operation on a file is a trip to another thread.
        file.set_max_buf_size(PIECE);
        Ok(file)
    }

    fn spool_error(&self, source: io::Error) -> Error {
        Error::Spool { directory: self.repository.store.inner.options.spool_dir.display().to_string(), source }
    }

    /// Returns the digest of what was received so far.
    pub fn digest(&self) -> Digest {
        self.digester.clone().finish()
    }

    /// Stores what was received as the blob `digest`, links it to the repository, and returns its size in bytes. If the bucket
    /// has that blob already, nothing is sent.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`] if the content has another digest.
    pub async fn commit(mut self, digest: &Digest) -> Result<u64> {
        let (length, store) = (self.offset(), self.repository.store.clone());
        let same_algorithm = self.digester.algorithm() == digest.algorithm();
        if same_algorithm {
            let actual = self.digest();
            if actual != *digest {
                return Err(Error::DigestMismatch { expected: digest.clone(), actual });
            }
            if store.data_size(digest).await? == Some(length) {
                store.inner.sizes.learn_written(digest, length);
                self.repository.link_blob(digest).await?;
                return Ok(length);
            }
        }
        let mut writer = if same_algorithm {
            BlobWriter::trusted(&store, digest.clone(), length)
        } else {
            BlobWriter::new(&store, digest.clone(), Some(length))
        };
        if let Err(source) = self.rewind().await {
            return Err(self.spool_error(source));
        }
        loop {
            match self.read_back().await {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => writer.write(bytes).await?,
                Err(source) => {
                    writer.abort().await;
                    return Err(self.spool_error(source));
                }
            }
        }
        writer.finish().await?;
        self.repository.link_blob(digest).await?;
        Ok(length)
    }

    async fn rewind(&mut self) -> io::Result<()> {
        if let Spool::File(file) = &mut self.spool {
            file.flush().await?;
            file.seek(SeekFrom::Start(0)).await?;
        }
        Ok(())
    }

    async fn read_back(&mut self) -> io::Result<Bytes> {
        match &mut self.spool {
            Spool::Memory(memory) => Ok(memory.split().freeze()),
            Spool::File(file) => {
                let mut piece = BytesMut::with_capacity(PIECE);
                file.read_buf(&mut piece).await?;
                Ok(piece.freeze())
            }
        }
    }
}

// A part is never smaller than a piece, so that pieces are not cut more often than needed.
const _: () = assert!(PIECE as u64 <= MIB);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use proptest::prelude::*;

    use super::*;
    use crate::store::{Store, StoreOptions};
    use crate::test_util::{FaultyStore, noise, read};

    fn repository(spool_dir: &std::path::Path) -> (Arc<FaultyStore>, Repository) {
        let objects = Arc::new(FaultyStore::counting(Arc::new(InMemory::new())));
        let options = StoreOptions { spool_dir: spool_dir.to_owned(), part_size: 100_000, ..StoreOptions::default() };
        let store = Store::new(Arc::clone(&objects) as _, options);
        (objects, store.repository(&"app".parse().unwrap()))
    }

    #[tokio::test]
    async fn nothing_reaches_the_bucket_and_no_name_the_disk_before_the_digest_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let (objects, repository) = repository(folder.path());
        let content = noise(1, 1_000_000);
        let mut upload = repository.begin_upload(Algorithm::Sha256);
        for piece in content.chunks(70_001) {
            upload.write(content.slice_ref(piece)).await.unwrap();
            assert_eq!((objects.calls(), names()), (0, 0));
        }
        assert!(matches!(upload.spool, Spool::File(_)));
        let digest = upload.digest();
        assert_eq!((upload.offset(), &digest), (1_000_000, &Algorithm::Sha256.digest(&content)));
        upload.commit(&digest).await.unwrap();
        assert_eq!(names(), 0);
        assert_eq!(read(&repository, &digest).await.unwrap(), content);
    }

    #[tokio::test]
    async fn small_uploads_need_no_folder() {
        let (_, repository) = repository(std::path::Path::new("/nonexistent/folder"));
        let content = noise(1, IN_MEMORY);
        let mut upload = repository.begin_upload(Algorithm::Sha256);
        upload.write(content.clone()).await.unwrap();
        let digest = upload.digest();
        assert_eq!(upload.commit(&digest).await.unwrap(), IN_MEMORY as u64);

        let mut larger = repository.begin_upload(Algorithm::Sha256);
        larger.write(content).await.unwrap();
        let error = larger.write(Bytes::from_static(b"x")).await.unwrap_err();
        assert!(matches!(&error, Error::Spool { directory, .. } if directory == "/nonexistent/folder"), "{error:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_pieces_make_the_same_blob(
            length in 0usize..600_000,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let content = noise(7, length);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(length + 1)).chain([0, length]).collect();
            cuts.sort_unstable();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime.block_on(async {
                let (_, repository) = repository(&std::env::temp_dir());
                let mut upload = repository.begin_upload(Algorithm::Sha256);
                for pair in cuts.windows(2) {
                    upload.write(content.slice(pair[0]..pair[1])).await?;
                }
                let digest = Algorithm::Sha256.digest(&content);
                upload.commit(&digest).await?;
                read(&repository, &digest).await
            });
            prop_assert_eq!(found.unwrap(), content);
        }
    }
}
