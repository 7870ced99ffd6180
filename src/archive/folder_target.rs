//! Adding an image to an OCI image layout in a folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use storage_layout::{Descriptor, MAX_MANIFEST_SIZE, Manifest, Tag, media_type};

use super::docker_load::{OCI_LAYOUT, tagged_descriptor};
use super::folder::{self, plain_path, sync_folder, temporary_in};
use super::layout_referrers::attached_entry;
use super::layout_source::{REF_NAME, blob_path, check_version, parse_index};
use super::problem::{blocking, file_error};
use super::tar_archive::too_long;
use super::tar_target::layout_tag;
use super::verified::write_blob;
use crate::transfer::{ByteStream, Error, Target};

/// An image layout that an image goes into. Until the commit its index does not name the image; blobs of a run that was cut are
/// found again by the next one.
#[derive(Clone, Debug)]
pub(super) struct FolderTarget {
    label: String,
    dir: PathBuf,
    tag: Option<String>,
    /// What the index is to name besides the image.
    attached: Arc<Mutex<Vec<Descriptor>>>,
}

impl FolderTarget {
    pub(super) fn open(label: String, dir: &Path, tag: Option<&str>, name: Option<&str>) -> Result<Self, Error> {
        let target = Self { tag: layout_tag(&label, tag, name)?, label, dir: dir.to_owned(), attached: Arc::default() };
        let label = &target.label;
        match fs::read_dir(dir) {
            Ok(mut entries) => match target.document("oci-layout")? {
                Some(bytes) => check_version(label, &bytes)?,
                None if entries.next().is_none() => {}
                None => {
                    let hint = "choose an empty or a new folder";
                    return Err(Error::Invalid(format!("{label} holds files and is no OCI image layout; {hint}")));
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(Error::Invalid(format!("{label} is no folder; a tar is oci-archive:{}", dir.display())));
            }
            Err(error) => return Err(file_error("looking at", dir, error)),
        }
        Ok(target)
    }

    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(content) = folder::open(&self.label, &self.dir, name)? else {
            return Ok(None);
        };
        if content.size() > MAX_MANIFEST_SIZE {
            return Err(too_long(&self.label, name, MAX_MANIFEST_SIZE));
        }
        let mut bytes = vec![0; usize::try_from(content.size()).expect("at most 4 MiB")];
        content.read_exact_at(&mut bytes, 0).map_err(|error| file_error("reading", &self.dir.join(name), error))?;
        Ok(Some(bytes))
    }

