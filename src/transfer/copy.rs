//! The one routine that moves an image from a place to another.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use storage_layout::{Descriptor, Manifest};

use super::{BlobProgress, BlobStatus, Error, PlatformFilter, Reporter, Source, Target};

/// Indexes in indexes in indexes: more levels than this are not followed.
const MAX_DEPTH: usize = 8;
/// More manifests than this below one root are not followed.
const MAX_MANIFESTS: usize = 10_000;
/// The largest config that is read to learn an image's platform, in bytes.
const MAX_CONFIG: usize = 8 * 1024 * 1024;
/// How often a source is asked again for a blob that was interrupted on its way into the target.
const MAX_RESENDS: u32 = 4;
/// The pause before the first of these times; the next ones are longer.
const RESEND_PAUSE: Duration = Duration::from_millis(500);

/// What to copy, and how.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    /// The platforms that are wanted; none means all of them.
    pub platforms: Vec<PlatformFilter>,
    /// How many blobs travel at once.
    pub jobs: usize,
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    /// The manifest that the target's name now stands for.
    pub root: Manifest,
    /// All configs and layers, each once.
    pub blobs: Vec<CopiedBlob>,
}

/// A config or layer that was copied.
#[derive(Clone, Debug)]
pub struct CopiedBlob {
    /// The blob.
    pub descriptor: Descriptor,
    /// What became of it.
    pub status: BlobStatus,
}

/// Copies what `source` stands for to `target`: blobs first, then the manifests below an index, and the root last, which is what
/// makes the image visible.
///
/// # Errors
/// Whatever source or target say. The target then shows nothing of the image.
pub async fn copy_image(
    source: &dyn Source,
    target: &dyn Target,
    options: &CopyOptions,
    reporter: &Arc<dyn Reporter>,
) -> Result<Copied, Error> {
    let root = choose(source, source.root().await?, &options.platforms).await?;
    let children = walk(source, &root).await?;
    let mut seen = HashSet::new();
    let manifests = || children.iter().chain(std::iter::once(&root));
    let wanted: Vec<Descriptor> = manifests()
        .flat_map(Manifest::blobs)
        .filter(|descriptor| !descriptor.is_foreign() && seen.insert(descriptor.digest.clone()))
        .cloned()
        .collect();
    let blobs = futures::stream::iter(wanted)
        .map(|descriptor| copy_blob(source, target, descriptor, reporter))
        .buffered(options.jobs.max(1))
        .try_collect()
        .await?;
    for manifest in &children {
        target.put_manifest(manifest).await?;
    }
    target.commit(&root).await?;
    Ok(Copied { root, blobs })
}

async fn copy_blob(
    source: &dyn Source,
    target: &dyn Target,
    descriptor: Descriptor,
    reporter: &Arc<dyn Reporter>,
) -> Result<CopiedBlob, Error> {
    if target.has_blob(&descriptor).await? {
        reporter.blob_exists(&descriptor.digest, descriptor.size);
        return Ok(CopiedBlob { descriptor, status: BlobStatus::Exists });
    }
    let mut resends = 0;
    loop {
        match send_blob(source, target, &descriptor, reporter).await {
            Err(Error::Interrupted(error)) if resends < MAX_RESENDS => {
                tracing::info!(%error, "sending the blob again");
                resends += 1;
                tokio::time::sleep(RESEND_PAUSE * resends).await;
            }
            sent => break sent?,
        }
    }
    Ok(CopiedBlob { descriptor, status: BlobStatus::Sent })
}

async fn send_blob(
    source: &dyn Source,
    target: &dyn Target,
    descriptor: &Descriptor,
    reporter: &Arc<dyn Reporter>,
) -> Result<(), Error> {
    let progress: Arc<dyn BlobProgress> = Arc::from(reporter.blob_started(&short(descriptor), Some(descriptor.size)));
    let counted = Arc::clone(&progress);
    let body = source.blob(descriptor).await?.inspect_ok(move |bytes: &Bytes| counted.advanced(bytes.len() as u64));
    target.put_blob(descriptor, body.boxed()).await?;
    progress.finished(&descriptor.digest);
    Ok(())
}

