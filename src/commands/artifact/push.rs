//! `artifact push`: files become an artifact, or an image.

use std::time::Instant;

use crate::artifact::Plan;
use crate::backend::Intent;
use crate::commands::outcome::Outcome;
use crate::commands::{Context, RepositoryPlace};
use crate::docker::Transport;
use crate::ui::CommandError;

/// What to push, and where to.
#[derive(Debug)]
pub struct Request {
    /// Where to.
    pub place: RepositoryPlace,
    /// What.
    pub plan: Plan,
    /// Whether it is to be an image that Docker takes.
    pub as_image: bool,
}

/// Pushes files.
///
/// # Errors
/// The place then shows nothing of them.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    let begun = Instant::now();
    let Request { place, plan, as_image } = request;
    let tag = place.tag_or_latest();
    let named = place.by_tag().to_string();
    let attempted = format!("cannot push to {named}");
    let doing = || format!("pushing to {named}");
    let prepared = context.unless_stopped(doing(), async {
        // What cannot be read is told of before anything is sent.
        let spool_dir = &context.settings.spool_dir;
        let packed = if as_image { plan.pack_image(spool_dir).await } else { plan.pack(None, spool_dir).await };
        let packed = packed.map_err(|error| CommandError::because(attempted.clone(), error))?;
        Ok((packed, context.repository(&place, Intent::Write).await?))
    });
    let (packed, repository) = prepared.await?;
    let copied = super::send(&packed, &repository, Some(tag), doing(), &attempted, context).await?;
    Outcome::new(named, &copied.root, Transport::Registry, &copied.blobs, begun).tell("pushed", None, context)
}
