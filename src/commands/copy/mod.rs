//! `copy`: an image goes from any place to any other.

mod all_tags;
mod pull;
mod target;

use std::path::PathBuf;
use std::time::Instant;

use super::outcome::Outcome;
use super::pull as bucket_pull;
use super::{Context, ImagePlace, ImageRequest, Place, RepositoryPlace, push};
use crate::docker::Transport;
use crate::transfer::{BlobStatus, Copied, Image, PlatformFilter, Source};
use crate::ui::{Bytes, CommandError, ExitStatus};
use target::TargetEnd;

pub use pull::{PullRequest, pull};

/// What to copy, and where to.
#[derive(Debug)]
pub struct Request {
    /// Where from.
    pub source: Place,
    /// Where to.
    pub target: Place,
    /// How.
    pub options: Options,
    /// Whether all tags of a repository are meant.
    pub all_tags: bool,
    /// Where to write the digest.
    pub digestfile: Option<PathBuf>,
}

/// How to copy.
#[derive(Clone, Debug)]
pub struct Options {
    /// The platforms that are wanted; none means all that the target can hold.
    pub platforms: Vec<PlatformFilter>,
    /// Whether what is attached to the image goes with it.
    pub referrers: bool,
    /// Whether it is only told what would be done.
    pub dry_run: bool,
}

impl Options {
    fn verb(&self) -> &'static str {
        if self.dry_run { "dry run" } else { "copied" }
    }
}

/// Copies an image, or all of a repository.
///
/// # Errors
/// The target then shows nothing of the image.
pub async fn run(request: Request, context: &Context) -> Result<ExitStatus, CommandError> {
    let Request { source, target, options, all_tags, digestfile } = request;
    match (source, target) {
        (Place::Repository(source), Place::Repository(target)) if all_tags => {
            all_tags::run(&source, &target, &options, context).await
        }
        _ if all_tags => Err(CommandError::usage("--all-tags copies from a repository to a repository")
            .hint("a repository is in a bucket, s3://BUCKET/NAME, or in a registry, docker://HOST/NAME")),
        // Between a daemon and a bucket there are better ways than an archive.
        (
            Place::Local(image @ ImagePlace::Docker(_)),
            Place::Repository(RepositoryPlace::Bucket { backend, place }),
        ) if !options.dry_run => {
            let platforms = options.platforms;
            let image = ImageRequest { backend, place, image: Some(image), platforms, digestfile };
            let request = push::Request { image, compression: None };
            Box::pin(push::run(request, context)).await?;
            Ok(ExitStatus::Ok)
        }
        (Place::Repository(source @ RepositoryPlace::Bucket { .. }), Place::Local(image @ ImagePlace::Docker(_)))
            if !options.dry_run =>
        {
            let target = Place::Local(image.clone());
            if options.referrers {
                nothing_is_lost(&Place::Repository(source.clone()), &target, &options, context).await?;
            }
            let RepositoryPlace::Bucket { backend, place } = source else { unreachable!("it was matched") };
            let platforms = options.platforms;
            let request = ImageRequest { backend, place, image: Some(image), platforms, digestfile };
            Box::pin(bucket_pull::run(request, context)).await?;
            Ok(ExitStatus::Ok)
        }
        (source, target) => {
            let begun = Instant::now();
            let copied = copy(&source, &target, &options, context).await?;
            outcome(&source, &target, &copied, &options, begun).tell(options.verb(), digestfile.as_deref(), context)?;
            Ok(ExitStatus::Ok)
        }
    }
}

fn outcome(source: &Place, target: &Place, copied: &Copied, options: &Options, begun: Instant) -> Outcome {
    let is_local = |place: &Place| matches!(place, Place::Local(_));
    let transport = if is_local(source) || is_local(target) { Transport::Archive } else { Transport::Registry };
    let named = match target {
        Place::Repository(place) => place.by_tag().to_string(),
        Place::Local(place) => place.to_string(),
    };
    Outcome::new(named, &copied.root, transport, &copied.blobs, begun)
        .with_referrers(&copied.referrers)
        .with_dry_run(options.dry_run)
}