fn short(descriptor: &Descriptor) -> String {
    descriptor.digest.hex().chars().take(12).collect()
}

/// Returns all manifests below `root`, children before their parents, each once.
async fn walk(source: &dyn Source, root: &Manifest) -> Result<Vec<Manifest>, Error> {
    let mut found: Vec<Manifest> = Vec::new();
    let mut seen: HashSet<_> = HashSet::from([root.digest().clone()]);
    let mut level: Vec<Descriptor> = root.manifests().to_vec();
    for _ in 0..MAX_DEPTH {
        level.retain(|descriptor| seen.insert(descriptor.digest.clone()));
        if level.is_empty() {
            // Levels were found from the root down; what is deeper goes first.
            found.reverse();
            return Ok(found);
        }
        if seen.len() > MAX_MANIFESTS {
            return Err(Error::Invalid(format!("the index {} has more than {MAX_MANIFESTS} manifests", root.digest())));
        }
        let mut next = Vec::new();
        for descriptor in &level {
            let manifest = source.manifest(descriptor).await?;
            next.extend_from_slice(manifest.manifests());
            found.push(manifest);
        }
        level = next;
    }
    Err(Error::Invalid(format!("the index {} is more than {MAX_DEPTH} levels deep", root.digest())))
}

/// Narrows a root down to the platforms that are wanted.
pub(super) async fn choose(source: &dyn Source, root: Manifest, wanted: &[PlatformFilter]) -> Result<Manifest, Error> {
    match wanted {
        [] => Ok(root),
        _ if !root.is_index() => {
            check_platform(source, &root, wanted).await?;
            Ok(root)
        }
        [platform] => source.manifest(platform.choose(root.manifests())?).await,
        several => narrowed(&root, several),
    }
}

/// An image alone has its platform in its config.
async fn check_platform(source: &dyn Source, image: &Manifest, wanted: &[PlatformFilter]) -> Result<(), Error> {
    let Some(config) = image.config() else { return Ok(()) };
    let mut bytes = Vec::new();
    let mut body = source.blob(config).await?;
    while let Some(piece) = body.try_next().await.map_err(storage_layout::Error::Body)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_CONFIG {
            return Err(Error::Invalid(format!("the config {} is larger than {MAX_CONFIG} bytes", config.digest)));
        }
    }
    // A config without a platform is no image for any machine, such as an artifact's: it goes everywhere.
    let Ok(platform) = serde_json::from_slice::<storage_layout::Platform>(&bytes) else { return Ok(()) };
    let mut descriptor = image.descriptor();
    descriptor.platform = Some(platform);
    let choices = [descriptor];
    match wanted.iter().find(|filter| filter.choose(&choices).is_ok()) {
        Some(_) => Ok(()),
        None => wanted[0].choose(&choices).map(|_| ()),
    }
}

/// Returns an index of the chosen manifests alone, and of what is attached to them by the index.
fn narrowed(index: &Manifest, wanted: &[PlatformFilter]) -> Result<Manifest, Error> {
    let mut keep = HashSet::new();
    for platform in wanted {
        keep.insert(platform.choose(index.manifests())?.digest.to_string());
    }
    let mut document: serde_json::Value =
        serde_json::from_slice(index.bytes()).map_err(|error| Error::Invalid(format!("reading the index: {error}")))?;
    if let Some(manifests) = document.get_mut("manifests").and_then(serde_json::Value::as_array_mut) {
        manifests.retain(|manifest| {
            let text =
                |value: &serde_json::Value, key: &str| value.get(key).and_then(|v| v.as_str().map(str::to_owned));
            let attached_to = manifest.get("annotations").and_then(|a| text(a, "vnd.docker.reference.digest"));
            attached_to.or_else(|| text(manifest, "digest")).is_some_and(|digest| keep.contains(&digest))
        });
    }
    let bytes = serde_json::to_vec(&document).map_err(|error| Error::Invalid(format!("writing the index: {error}")))?;
    Ok(Manifest::parse(bytes.into(), index.digest().algorithm(), Some(index.media_type()))?)
}
