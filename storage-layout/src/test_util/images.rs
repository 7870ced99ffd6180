//! Images that are made up.

use bytes::Bytes;

use crate::digest::{Algorithm, Digest};
use crate::manifest::{Descriptor, Manifest};
use crate::media_type;

/// An image with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Manifest,
    /// Config and layers, in the manifest's order.
    pub blobs: Vec<(Descriptor, Bytes)>,
    /// The images of an index.
    pub children: Vec<Self>,
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.manifest.bytes() == other.manifest.bytes() && self.blobs == other.blobs && self.children == other.children
    }
}

impl Image {
    /// Returns the manifest's digest.
    pub fn digest(&self) -> &Digest {
        self.manifest.digest()
    }
}

/// Returns `length` bytes that look random and are always the same for a `seed`.
pub fn noise(seed: u64, length: usize) -> Bytes {
    // SplitMix64: <https://prng.di.unimi.it/splitmix64.c>
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

fn described(media_type: &str, content: Bytes) -> (Descriptor, Bytes) {
    (Descriptor::new(media_type, Algorithm::Sha256.digest(&content), content.len() as u64), content)
}

fn manifest(media_type: &str, document: &serde_json::Value) -> Manifest {
    Manifest::parse(document.to_string().into(), Algorithm::Sha256, Some(media_type)).expect("it is a manifest")
}

/// Makes up an OCI image of `layers` layers of `size` bytes each. The layers are noise, no archives.
pub fn image(seed: u64, layers: usize, size: usize) -> Image {
    image_of([media_type::OCI_MANIFEST, media_type::OCI_CONFIG, media_type::OCI_LAYER_GZIP], seed, layers, size)
}

/// Like [`image`], with Docker's media types.
pub fn docker_image(seed: u64, layers: usize, size: usize) -> Image {
    let types = [media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG, media_type::DOCKER_LAYER_GZIP];
    image_of(types, seed, layers, size)
}

fn image_of(types: [&str; 3], seed: u64, layers: usize, size: usize) -> Image {
    let layers: Vec<Bytes> = (0..layers as u64).map(|layer| noise(seed.wrapping_mul(1_000) + layer, size)).collect();
    from_layers(types, &format!("made up from {seed}"), layers)
}

/// Makes an OCI image of given layers. `comment` goes into its config.
pub fn image_from(comment: &str, layers: Vec<Bytes>) -> Image {
    from_layers([media_type::OCI_MANIFEST, media_type::OCI_CONFIG, media_type::OCI_LAYER_GZIP], comment, layers)
}

fn from_layers([manifest_type, config_type, layer_type]: [&str; 3], comment: &str, layers: Vec<Bytes>) -> Image {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Algorithm::Sha256.digest(layer)).collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "comment": comment,
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = described(config_type, config.to_string().into());
    let layers: Vec<_> = layers.into_iter().map(|layer| described(layer_type, layer)).collect();
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": config.0,
        "layers": layers.iter().map(|(descriptor, _)| descriptor).collect::<Vec<_>>(),
    });
    let blobs = std::iter::once(config).chain(layers).collect();
    Image { manifest: manifest(manifest_type, &document), blobs, children: Vec::new() }
}

/// Makes up an index of two platforms: `linux/amd64` and `linux/arm64`.
pub fn index(seed: u64, layers: usize, size: usize) -> Image {
    let children = vec![image(seed * 2, layers, size), image(seed * 2 + 1, layers, size)];
    let describe = |(child, architecture): (&Image, &str)| {
        let mut descriptor = serde_json::json!(child.manifest.descriptor());
        descriptor["platform"] = serde_json::json!({ "architecture": architecture, "os": "linux" });
        descriptor
    };
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": children.iter().zip(["amd64", "arm64"]).map(describe).collect::<Vec<_>>(),
    });
    Image { manifest: manifest(media_type::OCI_INDEX, &document), blobs: Vec::new(), children }
}

/// Makes an index that lists `manifests` as they are, such as a client keeps under a tag for want of a referrers API.
pub fn index_of(manifests: &[Descriptor]) -> Manifest {
    let document =
        serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests });
    manifest(media_type::OCI_INDEX, &document)
}

/// Makes up an artifact of one layer that refers to `subject`.
pub fn artifact(seed: u64, subject: &Manifest, artifact_type: &str) -> Image {
    let config = described("application/vnd.oci.empty.v1+json", Bytes::from_static(b"{}"));
    let layer = described("application/octet-stream", noise(seed, 100));
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": config.0,
        "layers": [layer.0],
        "subject": subject.descriptor(),
        "annotations": { "seed": seed.to_string() },
    });
    Image { manifest: manifest(media_type::OCI_MANIFEST, &document), blobs: vec![config, layer], children: Vec::new() }
}
