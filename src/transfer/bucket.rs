//! A bucket's repository.

use async_trait::async_trait;
use storage_layout::{ByteStream, Descriptor, Digest, Error as BucketError, Manifest, Reference, Tag};

use super::{Error, Repository};

#[async_trait]
impl Repository for storage_layout::Repository {
    async fn get_manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        Ok(Self::get_manifest(self, reference).await?)
    }

    async fn put_manifest(&self, manifest: &Manifest, tags: &[Tag]) -> Result<(), Error> {
        Ok(Self::put_manifest(self, manifest, tags).await?)
    }

    async fn delete_manifest(&self, digest: &Digest) -> Result<(), Error> {
        Ok(Self::delete_manifest(self, digest).await?)
    }

    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        Ok(self.adopt_blob_of_size(&descriptor.digest, descriptor.size).await?)
    }

    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        match self.locate_blob(digest).await {
            Ok(stat) => Ok(Some(stat.size)),
            Err(BucketError::BlobUnknown(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn get_blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        Ok(self.read_blob(&descriptor.digest).await?.stream)
    }

    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error> {
        Self::put_blob(self, &descriptor.digest, Some(descriptor.size), body).await?;
        Ok(())
    }

    fn bucket(&self) -> Option<&storage_layout::Repository> {
        Some(self)
    }

    async fn tags(&self) -> Result<Vec<Tag>, Error> {
        let tags = self.list_tags(None, None).await?.items;
        if tags.is_empty() && !self.exists().await? {
            return Err(Error::NotFound(format!("the bucket has no repository {}", self.name())));
        }
        Ok(tags)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        Ok(Self::referrers(self, subject, None).await?)
    }

    async fn settle(&self) {
        self.store().settle().await;
    }
}
