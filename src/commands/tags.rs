//! `tags`: the tags of a repository.

use serde::Serialize;
use storage_layout::Tag;

use super::{Context, RepositoryPlace};
use crate::backend::Intent;
use crate::transfer::Repository;
use crate::ui::{CommandError, Format};

#[derive(Serialize)]
struct Listed {
    repository: String,
    tags: Vec<Tag>,
}

/// Lists all tags of a repository, in byte order.
///
/// # Errors
/// If there is no such repository.
pub async fn run(place: RepositoryPlace, context: &Context) -> Result<(), CommandError> {
    let work = context.unless_stopped(format!("listing the tags of {place}"), async {
        let repository = context.repository(&place, Intent::Read).await?;
        list(repository.as_ref(), &place).await
    });
    let tags = work.await?;
    if context.printer.format() == Format::Json {
        return context.printer.document(&Listed { repository: place.to_string(), tags });
    }
    for tag in tags {
        context.printer.result(tag.as_str());
    }
    Ok(())
}

/// Returns all tags of the repository at `place`, in byte order.
pub(super) async fn list(repository: &dyn Repository, place: &RepositoryPlace) -> Result<Vec<Tag>, CommandError> {
    let tags = repository.tags().await;
    tags.map_err(|error| CommandError::because(format!("cannot list the tags of {place}"), error))
}
