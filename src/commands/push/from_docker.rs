//! A push of an image that a daemon has: finding it, and choosing the way.

use std::num::NonZero;
use std::sync::Arc;

use storage_layout::{Error as BucketError, Manifest, Repository, Tag};

use super::cost::{Advice, Layer, advise};
use super::known::{KnownImages, KnownLayers};
use crate::archive::LayerCompression;
use crate::backend::Intent;
use crate::commands::outcome::{Moved, already_there};
use crate::commands::route::Route;
use crate::commands::tally::Tally;
use crate::commands::{Context, ImageRequest};
use crate::docker::{Daemon, DockerEngine, Error as DockerError, LocalImage, Transport, TransportChoice};
use crate::transfer::{Error as TransferError, PlatformFilter};
use crate::ui::{CommandError, ExitStatus};

/// An image on its way out of a daemon.
pub(super) struct Pushing<'a> {
    pub(super) engine: &'a DockerEngine,
    pub(super) daemon: &'a Daemon,
    pub(super) image: &'a LocalImage,
    pub(super) platform: Option<&'a PlatformFilter>,
    pub(super) repository: &'a Repository,
    pub(super) tag: &'a Tag,
    pub(super) compression: Option<LayerCompression>,
    /// The layers that the bucket is known to have.
    pub(super) known: KnownLayers,
    pub(super) attempted: String,
}

pub(super) async fn push(
    request: &ImageRequest,
    name: Option<&str>,
    tag: &Tag,
    compression: Option<LayerCompression>,
    context: &Context,
) -> Result<Moved, CommandError> {
    let shown = name.map_or_else(|| format!("{}:{tag}", request.place.repository), str::to_owned);
    let attempted = format!("cannot push {shown}");
    if request.platforms.len() > 1 {
        let message = format!("{attempted}: a Docker daemon pushes one --platform, or all that it has");
        return Err(CommandError::usage(message));
    }
    if compression.is_some() && context.settings.transport == TransportChoice::Only(Transport::Registry) {
        let message =
            format!("{attempted}: with --transport registry the daemon compresses, and --compression is nothing to it");
        return Err(CommandError::usage(message).hint("leave one of the two away"));
    }
    // The bucket and the daemon are asked at once: neither knows of the other.
    let bucket = async {
        let opened = context.open(&request.backend, &request.place.bucket, Intent::Write).await;
        opened.map_err(|error| CommandError::because(attempted.clone(), error))
    };
    let ((engine, daemon, image), store) = context
        .unless_stopped(format!("pushing {shown}"), async {
            // In this order an image that is not there is told of before a bucket that is not there.
            let (image, store) = tokio::join!(look(name, request, tag, &attempted, context), bucket);
            Ok((image?, store?))
        })
        .await?;
    let platform = platform_of(request.platforms.first(), &engine, &daemon, &image).await;
    let platform = platform.map_err(|error| CommandError::because(attempted.clone(), error))?;
    if compression.is_some() && daemon.is_containerd {
        context.printer.note("warning: containerd's store has its layers compressed already; they stay as they are");
    }
    let repository = store.repository(&request.place.repository);
    let mut pushing = Pushing {
        engine: &engine,
        daemon: &daemon,
        image: &image,
        platform,
        repository: &repository,
        tag,
        compression,
        known: KnownLayers::new(),
        attempted,
    };
    let moved = pushing.run(context).await?;
    pushing.tell_of_less(&moved.root, context);
    Ok(moved)
}

/// Looks for the daemon and the image, and what kind of daemon it is, all at once.
async fn look(
    name: Option<&str>,
    request: &ImageRequest,
    tag: &Tag,
    attempted: &str,
    context: &Context,
) -> Result<(DockerEngine, Daemon, LocalImage), CommandError> {
    let because = |error| CommandError::because(attempted, error);
    let engine = context.docker_unasked().map_err(because)?;
    let (daemon, image) = engine
        .while_greeting(async { tokio::join!(engine.describe(), find(&engine, name, request, tag)) })
        .await
        .map_err(because)?;
    let (daemon, image) = (daemon.map_err(because)?, image?);
    Ok((engine, daemon, image))
}

/// Returns the platform that the daemon is to choose, if there is a choice. Docker's own store has one of each image.
async fn platform_of<'a>(
    wanted: Option<&'a PlatformFilter>,
    engine: &DockerEngine,
    daemon: &Daemon,
    image: &LocalImage,
) -> Result<Option<&'a PlatformFilter>, TransferError> {
    let Some(wanted) = wanted else { return Ok(None) };
    let there = if daemon.is_containerd { engine.platforms(image).await } else { Some(vec![image.platform.clone()]) };
    match there {
        Some(there) if !there.iter().any(|own| own.parse().is_ok_and(|own| wanted.includes(&own))) => {
            Err(TransferError::NoPlatform { wanted: wanted.to_string(), available: there.join(", ") })
        }
        _ => Ok(daemon.is_containerd.then_some(wanted)),
    }
}

