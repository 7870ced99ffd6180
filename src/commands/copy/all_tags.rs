//! `copy --all-tags`: all tagged images of a repository.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use storage_layout::{Reference, Tag};

use super::target::{TargetEnd, open_repository};
use super::{Options, copy_between, outcome};
use crate::backend::Intent;
use crate::commands::outcome::Outcome;
use crate::commands::place::Near;
use crate::commands::{Context, Place, RepositoryPlace, tags};
use crate::transfer::{Repository, RepositorySource, is_digest_tag};
use crate::ui::{CommandError, ExitStatus, Format};

/// The result of several copies.
#[derive(Serialize)]
struct Outcomes {
    images: Vec<Outcome>,
}

/// Copies all tags. One that fails does not keep the others back.
pub(super) async fn run(
    source: &RepositoryPlace,
    target: &RepositoryPlace,
    options: &Options,
    context: &Context,
) -> Result<ExitStatus, CommandError> {
    for place in [source, target] {
        if place.tag().is_some() || place.digest().is_some() {
            let message = format!("--all-tags copies whole repositories, and {place} names one image");
            return Err(CommandError::usage(message).hint("leave the tag and the digest away"));
        }
    }
    let Opened { from, to, tags } = open(source, target, options, context).await?;
    let (total, mut outcomes, mut failed) = (tags.len(), Vec::new(), Vec::new());
    for tag in tags {
        let begun = Instant::now();
        let reference = Reference::Tag(tag.clone());
        let of = |place: &RepositoryPlace| Place::Repository(place.with_reference(Some(&reference)));
        let (source, target) = (of(source), of(target));
        let image = RepositorySource::new(Arc::clone(&from), reference.clone());
        let end = TargetEnd::at_tag(to.clone(), tag.clone());
        match copy_between((&source, &image), (&target, end), options, context).await {
            Ok(copied) => {
                let outcome = outcome(&source, &target, &copied, options, begun);
                outcome.summarize(&format!("{} {tag}", options.verb()), context);
                if context.printer.format() == Format::Text {
                    context.printer.result(&outcome.line());
                }
                outcomes.push(outcome);
            }
            Err(error) if error.status() == ExitStatus::Interrupted => return Err(error),
            Err(error) => failed.push(error),
        }
    }
    if outcomes.is_empty()
        && let Some(first) = failed.pop()
    {
        return Err(first);
    }
    for error in &failed {
        error.print(&context.printer);
    }
    if context.printer.format() == Format::Json {
        context.printer.document(&Outcomes { images: outcomes })?;
    }
    if failed.is_empty() {
        return Ok(ExitStatus::Ok);
    }
    context.printer.error_line(&format!("{} of {total} tags could not be copied", failed.len()));
    Ok(ExitStatus::Partly)
}

/// Both repositories, and what is to be copied.
struct Opened {
    from: Arc<dyn Repository>,
    /// `None` where a dry run would have to make it first.
    to: Option<Arc<dyn Repository>>,
    tags: Vec<Tag>,
}

/// Opens both ends, once for all tags.
async fn open(
    source: &RepositoryPlace,
    target: &RepositoryPlace,
    options: &Options,
    context: &Context,
) -> Result<Opened, CommandError> {
    let work = context.unless_stopped(format!("listing the tags of {source}"), async {
        let from = context.repository(source, Intent::Read).await?;
        let mut tags = tags::list(from.as_ref(), source).await?;
        // Those that are made of digests are no images: what they stand for goes with the image that it is attached to.
        tags.retain(|tag| !is_digest_tag(tag.as_str()));
        let near = Near { place: source, bucket: from.bucket() };
        let to = open_repository(target, Some(near), options.dry_run, context).await?;
        Ok(Opened { from, to, tags })
    });
    work.await
}
