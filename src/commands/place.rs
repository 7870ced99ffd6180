//! Places that commands take, once their text and flags are read.

use std::fmt;
use std::sync::Arc;

use storage_layout::{Digest, Reference, Tag};

use super::Context;
use crate::archive::ArchivePlace;
use crate::backend::{BackendConfig, BucketRef, Intent};
use crate::remote::{self, RemoteOptions, RemoteReference};
use crate::transfer::Repository;
use crate::ui::CommandError;

/// Where an image is on this machine.
#[derive(Clone, Debug)]
pub enum ImagePlace {
    /// In the Docker daemon, by name.
    Docker(String),
    /// In a file or folder.
    Archive(ArchivePlace),
}

/// A repository of a bucket or a remote registry, and maybe a tag or digest in it.
#[derive(Clone, Debug)]
pub enum RepositoryPlace {
    /// `s3://BUCKET/NAME[:TAG][@DIGEST]`, also `gs://`, `az://` and `fs://`.
    Bucket {
        /// The storage.
        backend: BackendConfig,
        /// The bucket, the repository, and the tag or digest.
        place: BucketRef,
    },
    /// `docker://HOST/NAME[:TAG][@DIGEST]`.
    Registry {
        /// The registry, the repository, and the tag or digest.
        reference: RemoteReference,
        /// How the registry is spoken to.
        options: RemoteOptions,
    },
}

impl RepositoryPlace {
    /// Returns the tag, if one was written.
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Bucket { place, .. } => place.tag.as_ref(),
            Self::Registry { reference, .. } => reference.tag.as_ref(),
        }
    }

    /// Returns the digest, if one was written.
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Bucket { place, .. } => place.digest.as_ref(),
            Self::Registry { reference, .. } => reference.digest.as_ref(),
        }
    }

    /// Returns what to ask the repository for: the digest if there is one, else the tag, else `latest`.
    pub fn reference(&self) -> Reference {
        match self {
            Self::Bucket { place, .. } => place.reference(),
            Self::Registry { reference, .. } => reference.reference(),
        }
    }

    /// Returns the place with another tag or digest, or with none.
    #[must_use]
    pub fn with_reference(&self, reference: Option<&Reference>) -> Self {
        let (tag, digest) = match reference {
            None => (None, None),
            Some(Reference::Tag(tag)) => (Some(tag.clone()), None),
            Some(Reference::Digest(digest)) => (None, Some(digest.clone())),
        };
        let mut other = self.clone();
        match &mut other {
            Self::Bucket { place, .. } => (place.tag, place.digest) = (tag, digest),
            Self::Registry { reference, .. } => (reference.tag, reference.digest) = (tag, digest),
        }
        other
    }
}

impl fmt::Display for RepositoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket { backend, place } => write!(f, "{}://{place}", backend.scheme()),
            Self::Registry { reference, .. } => write!(f, "docker://{reference}"),
        }
    }
}

impl Context {
    /// Opens a repository. Whether it exists is not asked; a bucket must be there, or for [`Intent::Write`] be a folder that can
    /// be made.
    pub(super) async fn repository(
        &self,
        place: &RepositoryPlace,
        intent: Intent,
    ) -> Result<Arc<dyn Repository>, CommandError> {
        let because = |error: Box<dyn std::error::Error + Send + Sync>| {
            CommandError::because(format!("cannot open {}", place.with_reference(None)), error)
        };
        match place {
            RepositoryPlace::Bucket { backend, place } => {
                let store = self.open(backend, &place.bucket, intent).await.map_err(|error| because(error.into()))?;
                Ok(Arc::new(store.repository(&place.repository)))
            }
            RepositoryPlace::Registry { reference, options } => {
                Ok(Arc::new(remote::connect(reference, options).map_err(|error| because(error.into()))?))
            }
        }
    }
}
