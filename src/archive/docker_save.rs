//! `manifest.json` of a `docker save` archive, and which image of it is meant.

use serde::{Deserialize, Serialize};

use super::image_name::ImageName;
use super::problem::{listed, quoted};
use crate::transfer::Error;

/// The longest document of an archive that is read into memory, in bytes.
pub(super) const MAX_DOCUMENT: u64 = 8 * 1024 * 1024;

/// An image of `manifest.json`: names of files in the archive, and names of the image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SavedImage {
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub(super) layers: Option<Vec<String>>,
}

impl SavedImage {
    /// Returns the image's names that are names.
    pub(super) fn names(&self) -> impl Iterator<Item = ImageName> {
        self.repo_tags.iter().flatten().filter_map(|text| ImageName::parse(text).ok())
    }

    pub(super) fn layers(&self) -> &[String] {
        self.layers.as_deref().unwrap_or_default()
    }

    fn shown(&self) -> String {
        match self.repo_tags.as_deref().unwrap_or_default() {
            [] => format!("{} without a name", quoted(&self.config)),
            tags => tags.iter().map(|tag| quoted(tag)).collect::<Vec<_>>().join(", "),
        }
    }
}

/// The refusal of an archive without a `manifest.json`.
pub(super) fn no_manifest(label: &str, hint: &str) -> Error {
    Error::Invalid(format!("{label} has no manifest.json, so docker save did not write it{hint}"))
}

/// The refusal of an archive without the file `name`, the `what` of an image in it.
pub(super) fn missing(label: &str, what: &str, name: &str) -> Error {
    Error::NotFound(format!("{label} names the {what} {} and does not hold it", quoted(name)))
}

/// Reads `manifest.json`.
pub(super) fn parse(label: &str, bytes: &[u8]) -> Result<Vec<SavedImage>, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Invalid(format!("{label} is damaged: manifest.json: {error}")))
}

/// Returns the image that is called `wanted`, or the only one.
pub(super) fn choose<'a>(
    label: &str,
    images: &'a [SavedImage],
    wanted: Option<&ImageName>,
) -> Result<&'a SavedImage, Error> {
    let shown = || listed(&images.iter().map(SavedImage::shown).collect::<Vec<_>>());
    match (wanted, images) {
        (_, []) => Err(Error::NotFound(format!("{label}: there is no image in it"))),
        // Of two images with one name the later counts, as when Docker loads them.
        (Some(wanted), _) => {
            images.iter().rev().find(|image| image.names().any(|name| name == *wanted)).ok_or_else(|| {
                Error::NotFound(format!("{label}: there is no image of that name in it; there are: {}", shown()))
            })
        }
        (None, [first, others @ ..]) => {
            if others.iter().any(|other| (&other.config, &other.layers) != (&first.config, &first.layers)) {
                let hint = "name one of them after a colon";
                return Err(Error::NotFound(format!("{label} holds several images; {hint}: {}", shown())));
            }
            Ok(first)
        }
    }
}