/// Finds the image to push: the one that was named, else `NAME:TAG`, else `BUCKET/NAME:TAG`, which is what the Go tool of this
/// name took.
async fn find(
    engine: &DockerEngine,
    name: Option<&str>,
    request: &ImageRequest,
    tag: &Tag,
) -> Result<LocalImage, CommandError> {
    let place = &request.place;
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => vec![format!("{}:{tag}", place.repository), format!("{}/{}:{tag}", place.bucket, place.repository)],
    };
    let found = futures::future::join_all(names.iter().map(|name| engine.image(name))).await;
    for (name, found) in names.iter().zip(found) {
        match found {
            Ok(image) => return Ok(image),
            Err(DockerError::ImageUnknown(_)) => {}
            Err(error) => return Err(CommandError::because(format!("cannot push {name}"), error)),
        }
    }
    let message = format!("cannot push {}: the Docker daemon has no image of that name", names.join(" or "));
    Err(CommandError::new(ExitStatus::NotFound, message).hint("see `docker image ls`, and name the image with --image"))
}

/// What comparing an image with the repository has found.
enum Compared {
    /// It has the image, and the tag was set.
    Same(Box<Manifest>),
    /// It has these layers, and so this is the best way.
    Different { known: KnownLayers, advised: Advice },
}

impl Pushing<'_> {
    async fn run(&mut self, context: &Context) -> Result<Moved, CommandError> {
        let mut advice = Advice::Registry;
        // containerd's store keeps layers compressed, and its daemon sends what is missing and nothing else.
        if !self.daemon.is_containerd {
            match context.unless_stopped(self.doing(), self.compare(context)).await? {
                Compared::Same(root) => {
                    tracing::info!("the repository has this image already");
                    return Ok(Moved { blobs: already_there(root.blobs(), context), root: *root, transport: None });
                }
                Compared::Different { known, advised } => (self.known, advice) = (known, advised),
            }
        }
        let tally = Tally::new(Arc::clone(&context.reporter));
        let choosing =
            Route::choose(self.engine, self.daemon, self.repository, false, advice.archive(), &tally, context);
        if let Route::Registry(bridge) = context.unless_stopped(self.doing(), choosing).await? {
            if let Some(root) = self.by_registry(*bridge, advice.allowance(), &tally, context).await? {
                let blobs = super::contents(self.repository, &root, &tally).await;
                let blobs = blobs.map_err(|error| CommandError::because(self.attempted.clone(), error))?;
                return Ok(Moved { root, blobs, transport: Some(Transport::Registry) });
            }
            tracing::info!("transport archive: the daemon would compress layers again that the bucket has");
        }
        let copied = self.by_archive(context).await?;
        Ok(Moved { root: copied.root, blobs: copied.blobs, transport: Some(Transport::Archive) })
    }

    /// Compares the image with what the repository has. If that is the same image, under another name or this one, sets the tag.
    async fn compare(&self, context: &Context) -> Result<Compared, CommandError> {
        let because = |error| CommandError::because(self.attempted.clone(), error);
        let images = KnownImages::read(self.repository, self.tag).await.map_err(because)?;
        if let Some(root) = images.image(&self.image.id, self.compression.map(LayerCompression::format)) {
            match self.repository.put_manifest(root, std::slice::from_ref(self.tag)).await {
                Ok(()) => return Ok(Compared::Same(Box::new(root.clone()))),
                // A push mends it.
                Err(BucketError::ManifestBlobUnknown { .. }) => {}
                Err(error) => return Err(because(error)),
            }
        }
        let format = self.compression.unwrap_or_default().format();
        let known = images.layers(&self.image.layers, format).await.map_err(because)?;
        let advised = self.advice(&known, context).await;
        Ok(Compared::Different { known, advised })
    }

    /// Returns which way is the fastest.
    async fn advice(&self, known: &KnownLayers, context: &Context) -> Advice {
        if self.compression.is_some() {
            return Advice::Asked;
        }
        if context.settings.transport != TransportChoice::Auto || self.daemon.is_podman {
            return Advice::Registry;
        }
        let sizes = self.engine.layer_sizes(self.image).await;
        let layer = |(diff_id, size)| Layer { size, is_there: known.contains_key(diff_id) };
        let layers: Vec<Layer> = self.image.layers.iter().zip(sizes).map(layer).collect();
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        advise(&layers, cores)
    }

    pub(super) fn doing(&self) -> String {
        format!("pushing {}", self.image.name)
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
