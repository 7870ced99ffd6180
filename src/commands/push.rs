//! `push`: an image of this machine goes into a bucket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use storage_layout::{Manifest, Reference, Repository, Tag};

use super::bridge::Bridge;
use super::outcome::Outcome;
use super::route::Route;
use super::tally::Tally;
use super::{Context, ImagePlace};
use crate::archive::{self, ArchivePlace, SourceOptions, Spool};
use crate::backend::{BackendConfig, BucketRef, Intent};
use crate::docker::{Daemon, DockerEngine, Error as DockerError, LocalImage, Transport};
use crate::transfer::{
    BlobStatus, Copied, CopiedBlob, CopyOptions, Error as TransferError, PlatformFilter, RepositorySource,
    RepositoryTarget, Source, copy_image,
};
use crate::ui::{CommandError, ExitStatus};

/// The first version of Docker's API that pushes one platform of several.
const PUSHES_PLATFORM: (u32, u32) = (1, 46);

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
    let target = RepositoryTarget::new(Arc::new(store.repository(&request.place.repository)), Some(tag.clone()));
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
    if request.platforms.len() > 1 {
        let message = format!("{attempted}: a Docker daemon pushes one --platform, or all that it has");
        return Err(CommandError::new(ExitStatus::Usage, message));
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
        let daemon = engine.describe().await.map_err(because)?;
        let image = find(&engine, name, request, tag).await?;
        Ok::<_, CommandError>((engine, daemon, image))
    };
    let ((engine, daemon, image), store) = context
        .unless_stopped(format!("pushing {shown}"), async {
            // In this order an image that is not there is told of before a bucket that is not there.
            let (image, store) = tokio::join!(image, bucket);
            Ok((image?, store?))
        })
        .await?;
    let platform = platform_of(request.platforms.first(), &daemon, &image)
        .map_err(|error| CommandError::because(attempted.clone(), error))?;
    let repository = store.repository(&request.place.repository);
    let tally = Tally::new(Arc::clone(&context.reporter));
    let route = context.unless_stopped(
        format!("pushing {shown}"),
        Route::choose(&engine, &daemon, &repository, false, &tally, context),
    );
    let pushing = Pushing { engine: &engine, daemon: &daemon, image: &image, platform, repository: &repository, tag };
    let (root, blobs, transport) = match route.await? {
        Route::Registry(bridge) => {
            let root = pushing.via_registry(*bridge, &attempted, context).await?;
            let blobs = contents(&repository, &root, &tally).await;
            (root, blobs.map_err(|error| CommandError::because(attempted.clone(), error))?, Transport::Registry)
        }
        Route::Archive => {
            let copied = pushing.via_archive(&attempted, context).await?;
            (copied.root, copied.blobs, Transport::Archive)
        }
    };
    pushing.tell_of_less(&root, context);
    Ok(Outcome::new(reference.to_owned(), &root, transport, &blobs, begun))
}

/// Returns the platform that the daemon is to choose, if there is a choice. Docker's own store has one of each image.
fn platform_of<'a>(
    wanted: Option<&'a PlatformFilter>,
    daemon: &Daemon,
    image: &LocalImage,
) -> Result<Option<&'a PlatformFilter>, TransferError> {
    let Some(wanted) = wanted else { return Ok(None) };
    if daemon.is_containerd {
        return Ok(Some(wanted));
    }
    match image.platform.parse() {
        Ok(own) if wanted.includes(&own) => Ok(None),
        _ => Err(TransferError::NoPlatform { wanted: wanted.to_string(), available: image.platform.clone() }),
    }
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

struct Pushing<'a> {
    engine: &'a DockerEngine,
    daemon: &'a Daemon,
    image: &'a LocalImage,
    platform: Option<&'a PlatformFilter>,
    repository: &'a Repository,
    tag: &'a Tag,
}

impl Pushing<'_> {
    async fn via_registry(&self, bridge: Bridge, attempted: &str, context: &Context) -> Result<Manifest, CommandError> {
        let (engine, tag, name) = (self.engine, self.tag, self.repository.name());
        if self.platform.is_some() && self.daemon.api < PUSHES_PLATFORM {
            bridge.stop().await;
            let message = format!("{attempted}: Docker {} cannot push one platform of several", self.daemon.version);
            return Err(CommandError::new(ExitStatus::Usage, message).hint("use --transport archive"));
        }
        let temporary = bridge.registry.repository(name);
        // Not given up half-way: a name that the daemon makes after it was taken away would stay.
        let tagged = engine.tag(&self.image.id, &temporary, tag.as_str()).await;
        let pushed = context.unless_stopped(format!("pushing {}", self.image.name), async {
            tagged.map_err(|error| CommandError::because(attempted, error))?;
            bridge.watch(attempted, engine.push(&bridge.registry, name, tag, self.platform)).await
        });
        let pushed = pushed.await;
        // On every way out: the daemon keeps no name of ours.
        if let Err(error) = engine.untag(&format!("{temporary}:{tag}")).await {
            tracing::warn!(%error, "the temporary name {temporary}:{tag} is left in the Docker daemon");
        }
        // containerd's store looks at the tag first and sends nothing if that is its image already.
        let received = bridge.journal.tagged(tag).or_else(|| bridge.journal.answered(tag));
        bridge.stop().await;
        pushed?;
        read_back(self.repository, tag, received, attempted).await
    }

    async fn via_archive(&self, attempted: &str, context: &Context) -> Result<Copied, CommandError> {
        let because = |error| CommandError::because(attempted, error);
        let name = &self.image.name;
        let copied = context.unless_stopped(format!("pushing {name}"), async {
            let label = format!("the archive of {name} from the Docker daemon");
            let mut spool = Spool::create(label, &context.settings.spool_dir).await.map_err(because)?;
            self.engine.save(self.image, &mut spool).await.map_err(|error| CommandError::because(attempted, error))?;
            tracing::info!("the daemon has written the archive");
            let source = spool.source(self.daemon.is_containerd).await.map_err(because)?;
            let target = RepositoryTarget::new(Arc::new(self.repository.clone()), Some(self.tag.clone()));
            let platforms = self.platform.cloned().into_iter().collect();
            let options = CopyOptions { platforms, jobs: context.settings.jobs };
            copy_image(source.as_ref(), &target, &options, &context.reporter).await.map_err(because)
        });
        let copied = copied.await;
        self.repository.store().settle().await;
        copied
    }

    /// The containerd store keeps what was pulled, and some of its platforms may not be there. Then the daemon pushes the image
    /// of one platform instead of the index, and says so only to Docker's own client.
    fn tell_of_less(&self, root: &Manifest, context: &Context) {
        if self.daemon.is_containerd && self.platform.is_none() && self.image.id != root.digest().as_str() {
            context.printer.note(&format!(
                "warning: pushed {}, one image of {} only: the Docker daemon has not all that {} names",
                root.digest(),
                self.image.id,
                self.image.name
            ));
        }
    }
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
    let source = RepositorySource::new(Arc::new(repository.clone()), Reference::Digest(root.digest().clone()));
    for child in root.manifests() {
        match source.manifest(child).await {
            Ok(manifest) => manifests.push(manifest),
            // A sparse index is legal.
            Err(error) if error.is_not_found() => {}
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
