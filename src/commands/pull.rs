//! `pull`: an image comes back from a bucket.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use storage_layout::{Digest, Manifest, Reference, Repository};

use super::bridge::Bridge;
use super::outcome::{Moved, already_there};
use super::push::contents;
use super::route::Route;
use super::tally::Tally;
use super::{Context, ImagePlace, ImageRequest};
use crate::archive::{self, ArchivePlace, ImageConfig, Spool, TargetOptions};
use crate::backend::Intent;
use crate::docker::{Daemon, DockerEngine, Error as DockerError, LocalImage, Transport};
use crate::transfer::{CopiedBlob, CopyOptions, MAX_CONFIG, PlatformFilter, RepositorySource, copy_image};
use crate::ui::{CommandError, ExitStatus};

impl ImageRequest {
    fn default_name(&self) -> String {
        format!("{}:{}", self.place.repository, self.place.selector.tag_or_latest())
    }
}

/// Pulls an image.
///
/// # Errors
/// Nothing is then named, and no file is there that was not before.
pub async fn run(request: ImageRequest, context: &Context) -> Result<(), CommandError> {
    let begun = Instant::now();
    let shown = format!("{}://{}", request.backend.scheme(), request.place);
    let attempted = format!("cannot pull {shown}");
    let stopped = format!("pulling {shown}");
    // The image is looked for before the daemon is asked, so that what is missing is told of at once.
    let found = context.unless_stopped(stopped, async {
        let store = context
            .open(&request.backend, &request.place.bucket, Intent::Read)
            .await
            .map_err(|error| CommandError::because(attempted.clone(), error))?;
        let repository = store.repository(&request.place.repository);
        let root = repository.get_manifest(&request.place.selector.reference()).await;
        Ok((root.map_err(|error| missing(&attempted, &request, error))?, repository))
    });
    let (root, repository) = found.await?;
    let outcome = match &request.image {
        Some(ImagePlace::Archive(place)) => pull_archive(&request, place, &repository, root, context).await,
        Some(ImagePlace::Docker(name)) => pull_docker(&request, name, &repository, &root, context).await,
        None => pull_docker(&request, &request.default_name(), &repository, &root, context).await,
    }?;
    outcome.outcome(request.named(), begun).tell("pulled", request.digestfile.as_deref(), context)
}

fn missing(attempted: &str, request: &ImageRequest, error: storage_layout::Error) -> CommandError {
    let missing = matches!(error, storage_layout::Error::ManifestUnknown { .. });
    let error = CommandError::because(attempted, error);
    if missing {
        error.hint(format!("check the name and the tag; the bucket {} is there", request.place.bucket))
    } else {
        error
    }
}

async fn pull_archive(
    request: &ImageRequest,
    place: &ArchivePlace,
    repository: &Repository,
    root: Manifest,
    context: &Context,
) -> Result<Moved, CommandError> {
    let attempted = format!("cannot pull to {place}");
    let because = |error| CommandError::because(attempted.clone(), error);
    let mut platforms = request.platforms.clone();
    if platforms.is_empty() && root.is_index() && matches!(place, ArchivePlace::DockerArchive { .. }) {
        // A docker-save file holds one image; it is for this machine unless the user says otherwise.
        platforms.push(PlatformFilter::host());
    }
    let source = RepositorySource::new(Arc::new(repository.clone()), Reference::Digest(root.digest().clone()));
    let target = archive::open_target(place, &TargetOptions { name: Some(request.default_name()) }).map_err(because)?;
    let options = CopyOptions { platforms, jobs: context.settings.jobs };
    let copied = context.unless_stopped(format!("pulling to {place}"), async {
        copy_image(&source, target.as_ref(), &options, &context.reporter).await.map_err(because)
    });
    let copied = copied.await?;
    Ok(Moved { root: copied.root, blobs: copied.blobs, transport: Some(Transport::Archive) })
}

