//! `push`: an image of this machine goes into a bucket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use storage_layout::{Manifest, Reference, Repository, Tag};

use super::bridge::Bridge;
use super::outcome::{Outcome, Transport};
use super::tally::Tally;
use super::{Context, ImagePlace};
use crate::archive::{self, ArchivePlace, SourceOptions};
use crate::backend::{BackendConfig, BucketRef, Intent};
use crate::docker::{DockerEngine, Error as DockerError, LocalImage};
use crate::transfer::{
    BlobStatus, BucketSource, BucketTarget, CopiedBlob, CopyOptions, PlatformFilter, Source, copy_image,
};
use crate::ui::{CommandError, ExitStatus};

/// What to push, and where to.
#[derive(Debug)]
pub struct Request {
    /// The storage.
    pub backend: BackendConfig,
    /// The bucket, the repository and the tag.
    pub place: BucketRef,
    /// The image; without it the daemon's `NAME:TAG`.
    pub image: Option<ImagePlace>,
    /// The platforms to push; none means all that are there.
    pub platforms: Vec<PlatformFilter>,
    /// Where to write the digest.
    pub digestfile: Option<PathBuf>,
}

/// Pushes an image.
///
/// # Errors
/// Nothing of the image is then visible under the tag, and nothing temporary is left.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    let begun = Instant::now();
    let tag = request.place.tag_or_latest();
    let reference =
        format!("{}://{}/{}:{tag}", request.backend.scheme(), request.place.bucket, request.place.repository);
    let outcome = match &request.image {
        Some(ImagePlace::Archive(place)) => push_archive(&request, place, &tag, &reference, begun, context).await,
        Some(ImagePlace::Docker(name)) => push_docker(&request, Some(name), &tag, &reference, begun, context).await,
        None => push_docker(&request, None, &tag, &reference, begun, context).await,
    }?;
    outcome.tell("pushed", request.digestfile.as_deref(), context)
}

async fn push_archive(
    request: &Request,
    place: &ArchivePlace,
    tag: &Tag,
    reference: &str,
    begun: Instant,
    context: &Context,
) -> Result<Outcome, CommandError> {
    let attempted = format!("cannot push {place}");
    let because = |error| CommandError::because(attempted.clone(), error);
    // A file that cannot be read is found before a bucket is asked, and a folder for a bucket made.
    let source = archive::open_source(place, SourceOptions { spool_dir: context.settings.spool_dir.clone() })
        .await
        .map_err(because)?;
    let store = context
        .open(&request.backend, &request.place.bucket, Intent::Write)
        .await
        .map_err(|error| CommandError::because(attempted.clone(), error))?;
    let target = BucketTarget::new(store.repository(&request.place.repository), tag.clone());
    let options = CopyOptions { platforms: request.platforms.clone(), jobs: context.settings.jobs };
    let copied = context.unless_stopped(format!("pushing {place}"), async {
        copy_image(source.as_ref(), &target, &options, &context.reporter).await.map_err(because)
    });
    let copied = copied.await;
    store.settle().await;
    let copied = copied?;
    Ok(Outcome::new(reference.to_owned(), &copied.root, Transport::Archive, &copied.blobs, begun))
}

async fn push_docker(
    request: &Request,
    name: Option<&str>,
    tag: &Tag,
    reference: &str,
    begun: Instant,
    context: &Context,
) -> Result<Outcome, CommandError> {
    let shown = name.map_or_else(|| format!("{}:{tag}", request.place.repository), str::to_owned);
    let attempted = format!("cannot push {shown}");
    if !request.platforms.is_empty() {
        return Err(CommandError::new(
            ExitStatus::Usage,
            format!("{attempted}: --platform chooses from archives and layouts only"),
        ));
    }
    let because = |error| CommandError::because(attempted.clone(), error);
    // The bucket and the daemon are asked at once: neither knows of the other.
    let bucket = async {
        context
            .open(&request.backend, &request.place.bucket, Intent::Write)
            .await
            .map_err(|error| CommandError::because(attempted.clone(), error))
    };
    let image = async {
        let engine = context.docker().await.map_err(because)?;
        let image = find(&engine, name, request, tag).await?;
        Ok::<_, CommandError>((engine, image))
    };
    let (image, store) = context
        .unless_stopped(format!("pushing {shown}"), async {
            // In this order an image that is not there is told of before a bucket that is not there.
            let (image, store) = tokio::join!(image, bucket);
            Ok((image?, store?))
        })
        .await?;
    let (engine, image) = image;
    let repository = store.repository(&request.place.repository);
    let tally = Tally::new(Arc::clone(&context.reporter));
    let root = push_via_registry(&engine, &image, &repository, tag, &tally, context).await?;
    let blobs =
        contents(&repository, &root, &tally).await.map_err(|error| CommandError::because(attempted.clone(), error))?;
    Ok(Outcome::new(reference.to_owned(), &root, Transport::Registry, &blobs, begun))
}

