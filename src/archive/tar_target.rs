//! Writing an image into a tar: for `docker load`, or as an OCI image layout.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use storage_layout::{Descriptor, Digest, Manifest, Tag};
use tokio::sync::RwLock;

use super::docker_load::{OCI_LAYOUT, index_json, manifest_json, named_descriptor, tagged_descriptor};
use super::image_name::ImageName;
use super::layout_referrers::attached_entry;
use super::layout_source::blob_path;
use super::tar_writer::TarWriter;
use crate::transfer::{ByteStream, Error, Target};

/// An image on its way into a tar.
#[derive(Debug)]
pub(super) struct TarTarget {
    label: String,
    format: Format,
    /// Taken by the commit, which waits for what is being written.
    writer: RwLock<Option<TarWriter>>,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
enum Format {
    Docker { name: Option<ImageName> },
    Oci { tag: Option<String> },
}

#[derive(Debug, Default)]
struct Progress {
    begun: usize,
    /// One for every entry that was begun, unless it failed or was given up.
    ended: usize,
    /// Also what need not come.
    written: HashSet<Digest>,
    /// What the index is to name besides the image.
    attached: Vec<Descriptor>,
}

impl TarTarget {
    /// Begins a tar for `docker load`.
    pub(super) fn docker_archive(label: String, file: &Path, name: Option<&str>) -> Result<Self, Error> {
        let name = name.map(|name| image_name(&label, name)).transpose()?;
        Self::create(label, file, Format::Docker { name })
    }

    /// Begins a tar for `docker load` in a nameless file of ours in `dir`. The blobs that are `there` already, where it is to be
    /// loaded, need not come.
    pub(super) fn docker_spool(
        label: String,
        file: File,
        dir: &Path,
        name: &str,
        there: &HashSet<Digest>,
    ) -> Result<Self, Error> {
        let name = Some(image_name(&label, name)?);
        let writer = RwLock::new(Some(TarWriter::nameless(file, dir)));
        let progress = Mutex::new(Progress { written: there.clone(), ..Progress::default() });
        Ok(Self { label, format: Format::Docker { name }, writer, progress })
    }

    /// Begins an OCI image layout in a tar.
    pub(super) fn oci_archive(
        label: String,
        file: &Path,
        tag: Option<&str>,
        name: Option<&str>,
    ) -> Result<Self, Error> {
        let tag = layout_tag(&label, tag, name)?;
        Self::create(label, file, Format::Oci { tag })
    }

    fn create(label: String, file: &Path, format: Format) -> Result<Self, Error> {
        let writer = RwLock::new(Some(TarWriter::create(file)?));
        Ok(Self { label, format, writer, progress: Mutex::default() })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        self.progress().begun += 1;
    }

    fn end(&self, digest: &Digest) {
        let mut progress = self.progress();
        progress.ended += 1;
        let _is_new: bool = progress.written.insert(digest.clone());
    }

    fn is_committed(&self) -> Error {
        Error::Invalid(format!("{} is written already and takes nothing more", self.label))
    }

    async fn put_document(&self, writer: &TarWriter, manifest: &Manifest) -> Result<(), Error> {
        if self.progress().written.contains(manifest.digest()) {
            return Ok(());
        }
        self.begin();
        writer.append_bytes(&blob_path(manifest.digest()), manifest.bytes().clone()).await?;
        self.end(manifest.digest());
        Ok(())
    }

    /// Whatever the caller did, no tar gets its name that lacks something.
    fn check(&self, root: &Manifest) -> Result<(), Error> {
        let progress = self.progress();
        if progress.begun != progress.ended {
            return Err(Error::Invalid(format!("{} is not whole: writing a blob failed", self.label)));
        }
        let mut named = root.blobs().chain(root.manifests()).filter(|descriptor| !descriptor.is_foreign());
        match named.find(|descriptor| !progress.written.contains(&descriptor.digest)) {
            Some(missing) => Err(Error::Invalid(format!("{} is not whole: {} never came", self.label, missing.digest))),
            None => Ok(()),
        }
    }
}

/// Reads the name that an image is to get.
pub(super) fn image_name(label: &str, name: &str) -> Result<ImageName, Error> {
    ImageName::parse(name).map_err(|error| Error::Invalid(format!("{label}: the image cannot be called that: {error}")))
}

/// Returns what an image is called in a layout: as the place says, else the tag of the image's name.
pub(super) fn layout_tag(label: &str, tag: Option<&str>, name: Option<&str>) -> Result<Option<String>, Error> {
    match (tag, name) {
        (Some(tag), _) => Ok(Some(tag.to_owned())),
        (None, Some(name)) => Ok(Some(image_name(label, name)?.tag().to_string())),
        (None, None) => Ok(None),
    }
}

#[async_trait]
impl Target for TarTarget {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        Ok(self.progress().written.contains(&descriptor.digest))
    }

    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error> {
        let writer = self.writer.read().await;
        let writer = writer.as_ref().ok_or_else(|| self.is_committed())?;
        if self.has_blob(descriptor).await? {
            return Ok(());
        }
        self.begin();
        writer.append(&blob_path(&descriptor.digest), descriptor, body).await?;
        self.end(&descriptor.digest);
        Ok(())
    }

    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let writer = self.writer.read().await;
        self.put_document(writer.as_ref().ok_or_else(|| self.is_committed())?, manifest).await
    }

    fn takes_referrers(&self) -> bool {
        matches!(self.format, Format::Oci { .. })
    }

    async fn put_referrer(&self, manifest: &Manifest, tag: Option<&Tag>) -> Result<(), Error> {
        if !self.takes_referrers() {
            let digest = manifest.digest();
            return Err(Error::Invalid(format!("{} cannot hold {digest}, which is attached to the image", self.label)));
        }
        self.put_manifest(manifest).await?;
        self.progress().attached.push(attached_entry(manifest, tag));
        Ok(())
    }

    async fn commit(&self, root: &Manifest) -> Result<(), Error> {
        let writer = self.writer.write().await.take().ok_or_else(|| self.is_committed())?;
        let (index, for_docker) = match &self.format {
            Format::Docker { name } => {
                let document = manifest_json(&self.label, root, name.as_ref())?;
                (named_descriptor(root, name.as_ref()), Some(document))
            }
            Format::Oci { tag } => (tagged_descriptor(root, tag.as_deref()), None),
        };
        self.check(root)?;
        self.put_document(&writer, root).await?;
        let mut entries = vec![index];
        entries.append(&mut self.progress().attached);
        writer.append_bytes("index.json", index_json(&entries)).await?;
        if let Some(document) = for_docker {
            writer.append_bytes("manifest.json", document).await?;
        }
        writer.append_bytes("oci-layout", Bytes::from_static(OCI_LAYOUT)).await?;
        writer.finish().await
    }
}
