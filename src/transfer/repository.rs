//! A repository of a bucket as a place to copy from and to.

use async_trait::async_trait;
use storage_layout::{ByteStream, Descriptor, Error as BucketError, Manifest, Reference, Repository, Tag};

use super::{Error, Source, Target};

/// An image in a bucket, to be read.
#[derive(Debug)]
pub struct BucketSource {
    repository: Repository,
    reference: Reference,
}

impl BucketSource {
    /// Makes a source of what `reference` stands for. Nothing is read yet.
    pub fn new(repository: Repository, reference: Reference) -> Self {
        Self { repository, reference }
    }
}

#[async_trait]
impl Source for BucketSource {
    async fn root(&self) -> Result<Manifest, Error> {
        Ok(self.repository.get_manifest(&self.reference).await?)
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        Ok(self.repository.get_manifest(&Reference::Digest(descriptor.digest.clone())).await?)
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        Ok(self.repository.read_blob(&descriptor.digest).await?.stream)
    }
}

/// A tag in a bucket, to be written.
#[derive(Debug)]
pub struct BucketTarget {
    repository: Repository,
    tag: Tag,
}

impl BucketTarget {
    /// Makes a target that will set `tag`. Nothing is written yet.
    pub fn new(repository: Repository, tag: Tag) -> Self {
        Self { repository, tag }
    }
}

#[async_trait]
impl Target for BucketTarget {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        match self.repository.adopt_blob(&descriptor.digest).await {
            Ok(stat) => Ok(stat.size == descriptor.size),
            Err(BucketError::BlobUnknown(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error> {
        self.repository.put_blob(&descriptor.digest, Some(descriptor.size), body).await?;
        Ok(())
    }

    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        Ok(self.repository.put_manifest(manifest, &[]).await?)
    }

    async fn commit(&self, root: &Manifest) -> Result<(), Error> {
        Ok(self.repository.put_manifest(root, std::slice::from_ref(&self.tag)).await?)
    }
}
