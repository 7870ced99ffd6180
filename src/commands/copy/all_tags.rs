//! `copy --all-tags`: all tagged images of a repository.

use std::time::Instant;

use serde::Serialize;
use storage_layout::{Reference, Tag};

use super::{Options, copy, outcome};
use crate::backend::Intent;
use crate::commands::outcome::Outcome;
use crate::commands::{Context, Place, RepositoryPlace};
use crate::transfer::is_digest_tag;
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
            return Err(CommandError::new(ExitStatus::Usage, message).hint("leave the tag and the digest away"));
        }
    }
    let tags = tags(source, context).await?;
    let (total, mut outcomes, mut failed) = (tags.len(), Vec::new(), Vec::new());
    for tag in tags {
        let begun = Instant::now();
        let of = |place: &RepositoryPlace| Place::Repository(place.with_reference(Some(&Reference::Tag(tag.clone()))));
        let (from, to) = (of(source), of(target));
        match copy(&from, &to, options, context).await {
            Ok(copied) => {
                let outcome = outcome(&from, &to, &copied, options, begun);
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

/// Tags that are made of digests are no images: what they stand for goes with the image that it is attached to.
async fn tags(source: &RepositoryPlace, context: &Context) -> Result<Vec<Tag>, CommandError> {
    let work = context.unless_stopped(format!("listing the tags of {source}"), async {
        let repository = context.repository(source, Intent::Read).await?;
        let tags = repository.tags().await;
        tags.map_err(|error| CommandError::because(format!("cannot list the tags of {source}"), error))
    });
    Ok(work.await?.into_iter().filter(|tag| !is_digest_tag(tag.as_str())).collect())
}
