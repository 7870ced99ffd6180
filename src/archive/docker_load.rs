//! The documents of a tar that every `docker load` takes.
//!
//! Docker's own store reads `manifest.json` and nothing else; its containerd store prefers `index.json`, and so keeps the image's
//! digest. Both find layers and config under `blobs/`.

use std::collections::BTreeMap;

use bytes::Bytes;
use storage_layout::{Descriptor, Manifest, media_type};

use super::docker_save::SavedImage;
use super::image_name::ImageName;
use super::layout_source::{IMAGE_NAME, REF_NAME, blob_path};
use crate::transfer::Error;

/// What marks an image layout.
pub(super) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Returns `manifest.json`.
pub(super) fn manifest_json(label: &str, root: &Manifest, name: Option<&ImageName>) -> Result<Bytes, Error> {
    let Some(config) = root.config() else {
        let hint = "an archive for docker load holds one platform; choose it with --platform";
        return Err(Error::Invalid(format!("{label}: the image is an index of several platforms; {hint}")));
    };
    if let Some(layer) = root.layers().iter().find(|layer| layer.is_foreign()) {
        let digest = &layer.digest;
        return Err(Error::Invalid(format!(
            "{label}: layer {digest} is kept elsewhere, and docker load needs it here"
        )));
    }
    let saved = SavedImage {
        config: blob_path(&config.digest),
        repo_tags: name.map(|name| vec![name.familiar()]),
        layers: Some(root.layers().iter().map(|layer| blob_path(&layer.digest)).collect()),
    };
    Ok(document(&[saved]))
}

/// Returns the entry of an `index.json` for `root`, under the names that Docker looks for.
pub(super) fn named_descriptor(root: &Manifest, name: Option<&ImageName>) -> Descriptor {
    let mut descriptor = root.descriptor();
    if let Some(name) = name {
        descriptor.annotations =
            BTreeMap::from([(IMAGE_NAME.to_owned(), name.to_string()), (REF_NAME.to_owned(), name.tag().to_string())]);
    }
    descriptor
}

/// Returns the entry of an `index.json` for `root`, under its name in an image layout.
pub(super) fn tagged_descriptor(root: &Manifest, tag: Option<&str>) -> Descriptor {
    let mut descriptor = root.descriptor();
    descriptor.annotations = tag.map(|tag| (REF_NAME.to_owned(), tag.to_owned())).into_iter().collect();
    descriptor
}

/// Returns an `index.json`.
pub(super) fn index_json(entries: &[Descriptor]) -> Bytes {
    document(&serde_json::json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries}))
}

fn document(value: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("names and digests are JSON strings"))
}
