//! The one routine that moves an image from a place to another.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use storage_layout::{Descriptor, Digest, Manifest};

use super::platform::ATTESTED;
use super::referrers::{self, Attached};
use super::{BlobProgress, BlobStatus, Error, Label, PlatformFilter, Reporter, Source, Target};

/// Indexes in indexes in indexes: more levels than this are not followed.
const MAX_DEPTH: usize = 8;
/// More manifests than this below one root are not followed.
const MAX_MANIFESTS: usize = 10_000;
/// How many small questions are asked at once.
const QUESTIONS: usize = 16;
/// The largest config that is read into memory, in bytes.
pub const MAX_CONFIG: u64 = 8 * 1024 * 1024;
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
    /// The manifests that are attached to the image and were copied with it.
    pub referrers: Vec<Descriptor>,
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
/// makes the image visible. What is attached to the image stays behind.
///
/// # Errors
/// Whatever source or target say. The target then shows nothing of the image.
pub async fn copy_image(
    source: &dyn Source,
    target: &dyn Target,
    options: &CopyOptions,
    reporter: &Arc<dyn Reporter>,
) -> Result<Copied, Error> {
    let image = Image::find(source, &options.platforms).await?;
    image.copy(source, target, options.jobs, reporter).await
}

/// An image that was found, with the manifests of all that is to be copied with it. From here on nothing depends on a name: a tag
/// that moves changes nothing.
#[derive(Clone, Debug)]
pub struct Image {
    root: Manifest,
    /// The manifests below an index, children before their parents.
    children: Vec<Manifest>,
    attached: Vec<Attached>,
}

impl Image {
    /// Finds what `source` stands for, narrowed down to the platforms that are wanted; none means all of them.
    ///
    /// # Errors
    /// Whatever the source says; [`Error::NoPlatform`].
    pub async fn find(source: &dyn Source, platforms: &[PlatformFilter]) -> Result<Self, Error> {
        Self::below(source, source.root().await?, platforms).await
    }

    /// Does the same with a root that was read already.
    ///
    /// # Errors
    /// As [`Image::find`].
    pub async fn below(source: &dyn Source, root: Manifest, platforms: &[PlatformFilter]) -> Result<Self, Error> {
        let root = choose(source, root, platforms).await?;
        let children = walk(source, &root).await?;
        Ok(Self { root, children, attached: Vec::new() })
    }

    /// Does the same for all platforms, and returns how large all configs and layers are together, in bytes. An index may name
    /// manifests that nobody pushed: then it is the root alone, and has no size.
    ///
    /// # Errors
    /// Whatever the source says.
    pub async fn measured(source: &dyn Source, root: Manifest) -> Result<(Self, Option<u64>), Error> {
        match Self::below(source, root.clone(), &[]).await {
            Ok(image) => {
                let size = image.blobs().iter().map(|blob| blob.size).sum();
                Ok((image, Some(size)))
            }
            Err(Error::Invalid(_)) => Ok((Self { root, children: Vec::new(), attached: Vec::new() }, None)),
            Err(error) => Err(error),
        }
    }

    /// Finds what is attached to the image, to the manifests of an index too, and to what is attached.
    ///
    /// # Errors
    /// Whatever the source says; [`Error::NotFound`] if something is listed and not there.
    pub async fn with_referrers(mut self, source: &dyn Source) -> Result<Self, Error> {
        // A narrowed index is not in the source, and nothing there refers to it.
        let subjects = std::iter::once(&self.root).chain(&self.children);
        self.attached = referrers::gather(source, subjects.map(|manifest| manifest.digest().clone()).collect()).await?;
        Ok(self)
    }

    /// Returns the image's manifest or index.
    pub fn root(&self) -> &Manifest {
        &self.root
    }

    /// Returns the manifests below an index, children before their parents.
    pub fn children(&self) -> &[Manifest] {
        &self.children
    }

    /// Returns what is attached: what is attached to that in turn comes after it.
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Returns all configs and layers that belong to it, each once; not those that are legally elsewhere.
    pub fn blobs(&self) -> Vec<Descriptor> {
        let mut seen = HashSet::new();
        self.manifests()
            .flat_map(Manifest::blobs)
            .filter(|descriptor| !descriptor.is_foreign() && seen.insert(descriptor.digest.clone()))
            .cloned()
            .collect()
    }

    fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        let attached = self.attached.iter().flat_map(|one| one.children.iter().chain(std::iter::once(&one.manifest)));
        self.children.iter().chain(std::iter::once(&self.root)).chain(attached)
    }

    /// Returns all blobs, each with the way that it goes if it is not there yet.
    fn ways(&self, target: Option<&dyn Target>) -> Vec<CopiedBlob> {
        let copies = target.is_some_and(Target::copies_blobs);
        // Configs are small, and whoever runs the image does what they say: they are read and verified, as manifests are.
        let configs: HashSet<&Digest> =
            self.manifests().filter_map(Manifest::config).map(|config| &config.digest).collect();
        let way = |descriptor: &Descriptor| {
            if copies && !configs.contains(&descriptor.digest) { BlobStatus::Copied } else { BlobStatus::Sent }
        };
        self.blobs().into_iter().map(|descriptor| CopiedBlob { status: way(&descriptor), descriptor }).collect()
    }

    /// Copies it to `target`: blobs first, then the manifests below an index and what is attached, and the root last, which is
    /// what makes the image visible.
    ///
    /// # Errors
    /// Whatever source or target say. The target then shows nothing of the image.
    pub async fn copy(
        self,
        source: &dyn Source,
        target: &dyn Target,
        jobs: usize,
        reporter: &Arc<dyn Reporter>,
    ) -> Result<Copied, Error> {
        let wanted = look_for(target, self.ways(Some(target)), reporter).await?;
        let blobs = futures::stream::iter(wanted)
            .map(|blob| copy_blob(source, target, blob, reporter))
            .buffered(jobs.max(1))
            .try_collect()
            .await?;
        for manifest in &self.children {
            target.put_manifest(manifest).await?;
        }
        for Attached { manifest, tag, children, .. } in &self.attached {
            for child in children {
                target.put_manifest(child).await?;
            }
            target.put_referrer(manifest, tag.as_ref()).await?;
        }
        target.commit(&self.root).await?;
        let referrers = self.attached.into_iter().map(|attached| attached.manifest.referrer_descriptor()).collect();
        Ok(Copied { root: self.root, blobs, referrers })
    }

    /// Tells what [`Image::copy`] would send to `target`, and changes nothing.
    ///
    /// # Errors
    /// Whatever the target says.
    pub async fn compare(&self, target: Option<&dyn Target>, jobs: usize) -> Result<Copied, Error> {
        let blobs = futures::stream::iter(self.ways(target))
            .map(|mut blob| async move {
                if let Some(target) = target
                    && target.would_have_blob(&blob.descriptor).await?
                {
                    blob.status = BlobStatus::Exists;
                }
                Ok::<_, Error>(blob)
            })
            .buffered(jobs.max(1))
            .try_collect()
            .await?;
        let referrers = self.attached.iter().map(|attached| attached.manifest.referrer_descriptor()).collect();
        Ok(Copied { root: self.root.clone(), blobs, referrers })
    }
}

/// Asks for all blobs at once, before the first one travels, and tells of those that need not.
async fn look_for(
    target: &dyn Target,
    wanted: Vec<CopiedBlob>,
    reporter: &Arc<dyn Reporter>,
) -> Result<Vec<CopiedBlob>, Error> {
    let found = futures::stream::iter(wanted).map(async |mut blob| {
        if target.has_blob(&blob.descriptor).await? {
            blob.status = BlobStatus::Exists;
        }
        Ok::<_, Error>(blob)
    });
    let found: Vec<CopiedBlob> = found.buffered(QUESTIONS).try_collect().await?;
    for CopiedBlob { descriptor, .. } in found.iter().filter(|blob| blob.status == BlobStatus::Exists) {
        reporter.blob_exists(Label::of(descriptor), descriptor.size);
    }
    Ok(found)
}

