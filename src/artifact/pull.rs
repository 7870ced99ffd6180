//! Bringing the files of an artifact, or of an image that holds nothing else, into a folder.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use storage_layout::{Descriptor, Digest, Manifest, media_type};
use tokio_util::sync::CancellationToken;

use super::path::InnerPath;
use super::staging::Staging;
use super::unpack::Tree;
use super::{CONTENT_DIGEST, UNPACK};
use crate::archive::{blocking, file_error, quoted, write_blob};
use crate::transfer::{BlobProgress, Error, Label, Reporter, Repository, TITLE};

/// A file or folder that came.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PulledFile {
    /// Where it is in the output folder; `.` for the files of an image.
    pub path: String,
    /// The blob that it is, or was packed into.
    pub digest: Digest,
    /// The blob's size, in bytes.
    pub size: u64,
    /// The blob's media type.
    pub media_type: String,
}

/// An artifact's blobs, downloaded and verified but not yet unpacked. Dropped, nothing is left of them.
#[derive(Debug)]
pub struct Fetched {
    staging: Staging,
    items: Vec<Item>,
}

#[derive(Debug)]
struct Item {
    descriptor: Descriptor,
    path: InnerPath,
    content: Content,
}

#[derive(Debug, PartialEq, Eq)]
enum Content {
    File,
    /// A tar of a folder, with the digest that it has uncompressed.
    Folder(Option<Digest>),
}

/// Downloads what an artifact's manifest names to a folder of ours in `output`, which is made if need be.
///
/// # Errors
/// [`Error::Invalid`] if a title leads out of the folder, or if it is an image that is no more than files in one layer; those of
/// the repository.
pub async fn fetch(
    repository: &Arc<dyn Repository>,
    manifest: &Manifest,
    output: &Path,
    jobs: usize,
    reporter: &Arc<dyn Reporter>,
) -> Result<Fetched, Error> {
    let items = items(manifest)?;
    let staging = Staging::create(output)?;
    let wanted: HashMap<&Digest, &Item> = items.iter().map(|item| (&item.descriptor.digest, item)).collect();
    let downloads = wanted.into_values().map(|item| download(repository, item, &staging, output, reporter));
    stream::iter(downloads).buffer_unordered(jobs.max(1)).try_collect::<()>().await?;
    Ok(Fetched { staging, items })
}

async fn download(
    repository: &Arc<dyn Repository>,
    item: &Item,
    staging: &Staging,
    output: &Path,
    reporter: &Arc<dyn Reporter>,
) -> Result<(), Error> {
    let descriptor = &item.descriptor;
    let file = staging.blobs.make_file(&descriptor.digest.to_string(), 0o666);
    let file = file.map_err(|error| file_error("writing in", output, error))?;
    let progress: Arc<dyn BlobProgress> =
        Arc::from(reporter.blob_started(Label::of(descriptor), Some(descriptor.size)));
    let counted = Arc::clone(&progress);
    let body =
        repository.get_blob(descriptor).await?.inspect_ok(move |bytes: &Bytes| counted.advanced(bytes.len() as u64));
    write_blob(&Arc::new(file), output, 0, descriptor, body.boxed()).await?;
    progress.finished(&descriptor.digest);
    Ok(())
}

impl Fetched {
    /// Unpacks everything beside the files that are there, and then moves it to the output folder. `stop` ends it before that;
    /// the future should not be dropped before it is done.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is anything in it that does not belong into the folder; [`Error::File`] of
    /// [`std::io::ErrorKind::AlreadyExists`] if a file would be replaced and is to be kept. Nothing is then changed.
    pub async fn unpack(self, keep_old_files: bool, stop: &CancellationToken) -> Result<Vec<PulledFile>, Error> {
        let stop = stop.clone();
        blocking(move || {
            let Self { staging, items } = self;
            let mut uses: HashMap<Digest, usize> = HashMap::new();
            for item in &items {
                *uses.entry(item.descriptor.digest.clone()).or_default() += 1;
            }
            let mut tree = Tree::new(&staging.tree, &stop);
            for item in &items {
                let blob = item.descriptor.digest.to_string();
                let left = uses.entry(item.descriptor.digest.clone()).or_default();
                *left -= 1;
                match &item.content {
                    Content::File => tree.add_file(&item.path, &staging.blobs, &blob, *left == 0)?,
                    Content::Folder(digest) => {
                        let opened = staging.blobs.file(&blob);
                        let archive =
                            opened.map_err(|error| file_error("reading", item.path.to_string().as_ref(), error))?;
                        tree.add_archive(&item.path, archive, digest.as_ref())?;
                    }
                }
            }
            tree.finish()?;
            staging.commit(keep_old_files)?;
            Ok(items.into_iter().map(PulledFile::from).collect())
        })
        .await
    }
}

impl From<Item> for PulledFile {
    fn from(item: Item) -> Self {
        let Descriptor { digest, size, media_type, .. } = item.descriptor;
        Self { path: item.path.to_string(), digest, size, media_type }
    }
}

/// Returns what of a manifest becomes files: the layers with a title, or the one layer of an image.
fn items(manifest: &Manifest) -> Result<Vec<Item>, Error> {
    let is_image = manifest.config().is_some_and(|config| media_type::is_config(&config.media_type));
    let titled = manifest.layers().iter().filter_map(|layer| Some((layer, layer.annotations.get(TITLE)?)));
    let items: Vec<Item> = titled.map(|(layer, title)| item(layer, title)).collect::<Result<_, _>>()?;
    match manifest.layers() {
        _ if !is_image || !items.is_empty() => Ok(items),
        [layer] => {
            let content = Content::Folder(None);
            Ok(vec![Item { descriptor: layer.clone(), path: InnerPath::default(), content }])
        }
        layers => Err(Error::Invalid(format!(
            "it is an image of {} layers, and only one that is files in a single layer is unpacked; pull it as an image",
            layers.len()
        ))),
    }
}

fn item(layer: &Descriptor, title: &str) -> Result<Item, Error> {
    let path = InnerPath::parse(title.as_bytes()).map_err(|why| {
        Error::Invalid(format!("the layer {} has a title that {why}: {}", layer.digest, quoted(title)))
    })?;
    let content = if layer.annotations.get(UNPACK).is_some_and(|unpack| unpack == "true") {
        let digest = layer.annotations.get(CONTENT_DIGEST).map(|digest| digest.parse()).transpose();
        let digest = digest.map_err(|error: storage_layout::Error| {
            Error::Invalid(format!("the layer {} says of its content: {error}", layer.digest))
        })?;
        Content::Folder(digest)
    } else {
        Content::File
    };
    Ok(Item { descriptor: layer.clone(), path, content })
}