async fn pull_docker(
    request: &ImageRequest,
    name: &str,
    repository: &Repository,
    root: &Manifest,
    context: &Context,
) -> Result<Moved, CommandError> {
    let attempted = format!("cannot pull {}", request.named());
    let platform = match request.platforms.as_slice() {
        [] => None,
        [platform] => Some(platform),
        _ => {
            return Err(CommandError::usage(format!("{attempted}: a Docker daemon takes one --platform")));
        }
    };
    // What the daemon is asked for is one image where the choice is ours: its own messages name no platform that is there.
    let chosen = match platform {
        Some(platform) if root.is_index() => choose(repository, root, platform, &attempted).await?,
        _ => root.clone(),
    };
    let (final_repository, final_tag) = split_name(name)?;
    let asked = context.unless_stopped(format!("pulling {}", request.named()), async {
        let because = |error| CommandError::because(attempted.clone(), error);
        let engine = context.docker_unasked().map_err(because)?;
        let daemon = engine.while_greeting(engine.describe()).await.map_err(because)?.map_err(because)?;
        Ok((engine, daemon))
    });
    let (engine, daemon) = asked.await?;
    let pulling = Pulling { engine: &engine, repository, root: &chosen, name: &final_repository, tag: &final_tag };
    let doing = || format!("pulling {}", request.named());
    let looking = async {
        let image = pulling.image_for(&daemon, platform, &attempted).await;
        // An index without the daemon's own platform is no failure yet: by registry the daemon chooses, and may know better.
        let is_there = match &image {
            Ok(image) => pulling.tagged_only(image, &daemon, &attempted).await?,
            Err(_) => false,
        };
        Ok((image, is_there))
    };
    let (image, is_there) = context.unless_stopped(doing(), looking).await?;
    if let (Ok(image), true) = (&image, is_there) {
        tracing::info!("the daemon has this image already");
        return Ok(Moved { blobs: already_there(image.blobs(), context), root: chosen, transport: None });
    }
    let tally = Tally::new(Arc::clone(&context.reporter));
    let choosing = Route::choose(&engine, &daemon, repository, true, None, &tally, context);
    let route = context.unless_stopped(doing(), choosing).await?;
    match route {
        Route::Registry(bridge) => {
            let platform = platform.map(ToString::to_string);
            pulling.via_registry(*bridge, platform.as_deref(), &attempted, context).await?;
            let blobs =
                contents(repository, &chosen, &tally).await.map_err(|error| CommandError::because(attempted, error))?;
            // The daemon takes one platform of an index: the others neither travelled nor were there.
            let blobs: Vec<_> = if chosen.is_index() {
                blobs.into_iter().filter(|blob| tally.was_sent(&blob.descriptor.digest)).collect()
            } else {
                blobs
            };
            Ok(Moved { root: chosen, blobs, transport: Some(Transport::Registry) })
        }
        Route::Archive => {
            let blobs = pulling.via_archive(&image?, &daemon, &attempted, context).await?;
            Ok(Moved { root: chosen, blobs, transport: Some(Transport::Archive) })
        }
    }
}

/// Returns the image of an index that is for a platform.
async fn choose(
    repository: &Repository,
    index: &Manifest,
    platform: &PlatformFilter,
    attempted: &str,
) -> Result<Manifest, CommandError> {
    let chosen = platform.choose(index.manifests()).map_err(|error| CommandError::because(attempted, error))?;
    let manifest = repository.get_manifest(&Reference::Digest(chosen.digest.clone())).await;
    manifest.map_err(|error| CommandError::because(attempted, error))
}

/// Splits `NAME[:TAG]`, where NAME may begin with `HOST:PORT/`.
fn split_name(name: &str) -> Result<(String, String), CommandError> {
    if name.contains('@') {
        let message = format!("--image {name:?} names a digest; an image is given a name and a tag");
        return Err(CommandError::usage(message));
    }
    let (repository, tag) = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    };
    let tag: storage_layout::Tag =
        tag.parse().map_err(|error| CommandError::because(format!("--image {name:?} cannot be used"), error))?;
    Ok((repository.to_owned(), tag.to_string()))
}

struct Pulling<'a> {
    engine: &'a DockerEngine,
    repository: &'a Repository,
    root: &'a Manifest,
    /// What the image is to be called.
    name: &'a str,
    tag: &'a str,
}