/// Copies one image, or tells what would be copied.
pub(super) async fn copy(
    source: &Place,
    target: &Place,
    options: &Options,
    context: &Context,
) -> Result<Copied, CommandError> {
    // Both ends together make a large future.
    let ends = context.unless_stopped(
        format!("copying {source} to {target}"),
        Box::pin(async {
            let from = context.source(source).await?;
            let to = TargetEnd::open(target, source, from.as_ref(), options.dry_run, context).await?;
            Ok((from, to))
        }),
    );
    let (from, to) = ends.await?;
    copy_between((source, from.as_ref()), (target, to), options, context).await
}

/// Copies one image from one open end to another.
async fn copy_between(
    (source, from): (&Place, &dyn Source),
    (target, to): (&Place, TargetEnd),
    options: &Options,
    context: &Context,
) -> Result<Copied, CommandError> {
    let attempted = format!("cannot copy {source} to {target}");
    let stopped = || format!("copying {source} to {target}");
    let work = between(from, &to, target, options, &attempted, context);
    let copied = context.unless_stopped(stopped(), Box::pin(work)).await;
    // On every way out: what was begun in a bucket is aborted.
    to.settle().await;
    let copied = copied?;
    if options.dry_run {
        return Ok(copied);
    }
    context.unless_stopped(stopped(), to.finish(copied, &attempted)).await
}

async fn between(
    from: &dyn Source,
    to: &TargetEnd,
    target: &Place,
    options: &Options,
    attempted: &str,
    context: &Context,
) -> Result<Copied, CommandError> {
    let because = |error| CommandError::because(attempted, error);
    let jobs = context.settings.jobs;
    let root = from.root().await.map_err(because)?;
    let mut platforms = options.platforms.clone();
    if root.is_index() && platforms.is_empty() {
        platforms.extend(to.only_platform());
    }
    let asked = root.digest().clone();
    let mut image = Image::below(from, root, &platforms).await.map_err(because)?;
    if asked != *image.root().digest() {
        let chosen: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        context.printer.note(&format!("index {asked}"));
        context.printer.note(&format!("{} {}", chosen.join(", "), image.root().digest()));
    }
    if options.referrers {
        image = image.with_referrers(from).await.map_err(because)?;
        if !to.takes_referrers() {
            refuse_loss(&image, target, attempted)?;
        }
    }
    if options.dry_run {
        let would = image.compare(to.target(), jobs).await.map_err(because)?;
        for blob in &would.blobs {
            let word = match blob.status {
                BlobStatus::Exists => "is there",
                BlobStatus::Copied => "to copy ",
                BlobStatus::Sent => "to send ",
            };
            context.printer.note(&format!("{word} {} {}", blob.descriptor.digest, Bytes(blob.descriptor.size)));
        }
        return Ok(would);
    }
    let target = to.target().expect("only a dry run has none");
    image.copy(from, target, jobs, &context.reporter).await.map_err(because)
}

/// A loss is an error: who copies an image with its signatures counts on them.
fn refuse_loss(image: &Image, target: &Place, attempted: &str) -> Result<(), CommandError> {
    let descriptors = image.attached().iter().map(|attached| attached.manifest.referrer_descriptor());
    let kinds: Vec<String> = descriptors
        .map(|found| format!("{} ({})", found.digest, found.artifact_type.unwrap_or(found.media_type)))
        .collect();
    if kinds.is_empty() {
        return Ok(());
    }
    let holder = match target {
        Place::Local(ImagePlace::Docker(_)) => "a Docker daemon",
        _ => "a docker-archive",
    };
    let message = format!("{attempted}: {holder} cannot hold what is attached to the image: {}", kinds.join(", "));
    Err(CommandError::new(ExitStatus::Other, message)
        .hint("leave it out with --no-referrers, or copy to oci-archive:FILE or oci:DIR"))
}

async fn nothing_is_lost(
    source: &Place,
    target: &Place,
    options: &Options,
    context: &Context,
) -> Result<(), CommandError> {
    let attempted = format!("cannot copy {source} to {target}");
    let work = context.unless_stopped(format!("copying {source}"), async {
        let because = |error| CommandError::because(attempted.clone(), error);
        let from = context.source(source).await?;
        let image = Image::find(from.as_ref(), &options.platforms).await.map_err(because)?;
        refuse_loss(&image.with_referrers(from.as_ref()).await.map_err(because)?, target, &attempted)
    });
    work.await
}
