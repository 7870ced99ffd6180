//! `inspect`: what an image is made of, for people.

mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage_layout::{Descriptor, Digest, Manifest, Platform};

use super::manifest::missing;
use super::{Context, Place};
use crate::transfer::{Error, Image, MAX_CONFIG, Referrer, Source, platform_name, read_small};
use crate::ui::{CommandError, Format};

/// What refers to what refers to an image: more levels than this are not shown.
const MAX_DEPTH: usize = 8;
/// What an index says of an attestation about one of its images.
const ATTESTED: &str = "vnd.docker.reference.digest";

/// An image, or an index with its images.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Inspected {
    reference: String,
    digest: Digest,
    media_type: String,
    /// The length of the manifest, in bytes.
    size: u64,
    /// All configs and layers together, each once, in bytes; absent where not all of the image is there.
    content_size: Option<u64>,
    images: Vec<InspectedImage>,
    referrers: Vec<Node>,
}

/// An image for one platform.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InspectedImage {
    digest: Digest,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// What kind of artifact it is, if it is no image.
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
    /// Attestations that the index has of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attestations: Vec<Digest>,
    referrers: Vec<Node>,
}

/// Something that is attached, and what is attached to that.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    artifact_type: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    referrers: Vec<Self>,
}

/// What is read of an image's config.
#[derive(Debug, Default, Deserialize)]
struct Config {
    created: Option<String>,
    #[serde(flatten)]
    platform: Option<Platform>,
    #[serde(default, rename = "config")]
    execution: Option<Execution>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Execution {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Shows what an image is made of.
///
/// # Errors
/// If there is no such image.
pub async fn run(place: Place, context: &Context) -> Result<(), CommandError> {
    let attempted = format!("cannot inspect {place}");
    let work = context.unless_stopped(format!("inspecting {place}"), async {
        let source = context.source(&place).await?;
        let found = inspect(&place, source.as_ref()).await;
        found.map_err(|error| missing(&attempted, &place, error))
    });
    let inspected = work.await?;
    match context.printer.format() {
        Format::Json => context.printer.document(&inspected),
        Format::Text => {
            context.printer.text(&inspected.to_string());
            Ok(())
        }
    }
}

async fn inspect(place: &Place, source: &dyn Source) -> Result<Inspected, Error> {
    let root = source.root().await?;
    let content_size = match Image::below(source, root.clone(), &[]).await {
        Ok(image) => Some(image.blobs().iter().map(|blob| blob.size).sum()),
        // An index may name manifests that nobody pushed.
        Err(Error::Invalid(_)) => None,
        Err(error) => return Err(error),
    };
    let mut images = Vec::new();
    if root.is_index() {
        for descriptor in root.manifests().iter().filter(|found| !found.annotations.contains_key(ATTESTED)) {
            let attests = |other: &&Descriptor| {
                other.annotations.get(ATTESTED).is_some_and(|digest| *digest == descriptor.digest.to_string())
            };
            let attestations = root.manifests().iter().filter(attests).map(|found| found.digest.clone()).collect();
            images.push(image(source, descriptor, None, attestations).await?);
        }
    } else {
        // What refers to it is told with the root.
        let mut only = image(source, &root.descriptor(), Some(root.clone()), Vec::new()).await?;
        only.referrers = Vec::new();
        images.push(only);
    }
    Ok(Inspected {
        reference: place.to_string(),
        digest: root.digest().clone(),
        media_type: root.media_type().to_owned(),
        size: root.size(),
        content_size,
        images,
        referrers: Box::pin(referrers(source, root.digest(), 0)).await?,
    })
}

async fn image(
    source: &dyn Source,
    descriptor: &Descriptor,
    known: Option<Manifest>,
    attestations: Vec<Digest>,
) -> Result<InspectedImage, Error> {
    let mut shown = InspectedImage {
        digest: descriptor.digest.clone(),
        media_type: descriptor.media_type.clone(),
        platform: descriptor.platform.as_ref().map(platform_name),
        artifact_type: descriptor.artifact_type.clone(),
        created: None,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        config: None,
        layers: Vec::new(),
        attestations,
        referrers: Box::pin(referrers(source, &descriptor.digest, 0)).await?,
    };
    let manifest = match known {
        Some(manifest) => manifest,
        None => match source.manifest(descriptor).await {
            Ok(manifest) => manifest,
            Err(error) if error.is_not_found() => return Ok(shown),
            Err(error) => return Err(error),
        },
    };
    let about = manifest.referrer_descriptor();
    shown.annotations = about.annotations;
    shown.layers = manifest.layers().to_vec();
    shown.config = manifest.config().cloned();
    let Some(config) = manifest.config() else { return Ok(shown) };
    if !is_image_config(&config.media_type) {
        shown.artifact_type = about.artifact_type;
        return Ok(shown);
    }
    let bytes = read_small(source, config, MAX_CONFIG).await?;
    // A config that is not what its type says is shown by its descriptor alone.
    let config: Config = serde_json::from_slice(&bytes).unwrap_or_default();
    shown.created = config.created;
    shown.labels = config.execution.and_then(|execution| execution.labels).unwrap_or_default();
    shown.platform = shown.platform.or_else(|| config.platform.as_ref().map(platform_name));
    Ok(shown)
}

fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, storage_layout::media_type::OCI_CONFIG | storage_layout::media_type::DOCKER_CONFIG)
}

async fn referrers(source: &dyn Source, subject: &Digest, depth: usize) -> Result<Vec<Node>, Error> {
    if depth == MAX_DEPTH {
        return Ok(Vec::new());
    }
    let mut nodes = Vec::new();
    for Referrer { descriptor, tag } in source.referrers(subject).await? {
        nodes.push(Node {
            artifact_type: descriptor.artifact_type.unwrap_or(descriptor.media_type),
            tag: tag.map(String::from),
            annotations: descriptor.annotations,
            referrers: Box::pin(referrers(source, &descriptor.digest, depth + 1)).await?,
            digest: descriptor.digest,
        });
    }
    Ok(nodes)
}
