//! Blobs and manifests that were read once, kept on this machine.
//!
//! A cache is a folder with what an OCI image layout has below `blobs/`, so that it may be shared with oras. What is asked for by
//! digest is the same wherever it comes from, and is verified before it is handed out. Names are always asked for where they are.

mod blobs;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use storage_layout::{ByteStream, Descriptor, Digest, MAX_MANIFEST_SIZE, Manifest, Reference, Tag};

use crate::transfer::{Error, Repository};
pub use blobs::{BlobCache, CacheLimits};

/// A repository of which what was read once is read from the cache.
#[derive(Debug)]
pub struct CachedRepository {
    inner: Arc<dyn Repository>,
    cache: BlobCache,
}

impl CachedRepository {
    /// Puts a cache before a repository.
    pub fn new(inner: Arc<dyn Repository>, cache: BlobCache) -> Self {
        Self { inner, cache }
    }

    async fn cached_manifest(&self, digest: &Digest) -> Result<Option<Manifest>, Error> {
        let Some(found) = self.cache.find(digest, None).await else { return Ok(None) };
        if found.size() > MAX_MANIFEST_SIZE {
            return Ok(None);
        }
        let bytes = found.bytes(self.cache.folder()).await?;
        // A document that does not say what it is, said it in an answer that is not kept; it is not in the cache.
        Ok(Manifest::parse(bytes, digest.algorithm(), None).ok())
    }

    async fn keep_manifest(&self, manifest: &Manifest) {
        let says_what_it_is = Manifest::parse(manifest.bytes().clone(), manifest.digest().algorithm(), None)
            .is_ok_and(|read| read.media_type() == manifest.media_type());
        if says_what_it_is {
            let bytes = manifest.bytes().clone();
            let body = self.cache.keeping(&manifest.descriptor(), stream::once(async { Ok(bytes) }).boxed()).await;
            // What the cache cannot keep is no failure, and the bytes are there already.
            body.for_each(|_| async {}).await;
        }
    }
}

#[async_trait]
impl Repository for CachedRepository {
    async fn get_manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        if let Reference::Digest(digest) = reference
            && let Some(manifest) = self.cached_manifest(digest).await?
        {
            return Ok(manifest);
        }
        let manifest = self.inner.get_manifest(reference).await?;
        self.keep_manifest(&manifest).await;
        Ok(manifest)
    }

    async fn put_manifest(&self, manifest: &Manifest, tags: &[Tag]) -> Result<(), Error> {
        self.inner.put_manifest(manifest, tags).await
    }

    async fn delete_manifest(&self, digest: &Digest) -> Result<(), Error> {
        self.inner.delete_manifest(digest).await
    }

    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        self.inner.has_blob(descriptor).await
    }

    async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        self.inner.blob_size(digest).await
    }

    async fn get_blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        match self.cache.find(&descriptor.digest, Some(descriptor.size)).await {
            Some(found) => Ok(found.stream()),
            None => Ok(self.cache.keeping(descriptor, self.inner.get_blob(descriptor).await?).await),
        }
    }

    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error> {
        self.inner.put_blob(descriptor, body).await
    }

    fn bucket(&self) -> Option<&storage_layout::Repository> {
        self.inner.bucket()
    }

    async fn tags(&self) -> Result<Vec<Tag>, Error> {
        self.inner.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        self.inner.referrers(subject).await
    }

    async fn settle(&self) {
        self.inner.settle().await;
    }
}
