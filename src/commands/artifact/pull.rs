//! `artifact pull`: an artifact's files come into a folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use storage_layout::{Manifest, Reference};

use crate::artifact;
use crate::backend::Intent;
use crate::commands::outcome::Outcome;
use crate::commands::{Context, RepositoryPlace};
use crate::docker::Transport;
use crate::transfer::{BlobStatus, CopiedBlob, Error, PlatformFilter, Repository};
use crate::ui::CommandError;

/// What to pull, and where to.
#[derive(Debug)]
pub struct Request {
    /// Where from.
    pub place: RepositoryPlace,
    /// The folder that the files go to.
    pub output: PathBuf,
    /// Whether files that are there may not be replaced.
    pub keep_old_files: bool,
    /// The platform to choose from an index; without it, that of this machine.
    pub platform: Option<PlatformFilter>,
}

/// Pulls files.
///
/// # Errors
/// Nothing in the folder is then changed.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    let begun = Instant::now();
    let place = &request.place;
    let attempted = format!("cannot pull {place} to {}", request.output.display());
    let because = |error| CommandError::because(attempted.clone(), error);
    let stopped = format!("pulling {place}");
    let fetched = context.unless_stopped(stopped.clone(), async {
        let repository = context.repository(place, Intent::Read).await?;
        let root = repository.get_manifest(&place.reference()).await.map_err(because)?;
        let root = choose(&repository, root, request.platform.as_ref()).await.map_err(because)?;
        let jobs = context.settings.jobs;
        let fetched = artifact::fetch(&repository, &root, &request.output, jobs, &context.reporter).await;
        Ok((root, fetched.map_err(because)?))
    });
    let (root, fetched) = fetched.await?;
    // It is not dropped half-way: what it has begun it must be able to undo.
    let unpacked = fetched.unpack(request.keep_old_files, &context.cancel).await;
    if unpacked.is_err() && context.cancel.is_cancelled() {
        return Err(CommandError::interrupted(format!("{stopped} was interrupted")));
    }
    let files = unpacked.map_err(|error| {
        let is_in_the_way =
            matches!(&error, Error::File { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists);
        let error = because(error);
        if is_in_the_way { error.hint("choose another folder with -o, or move what is in the way") } else { error }
    })?;
    if files.is_empty() {
        context.printer.note("the artifact has no files");
    }
    let blobs: Vec<CopiedBlob> = root
        .layers()
        .iter()
        .filter(|layer| files.iter().any(|file| file.digest == layer.digest))
        .map(|layer| CopiedBlob { descriptor: layer.clone(), status: BlobStatus::Sent })
        .collect();
    Outcome::new(place.by_tag().to_string(), &root, Transport::Registry, &blobs, begun)
        .with_files(files)
        .tell("pulled", None, context)
}

/// Chooses from an index what is for the platform.
async fn choose(
    repository: &Arc<dyn Repository>,
    root: Manifest,
    platform: Option<&PlatformFilter>,
) -> Result<Manifest, Error> {
    let chosen = match (root.manifests(), platform) {
        _ if !root.is_index() => return Ok(root),
        ([only], None) => only,
        (several, None) => PlatformFilter::host().choose(several)?,
        (several, Some(platform)) => platform.choose(several)?,
    };
    repository.get_manifest(&Reference::Digest(chosen.digest.clone())).await
}
