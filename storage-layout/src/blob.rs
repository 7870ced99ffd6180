//! Blobs: finding, reading, storing, linking.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};

use crate::blob_writer::BlobWriter;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::link;
use crate::name::RepositoryName;
use crate::store::{Repository, Store};
use crate::verified;

/// Bytes as they come.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// What is known of a stored blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobStat {
    /// The digest that it was asked for by.
    pub digest: Digest,
    /// Its size, in bytes.
    pub size: u64,
    /// The digest that its data is kept under. Docker's registry keeps a blob pushed by sha512 under its sha256.
    pub(crate) stored: Digest,
}

/// An open blob.
pub struct BlobReader {
    /// The whole blob's size, in bytes.
    pub size: u64,
    /// The bytes asked for. All that is read is hashed, and the last piece comes only when the whole blob has the right digest:
    /// a damaged blob ends in an error of kind [`io::ErrorKind::InvalidData`], never in the full length.
    pub stream: ByteStream,
}

impl std::fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobReader").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Store {
    /// Returns the size of a blob's data, whichever repository has it, or `None`.
    ///
    /// An object that is empty though its digest is not, is a leftover of a crash and reads as absent: whoever sends the blob
    /// again replaces it.
    pub(crate) async fn data_size(&self, digest: &Digest) -> Result<Option<u64>> {
        let size = self.objects().stat(&Key::BlobData(digest.clone()).path()).await?.map(|meta| meta.size);
        Ok(size.filter(|&size| size > 0 || digest.is_of_nothing()))
    }
}

impl Repository {
    /// Returns the digest that a blob of this repository is kept under, or `None` if the repository has no such blob.
    async fn layer_link(&self, digest: &Digest) -> Result<Option<Digest>> {
        link::read(self.objects(), &Key::LayerLink(self.name.clone(), digest.clone())).await
    }

    /// Looks for a blob of this repository.
    ///
    /// A blob whose stored size is not the one that manifests state, or that is damaged, is answered for as absent, so that it
    /// is sent again and mended.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if the repository has no such blob or has it damaged; [`Error::Corrupt`] if its link is damaged,
    /// which sending the blob again mends as well.
    pub async fn stat_blob(&self, digest: &Digest) -> Result<BlobStat> {
        // Nearly always a blob is kept under its own digest, so both questions are asked at once.
        let (stored, size) = tokio::try_join!(self.layer_link(digest), self.store.data_size(digest))?;
        let unknown = || Error::BlobUnknown(digest.clone());
        let stored = stored.ok_or_else(unknown)?;
        let size = if stored == *digest { size } else { self.store.data_size(&stored).await? };
        let size = size.ok_or_else(unknown)?;
        if !self.store.inner.sizes.confirm(self, &stored, size).await? {
            return Err(unknown());
        }
        Ok(BlobStat { digest: digest.clone(), size, stored })
    }

    /// Looks for a blob in the whole bucket, and links it to this repository if it is in another one.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if the bucket has no such blob or has it damaged.
    pub async fn adopt_blob(&self, digest: &Digest) -> Result<BlobStat> {
        let (linked, size) = tokio::try_join!(self.whole_link(digest), self.store.data_size(digest))?;
        let stored = linked.clone().unwrap_or_else(|| digest.clone());
        let size = if stored == *digest { size } else { self.store.data_size(&stored).await? };
        let unknown = || Error::BlobUnknown(digest.clone());
        let size = size.ok_or_else(unknown)?;
        if !self.store.inner.sizes.confirm(self, &stored, size).await? {
            return Err(unknown());
        }
        if linked.is_none() {
            self.link_blob(digest).await?;
        }
        Ok(BlobStat { digest: digest.clone(), size, stored })
    }

