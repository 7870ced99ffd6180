//! `pull`: an image comes back from a bucket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use storage_layout::{Descriptor, Manifest, Reference, Repository};

use super::bridge::Bridge;
use super::outcome::Outcome;
use super::push::contents;
use super::route::Route;
use super::tally::Tally;
use super::{Context, ImagePlace};
use crate::archive::{self, ArchivePlace, Spool, TargetOptions};
use crate::backend::{BackendConfig, BucketRef, Intent};
use crate::docker::{Daemon, DockerEngine, Error as DockerError, LocalImage, Transport};
use crate::transfer::{BlobStatus, CopiedBlob, CopyOptions, PlatformFilter, RepositorySource, Source, copy_image};
use crate::ui::{CommandError, ExitStatus};

/// What to pull, and where to.
#[derive(Debug)]
pub struct Request {
    /// The storage.
    pub backend: BackendConfig,
    /// The bucket, the repository, and the tag or digest.
    pub place: BucketRef,
    /// Where to; without it the daemon, as `NAME:TAG`.
    pub image: Option<ImagePlace>,
    /// The platform to choose from an index.
    pub platforms: Vec<PlatformFilter>,
    /// Where to write the digest.
    pub digestfile: Option<PathBuf>,
}

impl Request {
    fn reference(&self) -> String {
        let tag = match (&self.place.tag, &self.place.digest) {
            (None, Some(_)) => String::new(),
            _ => format!(":{}", self.place.tag_or_latest()),
        };
        format!("{}://{}/{}{tag}", self.backend.scheme(), self.place.bucket, self.place.repository)
    }

    fn default_name(&self) -> String {
        format!("{}:{}", self.place.repository, self.place.tag_or_latest())
    }
}

/// Pulls an image.
///
/// # Errors
/// Nothing is then named, and no file is there that was not before.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
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
        let root = repository.get_manifest(&request.place.reference()).await;
        Ok((root.map_err(|error| missing(&attempted, &request, error))?, repository))
    });
    let (root, repository) = found.await?;
    let outcome = match &request.image {
        Some(ImagePlace::Archive(place)) => pull_archive(&request, place, &repository, root, begun, context).await,
        Some(ImagePlace::Docker(name)) => pull_docker(&request, name, &repository, &root, begun, context).await,
        None => pull_docker(&request, &request.default_name(), &repository, &root, begun, context).await,
    }?;
    outcome.tell("pulled", request.digestfile.as_deref(), context)
}

fn missing(attempted: &str, request: &Request, error: storage_layout::Error) -> CommandError {
    let missing = matches!(error, storage_layout::Error::ManifestUnknown { .. });
    let error = CommandError::because(attempted, error);
    if missing {
        error.hint(format!("check the name and the tag; the bucket {} is there", request.place.bucket))
    } else {
        error
    }
}

async fn pull_archive(
    request: &Request,
    place: &ArchivePlace,
    repository: &Repository,
    root: Manifest,
    begun: Instant,
    context: &Context,
) -> Result<Outcome, CommandError> {
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
    Ok(Outcome::new(request.reference(), &copied.root, Transport::Archive, &copied.blobs, begun))
}

async fn pull_docker(
    request: &Request,
    name: &str,
    repository: &Repository,
    root: &Manifest,
    begun: Instant,
    context: &Context,
) -> Result<Outcome, CommandError> {
    let attempted = format!("cannot pull {}", request.reference());
    let platform = match request.platforms.as_slice() {
        [] => None,
        [platform] => Some(platform),
        _ => {
            return Err(CommandError::new(
                ExitStatus::Usage,
                format!("{attempted}: a Docker daemon takes one --platform"),
            ));
        }
    };
    // What the daemon is asked for is one image where the choice is ours: its own messages name no platform that is there.
    let chosen = match platform {
        Some(platform) if root.is_index() => {
            let chosen = platform.choose(root.manifests());
            let digest = chosen.map_err(|error| CommandError::because(attempted.clone(), error))?.digest.clone();
            let manifest = repository.get_manifest(&Reference::Digest(digest)).await;
            manifest.map_err(|error| CommandError::because(attempted.clone(), error))?
        }
        _ => root.clone(),
    };
    let (final_repository, final_tag) = split_name(name)?;
    let asked = context.unless_stopped(format!("pulling {}", request.reference()), async {
        let because = |error| CommandError::because(attempted.clone(), error);
        let engine = context.docker().await.map_err(because)?;
        let daemon = engine.describe().await.map_err(because)?;
        let tally = Tally::new(Arc::clone(&context.reporter));
        let route = Route::choose(&engine, &daemon, repository, true, &tally, context).await?;
        Ok((engine, daemon, tally, route))
    });
    let (engine, daemon, tally, route) = asked.await?;
    let pulling = Pulling { engine: &engine, repository, root: &chosen, name: &final_repository, tag: &final_tag };
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
            Ok(Outcome::new(request.reference(), &chosen, Transport::Registry, &blobs, begun))
        }
        Route::Archive => {
            let blobs = pulling.via_archive(&daemon, platform, &attempted, context).await?;
            Ok(Outcome::new(request.reference(), &chosen, Transport::Archive, &blobs, begun))
        }
    }
}

