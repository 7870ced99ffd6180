//! `artifact`: files and folders in buckets and registries.

pub mod attach;
pub mod discover;
pub mod pull;
pub mod push;

use std::sync::Arc;

use storage_layout::{Descriptor, Tag};

use super::{Context, RepositoryPlace};
use crate::artifact::Packed;
use crate::transfer::{Copied, CopyOptions, Error, PlatformFilter, Repository, RepositoryTarget, copy_image};
use crate::ui::CommandError;

/// Returns what a place names, or of an index the image for a platform, where one is given.
async fn subject(
    repository: &Arc<dyn Repository>,
    place: &RepositoryPlace,
    platform: Option<PlatformFilter>,
) -> Result<Descriptor, Error> {
    let root = repository.get_manifest(&place.reference()).await?;
    match platform {
        Some(platform) if root.is_index() => Ok(platform.choose(root.manifests())?.clone()),
        _ => Ok(root.referrer_descriptor()),
    }
}

/// Copies what was packed to where it is to be. `doing` and `attempted` say so to people.
async fn send(
    packed: &Packed,
    repository: &Arc<dyn Repository>,
    tag: Option<Tag>,
    doing: String,
    attempted: &str,
    context: &Context,
) -> Result<Copied, CommandError> {
    let target = RepositoryTarget::new(Arc::clone(repository), tag);
    let options = CopyOptions { platforms: Vec::new(), jobs: context.settings.jobs };
    let work = context.unless_stopped(doing, async {
        let copied = copy_image(packed, &target, &options, &context.reporter).await;
        copied.map_err(|error| CommandError::because(attempted, packed.what_changed().unwrap_or(error)))
    });
    let copied = work.await;
    // On every way out: what was begun is aborted.
    repository.settle().await;
    copied
}
