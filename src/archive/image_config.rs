//! The config of an image, and the manifest that is made for it where there is none.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use storage_layout::{Algorithm, Descriptor, Digest, Manifest, media_type};

use super::compress::{CompressionFormat, LayerBlob};
use crate::transfer::Error;

/// A config: the exact bytes, whose digest is the image's ID.
#[derive(Clone, Debug)]
pub struct ImageConfig {
    bytes: Bytes,
    digest: Digest,
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct Document {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

impl ImageConfig {
    /// Reads a config. `label` is what holds it, for messages.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is none.
    pub fn read(label: &str, bytes: Bytes) -> Result<Self, Error> {
        let digest = Algorithm::Sha256.digest(&bytes);
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|error| Error::Invalid(format!("{label} is damaged: the config {digest}: {error}")))?;
        Ok(Self { bytes, digest, diff_ids: document.rootfs.diff_ids.unwrap_or_default() })
    }

    /// Makes sure that it has as many layers as whatever named it.
    pub(super) fn check_count(self, label: &str, listed: usize) -> Result<Self, Error> {
        let known = self.diff_ids.len();
        if listed == known {
            return Ok(self);
        }
        Err(Error::Invalid(format!("{label} is damaged: it lists {listed} layers, the image's config {known}")))
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the digests of the layers uncompressed, the base first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// Makes the manifest of the image out of its layers by diffID: one of Docker's, which all daemons take, or where a layer is
    /// compressed by zstd, which those know nothing of, one of OCI.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a layer is missing.
    pub fn manifest(&self, label: &str, layers: &HashMap<Digest, LayerBlob>) -> Result<Manifest, Error> {
        let missing = |diff_id| {
            let what = "no layer in it has the digest";
            Error::Invalid(format!("{label} is damaged: {what} {diff_id}, which the image's config names"))
        };
        let found = |diff_id| layers.get(diff_id).ok_or_else(|| missing(diff_id));
        let layers: Vec<&LayerBlob> = self.diff_ids.iter().map(found).collect::<Result<_, Error>>()?;
        let is_oci = layers.iter().any(|layer| layer.format == CompressionFormat::Zstd);
        let described = |layer: &&LayerBlob| {
            let media_type = match (layer.format, is_oci) {
                (CompressionFormat::Zstd, _) => media_type::OCI_LAYER_ZSTD,
                (CompressionFormat::Gzip, true) => media_type::OCI_LAYER_GZIP,
                (CompressionFormat::Gzip, false) => media_type::DOCKER_LAYER_GZIP,
            };
            Descriptor::new(media_type, layer.digest.clone(), layer.size)
        };
        let (own, config) = if is_oci {
            (media_type::OCI_MANIFEST, media_type::OCI_CONFIG)
        } else {
            (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG)
        };
        let document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": own,
            "config": Descriptor::new(config, self.digest.clone(), self.bytes.len() as u64),
            "layers": layers.iter().map(described).collect::<Vec<_>>(),
        });
        Manifest::parse(Bytes::from(document.to_string()), Algorithm::Sha256, None)
            .map_err(|error| Error::Invalid(format!("{label} holds an image that has no manifest: {error}")))
    }
}