/// Finds the image to push: the one that was named, else `NAME:TAG`, else `BUCKET/NAME:TAG`, which is what the Go tool of this
/// name took.
async fn find(
    engine: &DockerEngine,
    name: Option<&str>,
    request: &Request,
    tag: &Tag,
) -> Result<LocalImage, CommandError> {
    let place = &request.place;
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => vec![format!("{}:{tag}", place.repository), format!("{}/{}:{tag}", place.bucket, place.repository)],
    };
    for name in &names {
        match engine.image(name).await {
            Ok(image) => return Ok(image),
            Err(DockerError::ImageUnknown(_)) => {}
            Err(error) => return Err(CommandError::because(format!("cannot push {name}"), error)),
        }
    }
    let message = format!("cannot push {}: the Docker daemon has no image of that name", names.join(" or "));
    Err(CommandError::new(ExitStatus::NotFound, message).hint("see `docker image ls`, and name the image with --image"))
}

async fn push_via_registry(
    engine: &DockerEngine,
    image: &LocalImage,
    repository: &Repository,
    tag: &Tag,
    tally: &Arc<Tally>,
    context: &Context,
) -> Result<Manifest, CommandError> {
    let attempted = format!("cannot push {}", image.name);
    let bridge = Bridge::start(repository.store(), repository.name(), false, tally).await?;
    let temporary = bridge.registry.repository(repository.name());
    let pushed = context.unless_stopped(format!("pushing {}", image.name), async {
        let work = async {
            engine.tag(&image.id, &temporary, tag.as_str()).await?;
            engine.push(&bridge.registry, repository.name(), tag).await
        };
        bridge.watch(&attempted, work).await
    });
    let pushed = pushed.await;
    // On every way out: the daemon keeps no name of ours.
    if let Err(error) = engine.untag(&format!("{temporary}:{tag}")).await {
        tracing::warn!(%error, "the temporary name {temporary}:{tag} is left in the Docker daemon");
    }
    let received = bridge.journal.tagged(tag);
    bridge.stop().await;
    pushed?;
    read_back(repository, tag, received, &attempted).await
}

/// Success means that the tag says so: the daemon's word is not enough.
async fn read_back(
    repository: &Repository,
    tag: &Tag,
    received: Option<storage_layout::Descriptor>,
    attempted: &str,
) -> Result<Manifest, CommandError> {
    let Some(received) = received else {
        return Err(CommandError::new(
            ExitStatus::Docker,
            format!("{attempted}: the Docker daemon ended without sending a manifest"),
        ));
    };
    let manifest = repository
        .get_manifest(&Reference::Tag(tag.clone()))
        .await
        .map_err(|error| CommandError::because(format!("{attempted}: reading the tag back"), error))?;
    if *manifest.digest() != received.digest {
        let message = format!("{attempted}: the tag {tag} now names {}, not {}", manifest.digest(), received.digest);
        return Err(
            CommandError::new(ExitStatus::Conflict, message).hint("somebody else pushed to it at the same time")
        );
    }
    Ok(manifest)
}

/// Returns the image's blobs, and which of them travelled.
pub(super) async fn contents(
    repository: &Repository,
    root: &Manifest,
    tally: &Tally,
) -> Result<Vec<CopiedBlob>, crate::transfer::Error> {
    let mut manifests = vec![root.clone()];
    let source = BucketSource::new(repository.clone(), Reference::Digest(root.digest().clone()));
    for child in root.manifests() {
        match source.manifest(child).await {
            Ok(manifest) => manifests.push(manifest),
            // A sparse index is legal.
            Err(crate::transfer::Error::Bucket(error)) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let mut seen = std::collections::HashSet::new();
    let blobs = manifests.iter().flat_map(Manifest::blobs).filter(|blob| seen.insert(blob.digest.clone()));
    Ok(blobs
        .map(|descriptor| {
            let sent = tally.was_sent(&descriptor.digest);
            CopiedBlob {
                descriptor: descriptor.clone(),
                status: if sent { BlobStatus::Sent } else { BlobStatus::Exists },
            }
        })
        .collect())
}