    /// Like [`Repository::adopt_blob`], for a blob that is of use only if it has `size` bytes. Tells whether it is there.
    ///
    /// # Errors
    /// The store's.
    pub async fn adopt_blob_of_size(&self, digest: &Digest, size: u64) -> Result<bool> {
        match self.adopt_blob(digest).await {
            Ok(stat) => Ok(stat.size == size),
            Err(Error::BlobUnknown(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Like [`Repository::layer_link`], but a damaged link is none: whoever asks writes a new one.
    pub(crate) async fn whole_link(&self, digest: &Digest) -> Result<Option<Digest>> {
        match self.layer_link(digest).await {
            Err(Error::Corrupt { .. }) => Ok(None),
            found => found,
        }
    }

    /// Links a blob of another repository to this one. Without `from`, any repository will do.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if there is nothing to mount.
    pub async fn mount_blob(&self, digest: &Digest, from: Option<&RepositoryName>) -> Result<BlobStat> {
        if let Some(from) = from {
            let source = self.store.repository(from);
            if source.layer_link(digest).await?.is_none_or(|stored| stored != *digest) {
                return Err(Error::BlobUnknown(digest.clone()));
            }
        }
        self.adopt_blob(digest).await
    }

    /// Opens a blob of this repository. `range` is in bytes and lies within the blob.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if the repository has no such blob.
    pub async fn open_blob(&self, stat: &BlobStat, range: Option<Range<u64>>) -> Result<BlobReader> {
        let stream = verified::open(&self.store, &stat.stored, &stat.digest, stat.size, range).await?;
        Ok(BlobReader { size: stat.size, stream })
    }

    /// Looks for a blob in order to read it: what it holds is verified on the way, so its size is not confirmed first.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if the repository has no such blob.
    pub async fn find_blob(&self, digest: &Digest) -> Result<BlobStat> {
        let (stored, size) = tokio::try_join!(self.layer_link(digest), self.store.data_size(digest))?;
        let unknown = || Error::BlobUnknown(digest.clone());
        let stored = stored.ok_or_else(unknown)?;
        let size = if stored == *digest { size } else { self.store.data_size(&stored).await? };
        Ok(BlobStat { digest: digest.clone(), size: size.ok_or_else(unknown)?, stored })
    }

    /// Stores a blob whose digest is known and links it. It becomes visible only if the bytes have that digest, and the length
    /// if one is given.
    ///
    /// # Errors
    /// [`Error::DigestMismatch`], [`Error::SizeMismatch`], [`Error::Body`] if `body` fails.
    pub async fn put_blob(
        &self,
        digest: &Digest,
        length: Option<u64>,
        body: impl Stream<Item = io::Result<Bytes>> + Send,
    ) -> Result<u64> {
        let mut body = std::pin::pin!(body);
        let mut writer = BlobWriter::new(&self.store, digest.clone(), length);
        loop {
            match body.next().await {
                Some(Ok(bytes)) => writer.write(bytes).await?,
                Some(Err(error)) => {
                    writer.abort().await;
                    return Err(Error::Body(error));
                }
                None => break,
            }
        }
        let size = writer.finish().await?;
        self.link_blob(digest).await?;
        Ok(size)
    }

    /// Says that this repository has a blob whose data is in the bucket.
    pub(crate) async fn link_blob(&self, digest: &Digest) -> Result<()> {
        link::write(self.objects(), &Key::LayerLink(self.name.clone(), digest.clone()), digest).await
    }

    /// Takes a blob out of this repository. Its data stays for other repositories.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if the repository has no such blob.
    pub async fn delete_blob(&self, digest: &Digest) -> Result<()> {
        let path = Key::LayerLink(self.name.clone(), digest.clone()).path();
        if self.objects().stat(&path).await?.is_none() {
            return Err(Error::BlobUnknown(digest.clone()));
        }
        self.objects().delete(&path).await
    }

    /// Looks for a blob that a manifest of this repository names, in order to read it: a link that was lost does not keep it from
    /// being read, as it would in [`Repository::find_blob`].
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if the bucket has no such blob.
    pub async fn locate_blob(&self, digest: &Digest) -> Result<BlobStat> {
        match self.find_blob(digest).await {
            Err(Error::BlobUnknown(_)) => {
                let size = self.store.data_size(digest).await?.ok_or_else(|| Error::BlobUnknown(digest.clone()))?;
                Ok(BlobStat { digest: digest.clone(), size, stored: digest.clone() })
            }
            found => found,
        }
    }

    /// Opens a blob that a manifest of this repository names, from its start to its end.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`] if the bucket has no such blob.
    pub async fn read_blob(&self, digest: &Digest) -> Result<BlobReader> {
        self.open_blob(&self.locate_blob(digest).await?, None).await
    }

    /// Returns a small blob's bytes, such as a config's, verified.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`]; [`Error::Corrupt`] if the blob is damaged or larger than `limit` bytes.
    pub async fn read_small_blob(&self, digest: &Digest, limit: u64) -> Result<Bytes> {
        let reader = self.read_blob(digest).await?;
        let corrupt = |found: String| Error::Corrupt { key: Key::BlobData(digest.clone()).path().to_string(), found };
        if reader.size > limit {
            return Err(corrupt(format!("has {} bytes where at most {limit} are expected", reader.size)));
        }
        let pieces: Vec<Bytes> =
            reader.stream.try_collect().await.map_err(|error| corrupt(format!("cannot be read: {error}")))?;
        Ok(pieces.concat().into())
    }
}