impl Pulling<'_> {
    async fn via_registry(
        &self,
        bridge: Bridge,
        platform: Option<&str>,
        attempted: &str,
        context: &Context,
    ) -> Result<(), CommandError> {
        let (name, tag, digest) = (self.name, self.tag, self.root.digest());
        let temporary = format!("{}@{digest}", bridge.registry.repository(self.repository.name()));
        let pulled = context.unless_stopped(format!("pulling {name}:{tag}"), async {
            let work = async {
                let pulled = self.engine.pull(&bridge.registry, self.repository.name(), digest, platform).await?;
                // First the new name, then away with the old one: an image without a name might be swept.
                self.engine.tag(&pulled, name, tag).await
            };
            bridge.watch(attempted, work).await
        });
        let pulled = pulled.await;
        if let Err(error) = self.engine.untag(&temporary).await {
            tracing::warn!(%error, "the temporary name {temporary} is left in the Docker daemon");
        }
        bridge.stop().await;
        pulled
    }

    async fn via_archive(
        &self,
        image: &Manifest,
        daemon: &Daemon,
        attempted: &str,
        context: &Context,
    ) -> Result<Vec<CopiedBlob>, CommandError> {
        let work = context.unless_stopped(format!("pulling {}:{}", self.name, self.tag), async {
            let there = self.layers_there(image, daemon, attempted).await?;
            match self.load(image, &there, context).await {
                // It may have removed an image since it was asked.
                Err(DockerError::Failed { message, .. }) if !there.is_empty() => {
                    tracing::info!(message, "the daemon does not take the image without layers that it had");
                    self.load(image, &HashSet::new(), context).await
                }
                loaded => loaded,
            }
            .map_err(|error| CommandError::because(attempted, error))
        });
        let (blobs, loaded) = work.await?;
        check_loaded(&loaded, image, attempted)?;
        Ok(blobs)
    }

    /// Has the daemon load an archive of the image without the layers that are `there`.
    async fn load(
        &self,
        image: &Manifest,
        there: &HashSet<Digest>,
        context: &Context,
    ) -> Result<(Vec<CopiedBlob>, LocalImage), DockerError> {
        let name = format!("{}:{}", self.name, self.tag);
        let label = format!("the archive of {name} for the Docker daemon");
        let spool = Spool::create(label, &context.settings.spool_dir).await?;
        let target = spool.target(&name, there)?;
        let options = CopyOptions { platforms: Vec::new(), jobs: context.settings.jobs };
        let reference = Reference::Digest(image.digest().clone());
        let source = RepositorySource::new(Arc::new(self.repository.clone()), reference);
        let copied = copy_image(&source, target.as_ref(), &options, &context.reporter).await?;
        tracing::info!("the daemon reads the archive");
        let loaded = self.engine.load(spool, &name, context.reporter.as_ref()).await?;
        Ok((copied.blobs, loaded))
    }

    /// Returns the layers that Docker's own store has, and all below them: it takes an archive without those.
    async fn layers_there(
        &self,
        image: &Manifest,
        daemon: &Daemon,
        attempted: &str,
    ) -> Result<HashSet<Digest>, CommandError> {
        let Some(config) = image.config().filter(|_| !daemon.is_containerd && !daemon.is_podman) else {
            return Ok(HashSet::new());
        };
        let bytes = self.repository.read_small_blob(&config.digest, MAX_CONFIG).await;
        let bytes = bytes.map_err(|error| CommandError::because(attempted, error))?;
        // What is no image's config is for the daemon to refuse.
        let Ok(config) = ImageConfig::read("the bucket", bytes) else { return Ok(HashSet::new()) };
        if config.diff_ids().len() != image.layers().len() {
            return Ok(HashSet::new());
        }
        let count = self.engine.common_base(config.diff_ids()).await;
        let (there, needed) = image.layers().split_at(count);
        let is_needed = |digest: &Digest| needed.iter().any(|layer| layer.digest == *digest);
        let digests = there.iter().map(|layer| layer.digest.clone());
        Ok(digests.filter(|digest| !is_needed(digest)).collect())
    }

    /// Returns the image that the daemon is to have: of an index the one for its platform, or the one asked for. containerd's
    /// store takes an index and chooses itself, if it does not come by archive.
    async fn image_for(
        &self,
        daemon: &Daemon,
        platform: Option<&PlatformFilter>,
        attempted: &str,
    ) -> Result<Manifest, CommandError> {
        if !self.root.is_index() {
            return Ok(self.root.clone());
        }
        let own = daemon.own_platform();
        choose(self.repository, self.root, platform.unwrap_or(&own), attempted).await
    }

    /// Gives the image its name and does nothing else, if the daemon has it under another one. In containerd's store an image
    /// that has a name may lack layers.
    async fn tagged_only(&self, image: &Manifest, daemon: &Daemon, attempted: &str) -> Result<bool, CommandError> {
        let Some(config) = image.config().filter(|_| !daemon.is_containerd) else { return Ok(false) };
        let id = config.digest.as_str();
        let tagged = match self.engine.image(id).await {
            Ok(found) if found.id == id => self.engine.tag(id, self.name, self.tag).await.map(|()| true),
            Ok(_) | Err(DockerError::ImageUnknown(_)) => Ok(false),
            Err(error) => Err(error),
        };
        tagged.map_err(|error| CommandError::because(attempted, error))
    }
}

/// Checks what the daemon has after loading an image. Its word is not enough: the name must stand for this image.
pub(super) fn check_loaded(loaded: &LocalImage, image: &Manifest, attempted: &str) -> Result<(), CommandError> {
    if loaded.is(image) {
        return Ok(());
    }
    let (LocalImage { name, id, .. }, digest) = (loaded, image.digest());
    let message = format!("{attempted}: after loading it, {name} is {id} in the Docker daemon, not {digest}");
    Err(CommandError::new(ExitStatus::Docker, message))
}
