//! `pull` from a registry: a copy to this machine, for one platform where the place holds one.

use std::path::PathBuf;
use std::time::Instant;

use super::{Options, copy};
use crate::commands::outcome::Outcome;
use crate::commands::{Context, ImagePlace, Place, RepositoryPlace};
use crate::docker::Transport;
use crate::transfer::PlatformFilter;
use crate::ui::CommandError;

/// What to pull from a registry, and where to.
#[derive(Debug)]
pub struct PullRequest {
    /// The image.
    pub source: RepositoryPlace,
    /// Where to; without it the daemon, by the image's name.
    pub image: Option<ImagePlace>,
    /// The platforms that are wanted.
    pub platforms: Vec<PlatformFilter>,
    /// Where to write the digest.
    pub digestfile: Option<PathBuf>,
}

/// Pulls an image from a registry. What is attached to it stays there: it is the image that is wanted.
///
/// # Errors
/// Nothing is then named, and no file is there that was not before.
pub async fn pull(request: PullRequest, context: &Context) -> Result<(), CommandError> {
    let begun = Instant::now();
    let PullRequest { source, image, platforms, digestfile } = request;
    let image = match (image, source.image_name()) {
        (Some(image), _) => image,
        (None, Some(name)) => ImagePlace::Docker(name),
        (None, None) => {
            return Err(CommandError::usage(format!("{source} names no tag to give the image"))
                .hint("say where it goes: --path FILE, or --image NAME:TAG for the Docker daemon"));
        }
    };
    let reference = source.by_tag().to_string();
    let options = Options { platforms, referrers: false, dry_run: false };
    let copied = copy(&Place::Repository(source), &Place::Local(image), &options, context).await?;
    Outcome::new(reference, &copied.root, Transport::Archive, &copied.blobs, begun).tell(
        "pulled",
        digestfile.as_deref(),
        context,
    )
}
