//! What `push` and `pull` are both asked.

use std::path::PathBuf;

use super::ImagePlace;
use crate::backend::{BackendConfig, BucketRef};
use crate::transfer::PlatformFilter;

/// An image in a bucket, and what it is or becomes on this machine.
#[derive(Debug)]
pub struct ImageRequest {
    /// The storage.
    pub backend: BackendConfig,
    /// The bucket, the repository, and the tag or digest.
    pub place: BucketRef,
    /// The image on this machine; without it the daemon's `NAME:TAG`.
    pub image: Option<ImagePlace>,
    /// The platforms that are meant. With none, a push takes all that are there, and a pull the daemon's.
    pub platforms: Vec<PlatformFilter>,
    /// Where to write the digest.
    pub digestfile: Option<PathBuf>,
}

impl ImageRequest {
    /// Returns the image's place as the tag names it that is meant; a digest alone means none.
    pub(super) fn named(&self) -> String {
        let place = BucketRef { selector: self.place.selector.by_tag(), ..self.place.clone() };
        format!("{}://{place}", self.backend.scheme())
    }
}
