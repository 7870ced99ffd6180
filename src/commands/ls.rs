//! `ls`: what a registry, a bucket or a repository holds.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use storage_layout::{Digest, Reference, RepositoryName, Tag};

use super::{Context, RepositoryPlace, tags};
use crate::backend::{BackendConfig, Intent};
use crate::remote::{RegistryName, RemoteOptions, RemoteRegistry};
use crate::transfer::{Error, Image, RepositorySource, Source};
use crate::ui::{Bytes, CommandError, Format};

/// What to list.
#[derive(Clone, Debug)]
pub enum Request {
    /// The repositories of a bucket.
    Bucket {
        /// The storage.
        backend: BackendConfig,
        /// The bucket.
        bucket: String,
    },
    /// The repositories of a registry.
    Registry {
        /// The registry.
        name: RegistryName,
        /// How it is spoken to.
        options: RemoteOptions,
    },
    /// The tags of a repository.
    Repository(RepositoryPlace),
}

#[derive(Serialize)]
struct Repositories {
    place: String,
    repositories: Vec<RepositoryName>,
}

#[derive(Serialize)]
struct Tags {
    repository: String,
    tags: Vec<TagEntry>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TagEntry {
    tag: Tag,
    digest: Digest,
    media_type: String,
    /// The length of the manifest, in bytes.
    size: u64,
    /// All configs and layers together, each once, in bytes; absent where not all of the image is there.
    content_size: Option<u64>,
}

/// Lists.
///
/// # Errors
/// If there is no such bucket or repository, or the registry keeps its catalog to itself.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    match request {
        Request::Bucket { backend, bucket } => {
            let place = format!("{}://{bucket}", backend.scheme());
            let attempted = format!("cannot list the repositories of {place}");
            let work = context.unless_stopped(format!("listing {place}"), async {
                let store = context.open(&backend, &bucket, Intent::Read).await;
                let store = store.map_err(|error| CommandError::because(attempted.clone(), error))?;
                store.repositories().await.map_err(|error| CommandError::because(attempted.clone(), error))
            });
            let repositories = work.await?;
            tell_repositories(Repositories { place, repositories }, context)
        }
        Request::Registry { name, options } => {
            let place = format!("docker://{name}");
            let work = context.unless_stopped(format!("listing {place}"), async {
                let registry = RemoteRegistry::connect(&name, &options);
                let listed = match registry {
                    Ok(registry) => registry.repositories().await,
                    Err(error) => Err(error),
                };
                listed.map_err(|error| CommandError::because(format!("cannot list the repositories of {place}"), error))
            });
            let repositories = work.await?;
            tell_repositories(Repositories { place, repositories }, context)
        }
        Request::Repository(place) => list_tags(&place, context).await,
    }
}

fn tell_repositories(listed: Repositories, context: &Context) -> Result<(), CommandError> {
    if context.printer.format() == Format::Json {
        return context.printer.document(&listed);
    }
    for name in listed.repositories {
        context.printer.result(name.as_str());
    }
    Ok(())
}

async fn list_tags(place: &RepositoryPlace, context: &Context) -> Result<(), CommandError> {
    let work = context.unless_stopped(format!("listing {place}"), async {
        let repository = context.repository(place, Intent::Read).await?;
        let names = tags::list(repository.as_ref(), place).await?;
        let entries = futures::stream::iter(names).map(|tag| {
            let source = RepositorySource::new(Arc::clone(&repository), Reference::Tag(tag.clone()));
            async move { entry(&source, tag).await }
        });
        let entries = entries.buffered(context.settings.jobs).try_collect::<Vec<_>>().await;
        entries.map_err(|error| CommandError::because(format!("cannot list {place}"), error))
    });
    // A tag may go while the list is made.
    let tags: Vec<TagEntry> = work.await?.into_iter().flatten().collect();
    if context.printer.format() == Format::Json {
        return context.printer.document(&Tags { repository: place.to_string(), tags });
    }
    let width = tags.iter().map(|entry| entry.tag.as_str().len()).max().unwrap_or_default();
    for TagEntry { tag, digest, content_size, .. } in tags {
        let size = content_size.map_or_else(|| "incomplete".to_owned(), |size| Bytes(size).to_string());
        context.printer.result(&format!("{:width$}  {digest}  {size}", tag.as_str()));
    }
    Ok(())
}

async fn entry(source: &RepositorySource, tag: Tag) -> Result<Option<TagEntry>, Error> {
    let root = match source.root().await {
        Ok(root) => root,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let (_, content_size) = Image::measured(source, root.clone()).await?;
    let (digest, media_type, size) = (root.digest().clone(), root.media_type().to_owned(), root.size());
    Ok(Some(TagEntry { tag, digest, media_type, size, content_size }))
}
