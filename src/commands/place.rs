//! Places that commands take, once their text and flags are read.

use std::fmt;
use std::sync::Arc;

use storage_layout::{Digest, Reference, Selector, Store, Tag};

use super::Context;
use crate::archive::ArchivePlace;
use crate::backend::{BackendConfig, BucketRef, Intent};
use crate::cache::{BlobCache, CachedRepository};
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

/// Where a copy comes from: what is there need not be sent to another place of the same kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near<'a> {
    /// The place.
    pub(super) place: &'a RepositoryPlace,
    /// Its repository, if it is one of a bucket.
    pub(super) bucket: Option<&'a storage_layout::Repository>,
}

/// Anywhere that an image can be.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a command has one or two of them")]
pub enum Place {
    /// In a bucket or a remote registry.
    Repository(RepositoryPlace),
    /// On this machine.
    Local(ImagePlace),
}

impl RepositoryPlace {
    /// Returns the tag and the digest, as far as they were written.
    pub(super) fn selector(&self) -> &Selector {
        match self {
            Self::Bucket { place, .. } => &place.selector,
            Self::Registry { reference, .. } => &reference.selector,
        }
    }

    /// Returns the tag, if one was written.
    pub fn tag(&self) -> Option<&Tag> {
        self.selector().tag.as_ref()
    }

    /// Returns the digest, if one was written.
    pub fn digest(&self) -> Option<&Digest> {
        self.selector().digest.as_ref()
    }

    /// Returns what to ask the repository for: the digest if there is one, else the tag, else `latest`.
    pub(super) fn reference(&self) -> Reference {
        self.selector().reference()
    }

    /// Returns the tag, or `latest` if none was written.
    pub(super) fn tag_or_latest(&self) -> Tag {
        self.selector().tag_or_latest()
    }

    /// Tells whether it is in a folder of this machine, which a push makes where it is absent.
    pub(super) fn is_folder(&self) -> bool {
        matches!(self, Self::Bucket { backend: BackendConfig::Fs(_), .. })
    }

    /// Returns the image's name as Docker would take it, where it has a tag: that of a bucket is not part of it.
    pub(super) fn image_name(&self) -> Option<String> {
        let tag = self.selector().tag_meant()?;
        Some(match self {
            Self::Bucket { place, .. } => format!("{}:{tag}", place.repository),
            Self::Registry { reference, .. } => format!("{}/{}:{tag}", reference.registry, reference.repository),
        })
    }

    /// Returns the place as the tag names it that is meant; a digest alone means none.
    #[must_use]
    pub(super) fn by_tag(&self) -> Self {
        self.with_selector(self.selector().by_tag())
    }

    /// Returns the place with another tag or digest, or with none.
    #[must_use]
    pub fn with_reference(&self, reference: Option<&Reference>) -> Self {
        self.with_selector(reference.cloned().map(Selector::from).unwrap_or_default())
    }

    fn with_selector(&self, selector: Selector) -> Self {
        let mut other = self.clone();
        match &mut other {
            Self::Bucket { place, .. } => place.selector = selector,
            Self::Registry { reference, .. } => reference.selector = selector,
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

impl fmt::Display for ImagePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Docker(name) => write!(f, "docker-daemon:{name}"),
            Self::Archive(place) => place.fmt(f),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(place) => place.fmt(f),
            Self::Local(place) => place.fmt(f),
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
        let repository = self.repository_near(place, None, intent).await?;
        match &self.settings.cache {
            // What is on this machine already need not be kept a second time, and what is written is not read again.
            Some((folder, limits)) if matches!(intent, Intent::Read) && !place.is_folder() => {
                let cache = BlobCache::open(folder, *limits)
                    .map_err(|error| CommandError::because("cannot use the cache", error))?;
                Ok(Arc::new(CachedRepository::new(repository, cache)))
            }
            _ => Ok(repository),
        }
    }

    /// Opens a repository to copy to. What `source` has in the same registry, or in a bucket of the same service, need not be sent.
    pub(super) async fn repository_near(
        &self,
        place: &RepositoryPlace,
        source: Option<Near<'_>>,
        intent: Intent,
    ) -> Result<Arc<dyn Repository>, CommandError> {
        let because = |error: Box<dyn std::error::Error + Send + Sync>| {
            CommandError::because(format!("cannot open {}", place.with_reference(None)), error)
        };
        match place {
            RepositoryPlace::Bucket { backend, place }
                if let Some(Near {
                    place: RepositoryPlace::Bucket { backend: near, place: from },
                    bucket: Some(source),
                }) = source =>
            {
                let opening = Box::pin(backend.connect_near(&place.bucket, intent, near, &from.bucket));
                let (objects, by) = opening.await.map_err(|error| because(error.into()))?;
                let repository = Store::new(objects, self.store_options()).repository(&place.repository);
                Ok(Arc::new(match by {
                    Some(by) => repository.copying_from(source, by),
                    None => repository,
                }))
            }
            RepositoryPlace::Bucket { backend, place } => {
                let store = self.open(backend, &place.bucket, intent).await.map_err(|error| because(error.into()))?;
                Ok(Arc::new(store.repository(&place.repository)))
            }
            RepositoryPlace::Registry { reference, options } => {
                let repository = remote::connect(reference, options).map_err(|error| because(error.into()))?;
                Ok(Arc::new(match source.map(|near| near.place) {
                    Some(RepositoryPlace::Registry { reference: near, .. }) if near.registry == reference.registry => {
                        repository.mounting_from(near.repository.clone())
                    }
                    _ => repository,
                }))
            }
        }
    }
}
