//! `artifact`: files and folders in buckets and registries.

pub mod attach;
pub mod discover;
pub mod pull;
pub mod push;

use std::sync::Arc;

use storage_layout::Tag;

use super::Context;
use crate::artifact::Packed;
use crate::transfer::{Copied, CopyOptions, Repository, RepositoryTarget, copy_image};
use crate::ui::CommandError;

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
