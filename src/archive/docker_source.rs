//! Reading an image from a `docker save` archive, whichever Docker, podman or skopeo wrote it.
//!
//! Docker with its containerd store saves what a registry would hold: manifests and compressed layers, which are passed on byte
//! for byte. All others save layers uncompressed: then the manifest is made here, with its layers compressed.

use std::collections::HashMap;
use std::fs::File;
use std::num::NonZero;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use storage_layout::{Algorithm, Descriptor, Digest, Manifest, media_type};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::SourceOptions;
use super::compress::Compressor;
use super::content::Content;
use super::docker_save::{self, MAX_DOCUMENT, SavedImage};
use super::image_config::ImageConfig;
use super::image_name::ImageName;
use super::layer::{ReadyLayer, SavedLayer};
use super::layout_source::{IMAGE_NAME, blob_path, parse_index, read_manifest};
use super::tar_archive::TarArchive;
use crate::transfer::{ByteStream, Error, PlatformFilter, Source};

/// An image in a `docker save` archive.
#[derive(Debug)]
pub(super) struct DockerSource {
    archive: TarArchive,
    wanted: Option<ImageName>,
    options: SourceOptions,
    /// The one of several platforms that is wanted, where the others may be missing.
    platform: Option<PlatformFilter>,
    /// Whether manifests are kept that have uncompressed layers.
    keeps_plain: bool,
    image: OnceCell<ReadyImage>,
}

/// What is known once the image was looked at: its manifest, and those of its blobs that lie elsewhere than under their digest.
#[derive(Debug)]
struct ReadyImage {
    root: Manifest,
    contents: HashMap<Digest, Content>,
}

impl DockerSource {
    pub(super) async fn open(
        label: String,
        file: &Path,
        name: Option<&str>,
        options: SourceOptions,
    ) -> Result<Self, Error> {
        let wanted = wanted(&label, name)?;
        let archive = TarArchive::open(label, file, &options.spool_dir).await?;
        Ok(Self { archive, wanted, options, platform: None, keeps_plain: false, image: OnceCell::new() })
    }

    /// Reads an archive that is a file of ours. `keeps_plain` is said where its manifests are those that the image was pulled or
    /// loaded with, whatever they look like.
    pub(super) async fn of_file(
        label: String,
        file: File,
        options: SourceOptions,
        keeps_plain: bool,
        platform: Option<PlatformFilter>,
    ) -> Result<Self, Error> {
        let archive = TarArchive::of_file(label, file, &options.spool_dir).await?;
        Ok(Self { archive, wanted: None, options, platform, keeps_plain, image: OnceCell::new() })
    }

    /// Compressing takes its time, so it waits until somebody asks, and is done once.
    async fn image(&self) -> Result<&ReadyImage, Error> {
        self.image.get_or_try_init(|| self.prepare()).await
    }

    async fn prepare(&self) -> Result<ReadyImage, Error> {
        let label = self.archive.label();
        let Some(bytes) = self.archive.document("manifest.json", MAX_DOCUMENT).await? else {
            let path = self.archive.path().display();
            let hint = match self.archive.find("oci-layout")? {
                Some(_) => format!("; an OCI image layout is oci-archive:{path}"),
                None => String::new(),
            };
            return Err(docker_save::no_manifest(label, &hint));
        };
        let images = docker_save::parse(label, &bytes)?;
        let saved = docker_save::choose(label, &images, self.wanted.as_ref())?;
        let config = self.archive.document(&saved.config, MAX_DOCUMENT).await?;
        let config = config.ok_or_else(|| docker_save::missing(label, "config", &saved.config))?;
        match self.kept_root(saved, &Algorithm::Sha256.digest(&config)).await? {
            Some(root) => Ok(ReadyImage { root, contents: HashMap::new() }),
            None => self.made(saved, config).await,
        }
    }

    /// Returns the manifest or index that the image was pulled or built with, if the archive has it and all below it.
    async fn kept_root(&self, saved: &SavedImage, config: &Digest) -> Result<Option<Manifest>, Error> {
        let Some(bytes) = self.archive.document("index.json", MAX_DOCUMENT).await? else {
            return Ok(None);
        };
        let index = parse_index(self.archive.label(), bytes)?;
        let mut entries: Vec<&Descriptor> = index.manifests().iter().collect();
        // Several names may stand for one image by different ways; the one that was asked for goes first.
        entries.sort_by_key(|entry| !self.is_named(saved, entry));
        for entry in entries {
            if !media_type::is_image(&entry.media_type) && !media_type::is_index(&entry.media_type) {
                continue;
            }
            let Some(root) = self.manifest_if_there(entry).await? else {
                continue;
            };
            if !root.is_index() {
                if self.is_kept(&root, config)? {
                    return Ok(Some(root));
                }
                continue;
            }
            if let Some(platform) = &self.platform {
                match self.manifest_if_there(platform.choose(root.manifests())?).await? {
                    Some(child) if self.is_whole(&child)? => return Ok(Some(child)),
                    _ => continue,
                }
            }
            let mut chosen = None;
            let mut is_whole = true;
            for descriptor in root.manifests() {
                match self.manifest_if_there(descriptor).await? {
                    Some(child) if self.is_kept(&child, config)? => chosen = Some(child),
                    Some(child) if self.is_whole(&child)? => {}
                    _ => is_whole = false,
                }
            }
            match chosen {
                Some(_) if is_whole => return Ok(Some(root)),
                // Docker saves an index of many platforms though it has the content of one: that one is the image, as when
                // Docker pushes it.
                Some(child) => return Ok(Some(child)),
                None => {}
            }
        }
        Ok(None)
    }

