//! `push`: an image of this machine goes into a bucket.

mod by_archive;
mod by_registry;
mod cost;
mod from_archive;
mod from_docker;
mod known;
mod one_pass;

use std::time::Instant;

use super::{Context, ImagePlace, ImageRequest};
use crate::archive::{CompressionFormat, LayerCompression};
use crate::ui::CommandError;

pub(super) use by_registry::contents;
pub(super) use cost::Allowance;

/// What to push, and how.
#[derive(Debug)]
pub struct Request {
    /// The image.
    pub image: ImageRequest,
    /// How layers are compressed that are not, where the user has a wish.
    pub compression: Option<LayerCompression>,
}

/// Pushes an image.
///
/// # Errors
/// Nothing of the image is then visible under the tag, and nothing temporary is left.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    let begun = Instant::now();
    let Request { image: request, compression } = &request;
    let (tag, reference) = (request.place.selector.tag_or_latest(), request.named());
    if compression.is_some_and(|compression| compression.format() == CompressionFormat::Zstd) {
        context.printer.note("warning: Docker before 23.0 cannot pull layers that are compressed by zstd");
    }
    let name = match &request.image {
        Some(ImagePlace::Archive(place)) => {
            let pushed = from_archive::push(request, place, &tag, *compression, context).await?;
            return pushed.outcome(reference, begun).tell("pushed", request.digestfile.as_deref(), context);
        }
        Some(ImagePlace::Docker(name)) => Some(name.as_str()),
        None => None,
    };
    let pushed = from_docker::push(request, name, &tag, *compression, context).await?;
    pushed.outcome(reference, begun).tell("pushed", request.digestfile.as_deref(), context)
}
