//! A push of an image in a file or folder.

use std::sync::Arc;

use storage_layout::Tag;

use crate::archive::{self, ArchivePlace, LayerCompression, SourceOptions};
use crate::backend::Intent;
use crate::commands::outcome::Moved;
use crate::commands::{Context, ImageRequest};
use crate::docker::Transport;
use crate::transfer::{CopyOptions, RepositoryTarget, copy_image};
use crate::ui::CommandError;

pub(super) async fn push(
    request: &ImageRequest,
    place: &ArchivePlace,
    tag: &Tag,
    compression: Option<LayerCompression>,
    context: &Context,
) -> Result<Moved, CommandError> {
    let attempted = format!("cannot push {place}");
    let because = |error| CommandError::because(attempted.clone(), error);
    if compression.is_some() && !matches!(place, ArchivePlace::DockerArchive { .. }) {
        context.printer.note("warning: the layers of an OCI image layout are compressed already and stay as they are");
    }
    let options =
        SourceOptions { spool_dir: context.settings.spool_dir.clone(), compression: compression.unwrap_or_default() };
    // A file that cannot be read is found before a bucket is asked, and a folder for a bucket made.
    let source = archive::open_source(place, options).await.map_err(because)?;
    let store = context
        .open(&request.backend, &request.place.bucket, Intent::Write)
        .await
        .map_err(|error| CommandError::because(attempted.clone(), error))?;
    let target = RepositoryTarget::new(Arc::new(store.repository(&request.place.repository)), Some(tag.clone()));
    let options = CopyOptions { platforms: request.platforms.clone(), jobs: context.settings.jobs };
    let copied = context.unless_stopped(format!("pushing {place}"), async {
        copy_image(source.as_ref(), &target, &options, &context.reporter).await.map_err(because)
    });
    let copied = copied.await;
    store.settle().await;
    let copied = copied?;
    Ok(Moved { root: copied.root, blobs: copied.blobs, transport: Some(Transport::Archive) })
}
