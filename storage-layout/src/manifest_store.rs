//! Storing and reading manifests: the write order lives here.

use bytes::Bytes;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::link;
use crate::manifest::{Descriptor, MAX_MANIFEST_SIZE, Manifest};
use crate::name::{Reference, Tag};
use crate::objects::for_each;
use crate::store::Repository;

impl Repository {
    /// Stores a manifest and then sets `tags` to it.
    ///
    /// Every blob that it names must be in the bucket with the size that it states, and is linked to this repository. Foreign
    /// layers may be absent, and so may manifests of an index: a sparse index is legal.
    ///
    /// # Errors
    /// [`Error::ManifestBlobUnknown`] if one is not there.
    pub async fn put_manifest(&self, manifest: &Manifest, tags: &[Tag]) -> Result<()> {
        for_each(manifest.blobs().cloned(), |descriptor| self.require_blob(descriptor)).await?;
        for_each(manifest.manifests().to_vec(), |descriptor| self.check_child(descriptor)).await?;
        let digest = manifest.digest();
        // Written even when it is there: that mends one which is damaged.
        self.objects().write(&Key::BlobData(digest.clone()).path(), manifest.bytes().clone()).await?;
        link::write(self.objects(), &Key::RevisionLink(self.name.clone(), digest.clone()), digest).await?;
        self.store.inner.sizes.learn(manifest);
        if let Some(subject) = manifest.subject() {
            self.link_referrer(&subject.digest, digest).await?;
        }
        for tag in tags {
            self.set_tag(tag, digest).await?;
        }
        Ok(())
    }

    async fn require_blob(&self, descriptor: Descriptor) -> Result<()> {
        let digest = &descriptor.digest;
        let unknown =
            |found: String| Error::ManifestBlobUnknown { digest: digest.clone(), expected: descriptor.size, found };
        // Links are looked at first: most are there, and reading is cheaper than writing.
        let (linked, size) = tokio::try_join!(self.whole_link(digest), self.store.data_size(digest))?;
        let size = match &linked {
            // Kept under another algorithm, as Docker's registry does with sha512.
            Some(stored) if size.is_none() && stored != digest => self.store.data_size(stored).await?,
            _ => size,
        };
        match size {
            Some(size) if size == descriptor.size => match linked {
                Some(_) => Ok(()),
                None => self.link_blob(digest).await,
            },
            Some(size) => Err(unknown(format!("the bucket has it with {size} bytes"))),
            None if descriptor.is_foreign() || self.store.inner.options.allow_missing_blobs => Ok(()),
            None => Err(unknown("the bucket has not got it".to_owned())),
        }
    }

    async fn check_child(&self, descriptor: Descriptor) -> Result<()> {
        match self.store.data_size(&descriptor.digest).await? {
            Some(size) if size != descriptor.size => Err(Error::ManifestBlobUnknown {
                digest: descriptor.digest.clone(),
                expected: descriptor.size,
                found: format!("the bucket has it with {size} bytes"),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the digest that a reference stands for.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] if the repository has no such tag or manifest.
    pub async fn resolve(&self, reference: &Reference) -> Result<Digest> {
        let key = match reference {
            Reference::Tag(tag) => Key::TagCurrent(self.name.clone(), tag.clone()),
            Reference::Digest(digest) => Key::RevisionLink(self.name.clone(), digest.clone()),
        };
        link::read(self.objects(), &key).await?.ok_or_else(|| self.unknown(reference))
    }

    /// Returns a manifest, verified.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] if the repository has no such tag or manifest; [`Error::Corrupt`] if what is stored has
    /// another digest.
    pub async fn get_manifest(&self, reference: &Reference) -> Result<Manifest> {
        match reference {
            Reference::Tag(_) => self.get_linked_manifest(&self.resolve(reference).await?).await,
            Reference::Digest(digest) => {
                Ok(tokio::try_join!(self.resolve(reference), self.get_linked_manifest(digest))?.1)
            }
        }
    }

    /// Returns a manifest that this repository has a link to, verified.
    pub(crate) async fn get_linked_manifest(&self, digest: &Digest) -> Result<Manifest> {
        let bytes = self.read_manifest(digest).await?;
        let bytes = bytes.ok_or_else(|| self.unknown(&Reference::Digest(digest.clone())))?;
        let key = || Key::BlobData(digest.clone()).path().to_string();
        match Manifest::parse(bytes, digest.algorithm(), None) {
            Ok(manifest) if manifest.digest() == digest => Ok(manifest),
            Ok(manifest) => {
                Err(Error::Corrupt { key: key(), found: format!("holds a manifest with digest {}", manifest.digest()) })
            }
            Err(error) => Err(Error::Corrupt { key: key(), found: format!("cannot be read as a manifest: {error}") }),
        }
    }

    async fn read_manifest(&self, digest: &Digest) -> Result<Option<Bytes>> {
        self.objects().read(&Key::BlobData(digest.clone()).path(), MAX_MANIFEST_SIZE).await
    }

    pub(crate) fn unknown(&self, reference: &Reference) -> Error {
        Error::ManifestUnknown { repository: self.name.clone(), reference: reference.clone() }
    }

    /// Deletes a manifest: first the tags that name it, then the manifest itself. Its data stays for other repositories.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] if the repository has no such manifest.
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<()> {
        let reference = Reference::Digest(digest.clone());
        self.resolve(&reference).await?;
        let tags = for_each(self.tag_names().await?, |tag| async move {
            match link::read(self.objects(), &Key::TagCurrent(self.name.clone(), tag.clone())).await {
                Ok(current) => Ok((current.as_ref() == Some(digest)).then_some(tag)),
                // A damaged tag names nothing, this manifest neither.
                Err(Error::Corrupt { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        });
        for tag in tags.await?.into_iter().flatten() {
            self.delete_tag(&tag).await?;
        }
        // What it refers to is needed to find its entry among the referrers. One that cannot be read any more leaves the entry,
        // which is passed over as the manifest is gone.
        match self.get_manifest(&reference).await {
            Ok(manifest) => {
                if let Some(subject) = manifest.subject() {
                    self.unlink_referrer(&subject.digest, digest).await?;
                }
            }
            Err(Error::ManifestUnknown { .. } | Error::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        self.objects().delete(&Key::RevisionLink(self.name.clone(), digest.clone()).path()).await
    }
}