/// Has a blob travel, unless it is there or the target gets it by itself.
async fn copy_blob(
    source: &dyn Source,
    target: &dyn Target,
    mut blob: CopiedBlob,
    reporter: &Arc<dyn Reporter>,
) -> Result<CopiedBlob, Error> {
    if blob.status == BlobStatus::Exists {
        return Ok(blob);
    }
    let descriptor = &blob.descriptor;
    let start = || reporter.blob_started(Label::of(descriptor), Some(descriptor.size));
    let mut progress = start();
    if blob.status == BlobStatus::Copied {
        if target.copy_blob(descriptor).await? {
            progress.advanced(descriptor.size);
            progress.finished(&descriptor.digest);
            return Ok(blob);
        }
        blob.status = BlobStatus::Sent;
    }
    let mut resends = 0;
    loop {
        match send_blob(source, target, descriptor, progress).await {
            Err(Error::Interrupted(error)) if resends < MAX_RESENDS => {
                tracing::info!(%error, "sending the blob again");
                resends += 1;
                tokio::time::sleep(RESEND_PAUSE * resends).await;
                progress = start();
            }
            sent => break sent?,
        }
    }
    Ok(blob)
}

async fn send_blob(
    source: &dyn Source,
    target: &dyn Target,
    descriptor: &Descriptor,
    progress: Box<dyn BlobProgress>,
) -> Result<(), Error> {
    let progress: Arc<dyn BlobProgress> = Arc::from(progress);
    let counted = Arc::clone(&progress);
    let body = source.blob(descriptor).await.map_err(|error| incomplete(error, descriptor))?;
    let body = body.inspect_ok(move |bytes: &Bytes| counted.advanced(bytes.len() as u64));
    target.put_blob(descriptor, body.boxed()).await?;
    progress.finished(&descriptor.digest);
    Ok(())
}

/// Returns the bytes of a small blob, such as a config, verified.
///
/// # Errors
/// Whatever the source says; [`Error::Invalid`] if the blob is larger than `limit` bytes or is not what its descriptor says.
pub async fn read_small(source: &dyn Source, descriptor: &Descriptor, limit: u64) -> Result<Bytes, Error> {
    let Descriptor { digest, size, .. } = descriptor;
    if *size > limit {
        return Err(Error::Invalid(format!("{digest} has {size} bytes, more than the {limit} that are read")));
    }
    let mut bytes = Vec::new();
    let mut body = source.blob(descriptor).await.map_err(|error| incomplete(error, descriptor))?;
    while let Some(piece) = body.try_next().await.map_err(storage_layout::Error::Body)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > *size {
            break;
        }
    }
    let actual = digest.algorithm().digest(&bytes);
    if actual != *digest {
        return Err(storage_layout::Error::DigestMismatch { expected: digest.clone(), actual }.into());
    }
    Ok(bytes.into())
}

/// The image was found, and something that it names was not: it is damaged, not absent.
fn incomplete(error: Error, missing: &Descriptor) -> Error {
    if error.is_not_found() {
        return Error::Invalid(format!("the image is not whole: it names {}, and {error}", missing.digest));
    }
    error
}

/// Returns all manifests below `root`, children before their parents, each once.
pub(super) async fn walk(source: &dyn Source, root: &Manifest) -> Result<Vec<Manifest>, Error> {
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
        let asked = futures::stream::iter(&level)
            .map(async |descriptor| source.manifest(descriptor).await.map_err(|error| incomplete(error, descriptor)));
        let manifests: Vec<Manifest> = asked.buffered(QUESTIONS).try_collect().await?;
        level = manifests.iter().flat_map(|manifest| manifest.manifests().to_vec()).collect();
        found.extend(manifests);
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
    let bytes = read_small(source, config, MAX_CONFIG).await?;
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
            let attached_to = manifest.get("annotations").and_then(|a| text(a, ATTESTED));
            attached_to.or_else(|| text(manifest, "digest")).is_some_and(|digest| keep.contains(&digest))
        });
    }
    let bytes = serde_json::to_vec(&document).map_err(|error| Error::Invalid(format!("writing the index: {error}")))?;
    Ok(Manifest::parse(bytes.into(), index.digest().algorithm(), Some(index.media_type()))?)
}
