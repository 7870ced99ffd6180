//! Moving images between the places that hold them.
//!
//! A bucket, an archive, a daemon and a remote registry are each a [`Source`], a [`Target`] or both, and [`copy_image`] is the
//! one routine between them: children first, manifests after their blobs, the name last.

mod bucket;
mod copy;
mod error;
mod platform;
mod referrers;
mod report;
mod repository;

use async_trait::async_trait;
pub use storage_layout::ByteStream;
use storage_layout::{Descriptor, Digest, Manifest, Tag};

pub use copy::{Copied, CopiedBlob, CopyOptions, Image, MAX_CONFIG, copy_image, read_small};
pub use error::Error;
pub use platform::{ATTESTED, PlatformFilter, platform_name};
pub use referrers::{Attached, Referrer, cosign_tags, is_digest_tag};
pub(crate) use report::TITLE;
pub use report::{BlobProgress, BlobStatus, Label, Reporter};
pub use repository::{Repository, RepositorySource, RepositoryTarget};

/// Where an image is read from.
#[async_trait]
pub trait Source: Send + Sync {
    /// Returns what the place's name or reference stands for: an image manifest or an index.
    async fn root(&self) -> Result<Manifest, Error>;

    /// Returns a manifest that [`Source::root`], or an index below it, names.
    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error>;

    /// Returns the bytes of a config or layer. They need not be verified: every target does that.
    async fn blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error>;

    /// Returns the repository of a bucket that this is, if it is one: its service may copy blobs from there by itself.
    fn bucket(&self) -> Option<&storage_layout::Repository> {
        None
    }

    /// Returns what is attached to a manifest of this place from outside. Most places that are files know nothing of that.
    async fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        let _ = subject;
        Ok(Vec::new())
    }
}

/// Where an image is written to.
#[async_trait]
pub trait Target: Send + Sync {
    /// Tells whether the place has the blob, with its size.
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error>;

    /// Stores a blob. It becomes visible only if the bytes have the descriptor's digest and size.
    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error>;

    /// Tells whether [`Target::copy_blob`] is worth a try.
    fn copies_blobs(&self) -> bool {
        false
    }

    /// Has the place get a blob from the source by itself. `false` means that it has to be sent.
    async fn copy_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        let _ = descriptor;
        Ok(false)
    }

    /// Stores a manifest that an index names. Its blobs and manifests are there already.
    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error>;

    /// Tells whether the place can hold what is attached to an image from outside.
    fn takes_referrers(&self) -> bool {
        false
    }

    /// Stores a manifest that is attached to another one: by the subject that it names, or by `tag`. Its blobs and manifests are
    /// there already; what it is attached to may come later.
    ///
    /// # Errors
    /// [`Error::Invalid`] where [`Target::takes_referrers`] says that there can be none.
    async fn put_referrer(&self, manifest: &Manifest, tag: Option<&Tag>) -> Result<(), Error> {
        let _ = tag;
        Err(Error::Invalid(format!(
            "{} is attached to the image, and nothing can be attached there",
            manifest.digest()
        )))
    }

    /// Tells what [`Target::has_blob`] would, and changes nothing.
    async fn would_have_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        self.has_blob(descriptor).await
    }

    /// Stores the manifest that the place's name is to stand for, and names it. This is the commit: before it nobody who looks
    /// at the place sees anything of the image, after it everything is there.
    async fn commit(&self, root: &Manifest) -> Result<(), Error>;
}

#[cfg(test)]
mod tests;
