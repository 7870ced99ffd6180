//! Why an image could not be moved.

use std::error::Error as StdError;
use std::io;

/// What went wrong between a source and a target.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A bucket failed.
    #[error(transparent)]
    Bucket(#[from] storage_layout::Error),
    /// A remote registry failed.
    #[error(transparent)]
    Remote(Box<dyn StdError + Send + Sync>),
    /// A remote registry got a blob only in part, whose bytes are gone now: the same blob again, from its start, may arrive.
    #[error(transparent)]
    Interrupted(Box<dyn StdError + Send + Sync>),
    /// The place, or the image in it, does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The place holds something that is no image, or a damaged one.
    #[error("{0}")]
    Invalid(String),
    /// No manifest of the index is for the platform that was asked for.
    #[error("the image is not there for {wanted}; it is there for {available}")]
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// What the index has, joined by commas.
        available: String,
    },
    /// A file could not be read or written.
    #[error("{attempted} {path}")]
    File {
        /// What was attempted, such as `reading`.
        attempted: &'static str,
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Tells whether what was asked for is confirmed to be absent.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Bucket(error) => error.is_not_found(),
            Self::NotFound(_) => true,
            Self::Remote(_) | Self::Interrupted(_) | Self::Invalid(_) | Self::NoPlatform { .. } | Self::File { .. } => {
                false
            }
        }
    }
}