/// Splits `NAME[:TAG]`, where NAME may begin with `HOST:PORT/`.
fn split_name(name: &str) -> Result<(String, String), CommandError> {
    if name.contains('@') {
        return Err(CommandError::new(
            ExitStatus::Usage,
            format!("--image {name:?} names a digest; an image is given a name and a tag"),
        ));
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
        daemon: &Daemon,
        platform: Option<&PlatformFilter>,
        attempted: &str,
        context: &Context,
    ) -> Result<Vec<CopiedBlob>, CommandError> {
        let because = |error| CommandError::because(attempted, error);
        let of_docker = |error: DockerError| CommandError::because(attempted, error);
        let name = format!("{}:{}", self.name, self.tag);
        let work = context.unless_stopped(format!("pulling {name}"), async {
            let source =
                RepositorySource::new(Arc::new(self.repository.clone()), Reference::Digest(self.root.digest().clone()));
            let image = if self.root.is_index() {
                let own = daemon.platform.parse().unwrap_or_else(|_| PlatformFilter::host());
                let chosen = platform.unwrap_or(&own).choose(self.root.manifests()).map_err(because)?;
                source.manifest(chosen).await.map_err(because)?
            } else {
                self.root.clone()
            };
            if let Some(there) = self.already_there(&image, daemon).await.map_err(of_docker)? {
                tracing::info!("the daemon has this image already");
                self.engine.tag(&there.id, self.name, self.tag).await.map_err(of_docker)?;
                let exists = |blob: &Descriptor| CopiedBlob { descriptor: blob.clone(), status: BlobStatus::Exists };
                return Ok(image.blobs().map(exists).collect());
            }
            let label = format!("the archive of {name} for the Docker daemon");
            let spool = Spool::create(label, &context.settings.spool_dir).await.map_err(because)?;
            let target = spool.target(&name).map_err(because)?;
            let options = CopyOptions { platforms: Vec::new(), jobs: context.settings.jobs };
            let source =
                RepositorySource::new(Arc::new(self.repository.clone()), Reference::Digest(image.digest().clone()));
            let copied = copy_image(&source, target.as_ref(), &options, &context.reporter).await.map_err(because)?;
            tracing::info!("the daemon reads the archive");
            let loaded = self.engine.load(spool, &name).await.map_err(of_docker)?;
            self.check(&loaded, &image, attempted)?;
            Ok(copied.blobs)
        });
        work.await
    }

    /// Returns the same image under another name. In containerd's store an image that has a name may lack layers.
    async fn already_there(&self, image: &Manifest, daemon: &Daemon) -> Result<Option<LocalImage>, DockerError> {
        let Some(config) = image.config().filter(|_| !daemon.is_containerd) else { return Ok(None) };
        match self.engine.image(config.digest.as_str()).await {
            Ok(found) if found.id == config.digest.as_str() => Ok(Some(found)),
            Ok(_) | Err(DockerError::ImageUnknown(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The daemon's word is not enough: the name must stand for this image.
    fn check(&self, loaded: &LocalImage, image: &Manifest, attempted: &str) -> Result<(), CommandError> {
        let config = image.config().map(|config| config.digest.as_str());
        if loaded.id == image.digest().as_str() || Some(loaded.id.as_str()) == config {
            return Ok(());
        }
        let message = format!(
            "{attempted}: after loading it, {}:{} is {} in the Docker daemon, not {}",
            self.name,
            self.tag,
            loaded.id,
            image.digest()
        );
        Err(CommandError::new(ExitStatus::Docker, message))
    }
}
