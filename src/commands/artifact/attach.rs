//! `artifact attach`: files become an artifact that refers to an image or another artifact.

use std::time::Instant;

use storage_layout::Descriptor;

use crate::artifact::Plan;
use crate::backend::Intent;
use crate::commands::outcome::Outcome;
use crate::commands::{Context, RepositoryPlace};
use crate::docker::Transport;
use crate::transfer::PlatformFilter;
use crate::ui::CommandError;

/// What to attach, and what to.
#[derive(Debug)]
pub struct Request {
    /// What to.
    pub place: RepositoryPlace,
    /// What.
    pub plan: Plan,
    /// The platform of an index that it is for.
    pub platform: Option<PlatformFilter>,
}

/// Attaches files.
///
/// # Errors
/// Nothing refers to the image then that did not before.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    let begun = Instant::now();
    let Request { place, plan, platform } = request;
    let attempted = format!("cannot attach to {place}");
    let doing = || format!("attaching to {place}");
    let prepared = context.unless_stopped(doing(), async {
        let because = |error| CommandError::because(attempted.clone(), error);
        let repository = context.repository(&place, Intent::Write).await?;
        let subject = super::subject(&repository, &place, platform).await.map_err(because)?;
        // What is attached points to it and says nothing more of it.
        let Descriptor { media_type, digest, size, .. } = subject;
        let subject = Descriptor::new(media_type, digest, size);
        let packed = plan.pack(Some(subject), &context.settings.spool_dir).await.map_err(because)?;
        Ok((packed, repository))
    });
    let (packed, repository) = prepared.await?;
    let copied = super::send(&packed, &repository, None, doing(), &attempted, context).await?;
    let named = place.with_reference(None).to_string();
    Outcome::new(named, &copied.root, Transport::Registry, &copied.blobs, begun).tell("attached", None, context)
}
