//! Manifests: the exact bytes, and a parsed view for reading only.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};
use crate::media_type;

pub use oci_spec::image::Platform;

/// The largest manifest that is taken or read, in bytes. The specification asks registries for at least this.
pub const MAX_MANIFEST_SIZE: u64 = 4 * 1024 * 1024;

/// What points to content: its media type, digest and size.
/// <https://github.com/opencontainers/image-spec/blob/main/descriptor.md>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The content's media type.
    pub media_type: String,
    /// The content's digest.
    pub digest: Digest,
    /// The content's size, in bytes.
    pub size: u64,
    /// Where else the content may be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    /// What the content runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The kind of artifact, when the content is a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Makes a descriptor with nothing but the three required fields.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// Tells whether the content may legally be absent: a foreign layer, kept where `urls` says.
    pub fn is_foreign(&self) -> bool {
        !self.urls.is_empty()
            || self.media_type == media_type::DOCKER_FOREIGN_LAYER
            || self.media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
    }
}

fn null_is_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    // Go writes empty maps and slices as null.
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
}

/// An image manifest or an index, as exact bytes. It is never serialised again, so its digest holds.
#[derive(Clone, Debug)]
pub struct Manifest {
    bytes: Bytes,
    digest: Digest,
    media_type: String,
    document: Document,
}

impl Manifest {
    /// Reads a manifest from its bytes. `declared` is the media type it came with, if any: it must be what the document says
    /// of itself.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`] or [`Error::ManifestTooLarge`].
    pub fn parse(bytes: Bytes, algorithm: Algorithm, declared: Option<&str>) -> Result<Self> {
        if bytes.len() as u64 > MAX_MANIFEST_SIZE {
            return Err(Error::ManifestTooLarge { limit: MAX_MANIFEST_SIZE });
        }
        let invalid = |text: String| Error::ManifestInvalid(text);
        let document: Document = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        if document.schema_version != Some(2) {
            return Err(invalid("schemaVersion is not 2".to_owned()));
        }
        let media_type = match (&document.media_type, declared) {
            (Some(own), Some(declared)) if own != declared => {
                return Err(invalid(format!("it came as {declared:?} and calls itself {own:?}")));
            }
            (Some(own), _) => own.clone(),
            (None, Some(declared)) => declared.to_owned(),
            // As Docker's registry does: by shape.
            (None, None) if document.manifests.is_some() => media_type::OCI_INDEX.to_owned(),
            (None, None) => media_type::OCI_MANIFEST.to_owned(),
        };
        match (&document.config, &document.layers, &document.manifests) {
            // A document that is both is read differently by different clients (CVE-2021-41190).
            (None, None, Some(_)) if media_type::is_index(&media_type) => {}
            (Some(_), Some(_), None) if media_type::is_image(&media_type) => {}
            _ if !media_type::is_index(&media_type) && !media_type::is_image(&media_type) => {
                return Err(invalid(format!("unknown media type {:?}", crate::digest::shortened(&media_type))));
            }
            _ if media_type::is_index(&media_type) => {
                return Err(invalid("an index has manifests, and neither config nor layers".to_owned()));
            }
            _ => return Err(invalid("an image manifest has config and layers, and no manifests".to_owned())),
        }
        let digest = algorithm.digest(&bytes);
        Ok(Self { bytes, digest, media_type, document })
    }

    /// Returns the bytes as they were received.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the length of the document, in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Returns the media type.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Tells whether this is an index or a manifest list.
    pub fn is_index(&self) -> bool {
        media_type::is_index(&self.media_type)
    }

    /// Returns the config, which an index has not.
    pub fn config(&self) -> Option<&Descriptor> {
        self.document.config.as_ref()
    }

    /// Returns the layers, the base first.
    pub fn layers(&self) -> &[Descriptor] {
        self.document.layers.as_deref().unwrap_or_default()
    }

    /// Returns the manifests of an index.
    pub fn manifests(&self) -> &[Descriptor] {
        self.document.manifests.as_deref().unwrap_or_default()
    }

    /// Returns config and layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.document.config.iter().chain(self.layers())
    }

    /// Returns the manifest that this one refers to.
    pub fn subject(&self) -> Option<&Descriptor> {
        self.document.subject.as_ref()
    }

    /// Returns a descriptor of this manifest, without platform.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest.clone(), self.size())
    }

    /// Returns the descriptor that a list of referrers holds: with the artifact type, which is the config's media type where
    /// none is given, and the annotations.
    pub fn referrer_descriptor(&self) -> Descriptor {
        let of_config = || self.config().map(|config| config.media_type.clone());
        Descriptor {
            artifact_type: self.document.artifact_type.clone().or_else(of_config),
            annotations: self.document.annotations.clone(),
            ..self.descriptor()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn parse(text: &str, declared: Option<&str>) -> Result<Manifest> {
        Manifest::parse(Bytes::from(text.to_owned()), Algorithm::Sha256, declared)
    }

    #[test]
    fn reads_an_image_and_guesses_its_media_type() {
        let text = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"c","digest":"{DIGEST}","size":5,"annotations":null}},"layers":[]}}"#
        );
        let manifest = parse(&text, None).unwrap();
        assert_eq!(manifest.media_type(), media_type::OCI_MANIFEST);
        assert_eq!(manifest.blobs().count(), 1);
        assert_eq!(manifest.referrer_descriptor().artifact_type.as_deref(), Some("c"));
        assert_eq!(parse(&text, Some(media_type::DOCKER_MANIFEST)).unwrap().media_type(), media_type::DOCKER_MANIFEST);
    }

    #[test]
    fn refuses_what_clients_would_read_differently() {
        let config = format!(r#""config":{{"mediaType":"c","digest":"{DIGEST}","size":5}}"#);
        for (text, declared) in [
            (String::new(), None),
            ("[]".to_owned(), None),
            (r#"{"schemaVersion":1}"#.to_owned(), None),
            (r#"{"schemaVersion":2}"#.to_owned(), None),
            (format!(r#"{{"schemaVersion":2,{config},"layers":[],"manifests":[]}}"#), None),
            (format!(r#"{{"schemaVersion":2,{config},"layers":[]}}"#), Some(media_type::OCI_INDEX)),
            (format!(r#"{{"schemaVersion":2,{config},{config},"layers":[]}}"#), None),
            (format!(r#"{{"schemaVersion":2,"mediaType":"x/y",{config},"layers":[]}}"#), None),
            (
                format!(r#"{{"schemaVersion":2,"mediaType":"{}",{config},"layers":[]}}"#, media_type::OCI_MANIFEST),
                Some("x/y"),
            ),
            // Without a size: what Docker writes when a registry answers for a truncated layer.
            (format!(r#"{{"schemaVersion":2,{config},"layers":[{{"mediaType":"l","digest":"{DIGEST}"}}]}}"#), None),
            (
                format!(
                    r#"{{"schemaVersion":2,{config},"layers":[{{"mediaType":"l","digest":"sha256:../x","size":1}}]}}"#
                ),
                None,
            ),
            (format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), None),
        ] {
            assert!(matches!(parse(&text, declared), Err(Error::ManifestInvalid(_))), "{text:.80} was accepted");
        }
    }

    #[test]
    fn refuses_more_than_four_mebibytes() {
        let text = " ".repeat(4 * 1024 * 1024 + 1);
        assert!(matches!(parse(&text, None), Err(Error::ManifestTooLarge { .. })));
    }
}
