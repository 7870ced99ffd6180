//! Reading an image from what `docker save` writes while it writes it.
//!
//! Docker names layers before it says what they are layers of: `manifest.json` comes behind them. That does not matter, for a
//! layer is known by the digest of its bytes, and the config names those: what was stored for a layer counts if the config has
//! its digest. So nothing has to be read twice, and no name in the archive is believed.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use bytes::Bytes;
use futures::stream::BoxStream;
use storage_layout::Digest;

use super::docker_save::{self, MAX_DOCUMENT};
use super::image_config::ImageConfig;
use super::tar_header::EntryKind;
use super::tar_stream::TarStream;
use super::v1_id;
use crate::transfer::{ByteStream, Error};

/// All documents together, in bytes.
const MAX_DOCUMENTS: u64 = 32 * 1024 * 1024;

/// An archive of one image with uncompressed layers, on its way.
#[derive(Debug)]
pub struct DockerStream {
    tar: TarStream,
    /// The layers that the image is said to have.
    diff_ids: Vec<Digest>,
    documents: HashMap<String, Bytes>,
    /// The size of all of them, in bytes.
    kept: u64,
}

/// A layer on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamedLayer {
    /// The digest that it probably has: what it is called promises that.
    pub probably: Option<Digest>,
    /// Its length, in bytes.
    pub size: u64,
}

impl DockerStream {
    /// Begins to read an archive. `diff_ids` are the digests of the image's layers, the base first, as far as they are known.
    pub fn new(label: String, body: ByteStream, diff_ids: &[Digest]) -> Self {
        let tar = TarStream::new(label, body);
        Self { tar, diff_ids: diff_ids.to_vec(), documents: HashMap::new(), kept: 0 }
    }

    /// Goes on to the next layer. What was not read of the one before is passed over.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no archive or is damaged.
    pub async fn next_layer(&mut self) -> Result<Option<StreamedLayer>, Error> {
        while let Some(entry) = self.tar.next().await? {
            // Links are layers that came, or will, under another name.
            let (EntryKind::File, Some(name)) = (entry.kind, entry.name) else { continue };
            let probably = self.layer_called(&name);
            if probably.is_some() || is_tar(&name) {
                return Ok(Some(StreamedLayer { probably, size: entry.size }));
            }
            if entry.size <= MAX_DOCUMENT && self.kept + entry.size <= MAX_DOCUMENTS {
                self.kept += entry.size;
                let document = self.tar.document().await?;
                self.documents.insert(name, document);
            }
        }
        Ok(None)
    }

    /// Returns the bytes of the layer.
    pub fn layer(&mut self) -> BoxStream<'_, io::Result<Bytes>> {
        self.tar.content()
    }

    /// Says why [`DockerStream::layer`] failed.
    pub fn failed(&self, error: io::Error) -> Error {
        self.tar.failed(error)
    }

    /// Returns the config of the image, when all layers went by.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the archive is not that of one image.
    pub fn finish(self) -> Result<ImageConfig, Error> {
        let label = self.tar.label();
        let document = self.documents.get("manifest.json");
        let document = document.ok_or_else(|| docker_save::no_manifest(label, ""))?;
        let images = docker_save::parse(label, document)?;
        let saved = docker_save::choose(label, &images, None)?;
        let config = self.documents.get(&saved.config);
        let config = config.ok_or_else(|| docker_save::missing(label, "config", &saved.config))?;
        ImageConfig::read(label, config.clone())?.check_count(label, saved.layers().len())
    }

    /// Returns the layer of the image that has its digest for a name, as newer Docker and podman call it, or is in the folder
    /// that older Docker makes for it.
    fn layer_called(&self, name: &str) -> Option<Digest> {
        if let Some(id) = name.strip_suffix("/layer.tar") {
            let document = self.documents.get(&format!("{id}/json"))?;
            return v1_id::layer_in(id, document, &self.diff_ids).cloned();
        }
        let last = name.rsplit('/').next().unwrap_or(name);
        let hex = last.strip_suffix(".tar").unwrap_or(last);
        self.diff_ids.iter().find(|diff_id| diff_id.hex() == hex).cloned()
    }
}

/// Tells whether a file is called what layers are where nothing else is known of them.
fn is_tar(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "tar")
}