    fn is_named(&self, saved: &SavedImage, entry: &Descriptor) -> bool {
        let name = entry.annotations.get(IMAGE_NAME).and_then(|name| ImageName::parse(name).ok());
        name.is_some_and(|name| match &self.wanted {
            Some(wanted) => name == *wanted,
            None => saved.names().any(|own| own == name),
        })
    }

    async fn manifest_if_there(&self, descriptor: &Descriptor) -> Result<Option<Manifest>, Error> {
        match self.archive.find(&blob_path(&descriptor.digest))? {
            Some(content) => {
                read_manifest(self.archive.label(), self.archive.path(), descriptor, Some(content)).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Tells whether `manifest` is the image of that config, with the layers of a registry.
    fn is_kept(&self, manifest: &Manifest, config: &Digest) -> Result<bool, Error> {
        // The manifests that Docker's older store makes up for its archives have plain tars for layers.
        let is_plain = |layer: &Descriptor| layer.media_type.rsplit('.').next() == Some("tar");
        let is_registrys = self.keeps_plain || !manifest.layers().iter().any(is_plain);
        Ok(is_registrys && manifest.config().is_some_and(|own| own.digest == *config) && self.is_whole(manifest)?)
    }

    fn is_whole(&self, manifest: &Manifest) -> Result<bool, Error> {
        for blob in manifest.blobs().filter(|blob| !blob.is_foreign()) {
            if self.archive.find(&blob_path(&blob.digest))?.is_none() {
                return Ok(false);
            }
        }
        Ok(!manifest.is_index())
    }

    /// Makes a manifest, compressing the layers.
    async fn made(&self, saved: &SavedImage, config: Bytes) -> Result<ReadyImage, Error> {
        let label = self.archive.label();
        let config = ImageConfig::read(label, config)?.check_count(label, saved.layers().len())?;
        let ready = self.compressed(self.saved_layers(saved, config.diff_ids())?).await?;
        let (blobs, mut contents) = (&mut HashMap::new(), HashMap::new());
        for (diff_id, layer) in ready {
            contents.insert(layer.blob.digest.clone(), layer.content);
            blobs.insert(diff_id, layer.blob);
        }
        if let Some(content) = self.archive.find(&saved.config)? {
            contents.insert(config.digest().clone(), content);
        }
        Ok(ReadyImage { root: config.manifest(label, blobs)?, contents })
    }

    fn saved_layers(&self, saved: &SavedImage, diff_ids: &[Digest]) -> Result<Vec<SavedLayer>, Error> {
        let label = self.archive.label();
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (name, diff_id) in saved.layers().iter().zip(diff_ids) {
            layers.push(SavedLayer {
                label: label.to_owned(),
                archive: self.archive.path().to_owned(),
                name: name.clone(),
                content: self.archive.find(name)?.ok_or_else(|| docker_save::missing(label, "layer", name))?,
                diff_id: diff_id.clone(),
            });
        }
        Ok(layers)
    }

    /// Compresses layers, each content once. One of them keeps all cores busy, but one that is compressed already is read by
    /// one thread.
    async fn compressed(&self, layers: Vec<SavedLayer>) -> Result<HashMap<Digest, ReadyLayer>, Error> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let compressor = &Compressor::new(self.options.compression);
        let stop = &CancellationToken::new();
        // Threads do not end by being forgotten: the first failure, or a caller who has lost interest, stops the others.
        let _stop_when_dropped = stop.clone().drop_guard();
        let distinct: HashMap<Digest, SavedLayer> =
            layers.into_iter().map(|layer| (layer.diff_id.clone(), layer)).collect();
        stream::iter(distinct)
            .map(|(diff_id, layer)| async move {
                Ok((diff_id, layer.prepare(compressor, &self.options.spool_dir, stop).await?))
            })
            .buffer_unordered(cores)
            .try_collect()
            .await
    }
}

fn wanted(label: &str, name: Option<&str>) -> Result<Option<ImageName>, Error> {
    name.map(ImageName::parse).transpose().map_err(|error| Error::Invalid(format!("{label}: {error}")))
}

#[async_trait]
impl Source for DockerSource {
    async fn root(&self) -> Result<Manifest, Error> {
        Ok(self.image().await?.root.clone())
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        let image = self.image().await?;
        if descriptor.digest == *image.root.digest() {
            return Ok(image.root.clone());
        }
        let content = self.archive.find(&blob_path(&descriptor.digest))?;
        read_manifest(self.archive.label(), self.archive.path(), descriptor, content).await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        let made = self.image().await?.contents.get(&descriptor.digest).cloned();
        let content = match made {
            Some(content) => Some(content),
            None => self.archive.find(&blob_path(&descriptor.digest))?,
        };
        let missing =
            || Error::NotFound(format!("{} names {} and does not hold it", self.archive.label(), descriptor.digest));
        content.map(Content::stream).ok_or_else(missing)
    }
}
