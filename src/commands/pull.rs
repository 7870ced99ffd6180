//! `pull`: an image comes back from a bucket.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use storage_layout::{Digest, Manifest, Reference, Repository};

use super::bridge::Bridge;
use super::outcome::{Outcome, Transport};
use super::push::contents;
use super::tally::Tally;
use super::{Context, ImagePlace};
use crate::archive::{self, ArchivePlace, TargetOptions};
use crate::backend::{BackendConfig, BucketRef, Intent};
use crate::docker::DockerEngine;
use crate::transfer::{BucketSource, CopyOptions, PlatformFilter, copy_image};
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
    let source = BucketSource::new(repository.clone(), Reference::Digest(root.digest().clone()));
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
            let chosen =
                platform.choose(root.manifests()).map_err(|error| CommandError::because(attempted.clone(), error))?;
            chosen.digest.clone()
        }
        _ => root.digest().clone(),
    };
    let (final_repository, final_tag) = split_name(name)?;
    let engine = context.docker().await.map_err(|error| CommandError::because(attempted.clone(), error))?;
    let tally = Tally::new(Arc::clone(&context.reporter));
    let platform = platform.map(ToString::to_string);
    let work = Pulling { engine: &engine, repository, digest: &chosen, platform: platform.as_deref() };
    work.run(&final_repository, &final_tag, &attempted, &tally, context).await?;
    let chosen = repository
        .get_manifest(&Reference::Digest(chosen))
        .await
        .map_err(|error| CommandError::because(attempted.clone(), error))?;
    let blobs = contents(repository, &chosen, &tally).await.map_err(|error| CommandError::because(attempted, error))?;
    // The daemon takes one platform of an index: the others neither travelled nor were there.
    let blobs: Vec<_> = if chosen.is_index() {
        blobs.into_iter().filter(|blob| tally.was_sent(&blob.descriptor.digest)).collect()
    } else {
        blobs
    };
    Ok(Outcome::new(request.reference(), &chosen, Transport::Registry, &blobs, begun))
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
    digest: &'a Digest,
    platform: Option<&'a str>,
}

impl Pulling<'_> {
    async fn run(
        &self,
        name: &str,
        tag: &str,
        attempted: &str,
        tally: &Arc<Tally>,
        context: &Context,
    ) -> Result<(), CommandError> {
        let bridge = Bridge::start(self.repository.store(), self.repository.name(), true, tally).await?;
        let temporary = format!("{}@{}", bridge.registry.repository(self.repository.name()), self.digest);
        let pulled = context.unless_stopped(format!("pulling {name}:{tag}"), async {
            let work = async {
                let pulled =
                    self.engine.pull(&bridge.registry, self.repository.name(), self.digest, self.platform).await?;
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
}
