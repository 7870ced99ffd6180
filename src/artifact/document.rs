//! The manifest of an artifact, byte for byte as oras writes it.

use std::collections::BTreeMap;

use serde::Serialize;
use storage_layout::{Algorithm, Descriptor, Digest, Manifest, media_type};

use crate::transfer::Error;

/// The media type of a blob that holds nothing, `{}`.
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// What such a blob holds.
pub(super) const EMPTY: &[u8] = b"{}";
/// The same in Base64, which its descriptor may carry.
const EMPTY_BASE64: &str = "e30=";

/// A descriptor as it is written, its fields in the order of Go's type.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pointer {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'static str>,
}

impl Pointer {
    pub(super) fn new(media_type: &str, digest: Digest, size: u64, annotations: BTreeMap<String, String>) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, annotations, data: None }
    }

    /// Points to the blob that holds nothing.
    pub(super) fn empty(annotations: BTreeMap<String, String>) -> Self {
        let digest = Algorithm::Sha256.digest(EMPTY);
        Self { data: Some(EMPTY_BASE64), ..Self::new(EMPTY_TYPE, digest, EMPTY.len() as u64, annotations) }
    }
}

/// A manifest, its fields in the order of Go's type.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    schema_version: u8,
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Pointer,
    layers: Vec<Pointer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

impl Document {
    /// An artifact. `subject` is what it is attached to.
    pub(super) fn artifact(
        artifact_type: Option<String>,
        config: Pointer,
        layers: Vec<Pointer>,
        subject: Option<Descriptor>,
        annotations: BTreeMap<String, String>,
    ) -> Self {
        let media_type = media_type::OCI_MANIFEST;
        Self { schema_version: 2, media_type, artifact_type, config, layers, subject, annotations }
    }

    /// An image of one layer as Docker has it.
    pub(super) fn docker_image(config: Pointer, layer: Pointer) -> Self {
        Self {
            media_type: media_type::DOCKER_MANIFEST,
            ..Self::artifact(None, config, vec![layer], None, BTreeMap::new())
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`Error::Bucket`] if it is too large for a manifest.
    pub(super) fn into_manifest(self) -> Result<Manifest, Error> {
        let text =
            serde_json::to_string(&self).map_err(|error| Error::Invalid(format!("writing the manifest: {error}")))?;
        Ok(Manifest::parse(as_go_writes(&text).into(), Algorithm::Sha256, Some(self.media_type))?)
    }
}

/// Escapes what Go's encoder escapes beyond what it must, so that the same document has the same digest.
fn as_go_writes(json: &str) -> String {
    let mut written = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // None of them stands anywhere but in a string.
            '<' => written.push_str("\\u003c"),
            '>' => written.push_str("\\u003e"),
            '&' => written.push_str("\\u0026"),
            '\u{2028}' => written.push_str("\\u2028"),
            '\u{2029}' => written.push_str("\\u2029"),
            c => written.push(c),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_written_as_oras_writes_it() {
        // What oras 1.3.3 pushed for `oras push --artifact-type acme/rocket -a k='a<b>&c' -a org.opencontainers.image.created=…`.
        let annotations = [("k", "a<b>&c"), ("org.opencontainers.image.created", "2026-01-01T00:00:00Z")];
        let annotations = annotations.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let empty = Pointer::empty(BTreeMap::new());
        let manifest =
            Document::artifact(Some("acme/rocket".to_owned()), empty.clone(), vec![empty], None, annotations)
                .into_manifest()
                .unwrap();
        let pointer = r#"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="}"#;
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"acme/rocket","config":{pointer},"layers":[{pointer}],"annotations":{{"k":"a\u003cb\u003e\u0026c","org.opencontainers.image.created":"2026-01-01T00:00:00Z"}}}}"#
        );
        assert_eq!(manifest.bytes(), expected.as_bytes());
    }
}
