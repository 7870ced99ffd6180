//! `inspect`: what an image is made of, for people.

mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use storage_layout::{Descriptor, Digest, Manifest, Platform, media_type};

use super::manifest::missing;
use super::{Context, Place};
use crate::transfer::{ATTESTED, Error, Image, MAX_CONFIG, Source, platform_name, read_small};
use crate::ui::{CommandError, Format};

/// What refers to what refers to an image: more levels than this are not shown.
const MAX_DEPTH: usize = 8;

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
    let (image, content_size) = Image::measured(source, root.clone()).await?;
    let image = image.with_referrers(source).await?;
    let mut images = Vec::new();
    for descriptor in root.manifests().iter().filter(|found| !found.annotations.contains_key(ATTESTED)) {
        let mut shown = InspectedImage::of(descriptor);
        shown.attestations = attestations(&root, &descriptor.digest);
        shown.referrers = referrers(&image, &descriptor.digest, 0);
        if let Some(manifest) = image.children().iter().find(|child| *child.digest() == descriptor.digest) {
            shown.fill(source, manifest).await?;
        }
        images.push(shown);
    }
    if !root.is_index() {
        let mut shown = InspectedImage::of(&root.descriptor());
        shown.fill(source, &root).await?;
        images.push(shown);
    }
    Ok(Inspected {
        reference: place.to_string(),
        digest: root.digest().clone(),
        media_type: root.media_type().to_owned(),
        size: root.size(),
        content_size,
        images,
        referrers: referrers(&image, root.digest(), 0),
    })
}

fn attestations(index: &Manifest, image: &Digest) -> Vec<Digest> {
    let attests = |found: &&Descriptor| found.annotations.get(ATTESTED).is_some_and(|digest| digest == image.as_str());
    index.manifests().iter().filter(attests).map(|found| found.digest.clone()).collect()
}

fn referrers(image: &Image, subject: &Digest, depth: usize) -> Vec<Node> {
    if depth == MAX_DEPTH {
        return Vec::new();
    }
    let attached = image.attached().iter().filter(|attached| attached.subject == *subject);
    attached
        .map(|attached| {
            let about = attached.manifest.referrer_descriptor();
            Node {
                artifact_type: about.artifact_type.unwrap_or(about.media_type),
                tag: attached.tag.clone().map(String::from),
                annotations: about.annotations,
                referrers: referrers(image, &about.digest, depth + 1),
                digest: about.digest,
            }
        })
        .collect()
}

impl InspectedImage {
    /// Tells what the descriptor alone says.
    fn of(descriptor: &Descriptor) -> Self {
        Self {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
            platform: descriptor.platform.as_ref().map(platform_name),
            artifact_type: descriptor.artifact_type.clone(),
            created: None,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            config: None,
            layers: Vec::new(),
            attestations: Vec::new(),
            referrers: Vec::new(),
        }
    }

    /// Adds what the manifest and the config say.
    async fn fill(&mut self, source: &dyn Source, manifest: &Manifest) -> Result<(), Error> {
        let about = manifest.referrer_descriptor();
        self.annotations = about.annotations;
        self.layers = manifest.layers().to_vec();
        self.config = manifest.config().cloned();
        let Some(config) = manifest.config() else { return Ok(()) };
        if !media_type::is_config(&config.media_type) {
            self.artifact_type = about.artifact_type;
            return Ok(());
        }
        let bytes = read_small(source, config, MAX_CONFIG).await?;
        // A config that is not what its type says is shown by its descriptor alone.
        let config: Config = serde_json::from_slice(&bytes).unwrap_or_default();
        self.created = config.created;
        self.labels = config.execution.and_then(|execution| execution.labels).unwrap_or_default();
        self.platform = self.platform.take().or_else(|| config.platform.as_ref().map(platform_name));
        Ok(())
    }
}
