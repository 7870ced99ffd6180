//! What can go wrong with a bucket, by meaning.

use std::io;

use crate::digest::Digest;
use crate::key::Key;
use crate::name::{Reference, RepositoryName};

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. `…Unknown` and `…NotFound` mean absence that the store itself confirmed; a store that did not answer is
/// always [`Error::Store`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no digest that we take.
    #[error("\"{0}\" is not a digest (sha256: or sha512:, then lowercase hexadecimal)")]
    DigestInvalid(String),
    /// The text is no repository name.
    #[error(
        "\"{0}\" is not a repository name (lowercase letters and digits, separated by . _ __ - and /, at most 255 characters)"
    )]
    NameInvalid(String),
    /// The text is no tag.
    #[error("\"{0}\" is not a tag (letters, digits, _ . -, at most 128 characters)")]
    TagInvalid(String),
    /// The repository has no such blob.
    #[error("blob {0} not found")]
    BlobUnknown(Digest),
    /// The repository has no such manifest.
    #[error("repository {repository} has no {}", kind_and_name(reference))]
    ManifestUnknown {
        /// The repository that was asked.
        repository: RepositoryName,
        /// What it was asked for.
        reference: Reference,
    },
    /// A manifest names a blob that is not in the bucket, or is there with another size.
    #[error("the manifest names {digest} with {expected} bytes, but {found}")]
    ManifestBlobUnknown {
        /// The blob's digest.
        digest: Digest,
        /// The size that the manifest states, in bytes.
        expected: u64,
        /// What was found instead, as a clause.
        found: String,
    },
    /// The bytes are no manifest.
    #[error("not a manifest: {0}")]
    ManifestInvalid(String),
    /// The manifest is larger than we take.
    #[error("the manifest is larger than {limit} bytes")]
    ManifestTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Received bytes have another digest than was promised.
    #[error("the content has digest {actual}, not {expected}")]
    DigestMismatch {
        /// The digest that was promised.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// Received bytes have another length than was promised.
    #[error("{digest} came with {actual} bytes, {expected} were promised")]
    SizeMismatch {
        /// The content's digest.
        digest: Digest,
        /// The length that was promised, in bytes.
        expected: u64,
        /// The length of what came, in bytes.
        actual: u64,
    },
    /// An object in the bucket is not what its key says.
    #[error("the bucket is damaged: {key} {found}")]
    Corrupt {
        /// The object's key.
        key: String,
        /// What is wrong with it, as a clause.
        found: String,
    },
    /// The sender of a body failed.
    #[error("reading the content to store")]
    Body(#[source] io::Error),
    /// The spool file cannot be made, written or read.
    #[error("using a spool file in {directory}")]
    Spool {
        /// The folder that it is in.
        directory: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error("{attempted} {key}")]
    Store {
        /// What was attempted, such as `reading`.
        attempted: &'static str,
        /// The object's key or the prefix.
        key: String,
        /// The store's own error.
        #[source]
        source: object_store::Error,
    },
}

fn kind_and_name(reference: &Reference) -> String {
    match reference {
        Reference::Tag(tag) => format!("tag {tag}"),
        Reference::Digest(digest) => format!("manifest {digest}"),
    }
}

impl Error {
    /// Makes of the error that the stream of a [`BlobReader`](crate::BlobReader) ended in what it means: a damaged blob, or a
    /// store that failed.
    pub fn from_blob_stream(digest: &Digest, error: io::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(corrupt) => return corrupt,
            Err(error) => error,
        };
        let key = Key::BlobData(digest.clone()).path().to_string();
        let generic = |source| object_store::Error::Generic { store: "blob", source };
        let source = match error.downcast::<object_store::Error>() {
            Ok(source) => source,
            Err(error) => generic(error.into()),
        };
        Self::Store { attempted: "reading", key, source }
    }

    /// Tells whether the error means that what was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::BlobUnknown(_) | Self::ManifestUnknown { .. })
    }
}