    /// Writes a file that is there whole or not at all.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.dir.join(name);
        let writing = |error| file_error("writing", &path, error);
        let mut temporary = temporary_in(&self.dir).map_err(writing)?;
        temporary.write_all(bytes).and_then(|()| temporary.as_file().sync_all()).map_err(writing)?;
        temporary.persist(&path).map_err(|error| writing(error.error))?;
        sync_folder(&self.dir).map_err(writing)
    }

    /// Makes the folder for a blob. The mark of a layout comes first: with it an unfinished layout is still one, and taken up
    /// again instead of refused.
    fn make_folder(&self, blob: &str) -> Result<PathBuf, Error> {
        let making = |error| file_error("making the folder", &self.dir, error);
        fs::create_dir_all(&self.dir).map_err(making)?;
        if plain_path(&self.label, &self.dir, "oci-layout")?.is_none() {
            self.replace("oci-layout", OCI_LAYOUT)?;
        }
        let path = self.dir.join(blob);
        let parent = blob.rsplit_once('/').map_or("", |(parent, _)| parent);
        if plain_path(&self.label, &self.dir, parent)?.is_none() {
            fs::create_dir_all(self.dir.join(parent)).map_err(making)?;
        }
        Ok(path)
    }

    async fn on_a_thread<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, Error> + Send + 'static,
    {
        let target = self.clone();
        blocking(move || work(&target)).await
    }

    /// Makes the index name the image. What else it names stays.
    fn add_to_index(&self, root: &Manifest) -> Result<(), Error> {
        let marker = self.dir.join("oci-layout");
        let locked = File::open(&marker).and_then(|file| match file.lock() {
            // Two writers at once could lose one's image; where files cannot be locked that is the price.
            Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
            _ => Ok(file),
        });
        let _until_written = locked.map_err(|error| file_error("locking", &marker, error))?;
        let mut index = match self.document("index.json")? {
            Some(bytes) => {
                let parsed = parse_index(&self.label, bytes.into())?;
                serde_json::from_slice(parsed.bytes())
                    .map_err(|error| Error::Invalid(format!("{} is damaged: index.json: {error}", self.label)))?
            }
            None => json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []}),
        };
        let attached = std::mem::take(&mut *self.attached.lock().unwrap_or_else(PoisonError::into_inner));
        let image = tagged_descriptor(root, self.tag.as_deref());
        if let Some(entries) = index.get_mut("manifests").and_then(Value::as_array_mut) {
            for entry in std::iter::once(image).chain(attached).map(|entry| json!(entry)) {
                entries.retain(|other| !is_replaced(other, &entry));
                entries.push(entry);
            }
        }
        self.replace("index.json", index.to_string().as_bytes())
    }

    fn sync_blobs(&self) -> Result<(), Error> {
        for name in ["blobs/sha256", "blobs/sha512", "blobs"] {
            if let Some((path, _)) = plain_path(&self.label, &self.dir, name)? {
                sync_folder(&path).map_err(|error| file_error("writing", &path, error))?;
            }
        }
        Ok(())
    }
}

/// Tells whether the new entry takes the other one's place: it has its name, or both have none and are the same image.
fn is_replaced(other: &Value, entry: &Value) -> bool {
    let name = |entry: &Value| entry.get("annotations").and_then(|all| all.get(REF_NAME)).cloned();
    let name_of_new = name(entry);
    name(other) == name_of_new && (name_of_new.is_some() || other.get("digest") == entry.get("digest"))
}

#[async_trait]
impl Target for FolderTarget {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        let (name, size) = (blob_path(&descriptor.digest), descriptor.size);
        self.on_a_thread(move |target| {
            let found = plain_path(&target.label, &target.dir, &name)?;
            Ok(found.is_some_and(|(_, metadata)| metadata.is_file() && metadata.len() == size))
        })
        .await
    }

    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error> {
        let name = blob_path(&descriptor.digest);
        let (path, temporary) = self
            .on_a_thread(move |target| {
                let path = target.make_folder(&name)?;
                let temporary = temporary_in(&target.dir).map_err(|error| file_error("writing", &path, error))?;
                Ok((path, temporary))
            })
            .await?;
        let (file, temporary) = temporary.into_parts();
        let file = Arc::new(file);
        write_blob(&file, &path, 0, descriptor, body).await?;
        blocking(move || {
            let writing = |error| file_error("writing", &path, error);
            file.sync_all().map_err(writing)?;
            drop(file);
            temporary.persist(&path).map_err(|error| writing(error.error))
        })
        .await
    }

    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let bytes = manifest.bytes().clone();
        self.put_blob(&manifest.descriptor(), stream::once(async { Ok(bytes) }).boxed()).await
    }

    fn takes_referrers(&self) -> bool {
        true
    }

    async fn put_referrer(&self, manifest: &Manifest, tag: Option<&Tag>) -> Result<(), Error> {
        self.put_manifest(manifest).await?;
        self.attached.lock().unwrap_or_else(PoisonError::into_inner).push(attached_entry(manifest, tag));
        Ok(())
    }

    async fn commit(&self, root: &Manifest) -> Result<(), Error> {
        self.put_manifest(root).await?;
        let root = root.clone();
        self.on_a_thread(move |target| {
            target.sync_blobs()?;
            target.add_to_index(&root)
        })
        .await
    }
}
