//! A repository as a place to copy from and to.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use storage_layout::{ByteStream, Descriptor, Digest, Manifest, Reference, Tag};

use super::{Error, Referrer, Source, Target, referrers};

/// What a bucket's repository and a remote registry's have in common: manifests by tag or digest, blobs, tags, referrers.
#[async_trait]
pub trait Repository: Send + Sync + fmt::Debug {
    /// Returns a manifest, verified.
    ///
    /// # Errors
    /// [`Error::is_not_found`] if there is none.
    async fn get_manifest(&self, reference: &Reference) -> Result<Manifest, Error>;

    /// Stores a manifest, whose blobs are there already, and then sets `tags` to it.
    async fn put_manifest(&self, manifest: &Manifest, tags: &[Tag]) -> Result<(), Error>;

    /// Deletes a manifest, and with it the tags that name it.
    ///
    /// # Errors
    /// [`Error::is_not_found`] if there is none.
    async fn delete_manifest(&self, digest: &Digest) -> Result<(), Error>;

    /// Tells whether a blob is there, with its size. A blob that can be had without sending it, from elsewhere in the same
    /// bucket or registry, is there afterwards.
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error>;

    /// Returns a blob's size in bytes, or `None` if it would have to be sent. Unlike [`Repository::has_blob`] this changes nothing.
    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error>;

    /// Returns a blob's bytes. They need not be verified: every target does that.
    ///
    /// # Errors
    /// [`Error::is_not_found`] if there is none.
    async fn get_blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error>;

    /// Stores a blob. It becomes visible only if the bytes have the descriptor's digest and size.
    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error>;

    /// Returns the repository of a bucket that this is, or stands for.
    fn bucket(&self) -> Option<&storage_layout::Repository> {
        None
    }

    /// Returns all tags, in byte order.
    ///
    /// # Errors
    /// [`Error::is_not_found`] if there is no such repository.
    async fn tags(&self) -> Result<Vec<Tag>, Error>;

    /// Returns descriptors of the manifests whose subject is `subject`. Nothing refers to a subject that does not exist.
    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error>;

    /// Waits until what failed writes had begun is cleaned up. To be called before the process ends.
    async fn settle(&self) {}
}

/// What a reference names in a repository, to be read.
#[derive(Debug)]
pub struct RepositorySource {
    repository: Arc<dyn Repository>,
    reference: Reference,
}

impl RepositorySource {
    /// Makes a source of what `reference` stands for. Nothing is read yet.
    pub fn new(repository: Arc<dyn Repository>, reference: Reference) -> Self {
        Self { repository, reference }
    }
}

#[async_trait]
impl Source for RepositorySource {
    async fn root(&self) -> Result<Manifest, Error> {
        self.repository.get_manifest(&self.reference).await
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        self.repository.get_manifest(&Reference::Digest(descriptor.digest.clone())).await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        self.repository.get_blob(descriptor).await
    }

    fn bucket(&self) -> Option<&storage_layout::Repository> {
        self.repository.bucket()
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        referrers::in_repository(self.repository.as_ref(), subject).await
    }
}

/// A repository, and the tag to set in it.
#[derive(Debug)]
pub struct RepositoryTarget {
    repository: Arc<dyn Repository>,
    tags: Vec<Tag>,
}

impl RepositoryTarget {
    /// Makes a target that will set `tag`, or with none leave an image that only its digest names. Nothing is written yet.
    pub fn new(repository: Arc<dyn Repository>, tag: Option<Tag>) -> Self {
        Self { repository, tags: tag.into_iter().collect() }
    }
}

#[async_trait]
impl Target for RepositoryTarget {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        self.repository.has_blob(descriptor).await
    }

    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error> {
        self.repository.put_blob(descriptor, body).await
    }

    fn copies_blobs(&self) -> bool {
        self.repository.bucket().is_some_and(storage_layout::Repository::copies_blobs)
    }

    async fn copy_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        match self.repository.bucket() {
            Some(bucket) => Ok(bucket.copy_blob(&descriptor.digest, descriptor.size).await?),
            None => Ok(false),
        }
    }

    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        self.repository.put_manifest(manifest, &[]).await
    }

    fn takes_referrers(&self) -> bool {
        true
    }

    async fn put_referrer(&self, manifest: &Manifest, tag: Option<&Tag>) -> Result<(), Error> {
        self.repository.put_manifest(manifest, tag.map_or(&[], std::slice::from_ref)).await
    }

    async fn would_have_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        Ok(self.repository.blob_size(&descriptor.digest).await? == Some(descriptor.size))
    }

    async fn commit(&self, root: &Manifest) -> Result<(), Error> {
        self.repository.put_manifest(root, &self.tags).await
    }
}
