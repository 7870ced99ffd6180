//! Reading an OCI image layout, from a tar or a folder:
//! <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use storage_layout::{Algorithm, Descriptor, Digest, MAX_MANIFEST_SIZE, Manifest, media_type};
use tokio::sync::OnceCell;

use super::content::Content;
use super::folder;
use super::image_name::ImageName;
use super::layout_referrers::Survey;
use super::problem::{blocking, file_error, listed, quoted};
use super::tar_archive::{TarArchive, too_long};
use crate::transfer::{ByteStream, Error, Referrer, Source};

/// What the index calls an image.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What containerd calls it: a full name.
pub(super) const IMAGE_NAME: &str = "io.containerd.image.name";

/// Returns where a layout keeps a blob.
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// Reads a manifest and makes sure that it is the one that `descriptor` means.
pub(super) async fn read_manifest(
    label: &str,
    path: &Path,
    descriptor: &Descriptor,
    content: Option<Content>,
) -> Result<Manifest, Error> {
    let digest = &descriptor.digest;
    let content =
        content.ok_or_else(|| Error::NotFound(format!("{label} names the manifest {digest} and does not hold it")))?;
    if content.size() != descriptor.size {
        let (actual, expected) = (content.size(), descriptor.size);
        return Err(Error::Invalid(format!(
            "{label} is damaged: manifest {digest} has {actual} bytes, not {expected}"
        )));
    }
    if content.size() > MAX_MANIFEST_SIZE {
        return Err(too_long(label, "manifest", MAX_MANIFEST_SIZE));
    }
    let bytes = content.bytes(path).await?;
    let manifest = Manifest::parse(bytes, digest.algorithm(), Some(&descriptor.media_type))
        .map_err(|error| Error::Invalid(format!("{label}: {digest}: {error}")))?;
    if manifest.digest() != digest {
        let actual = manifest.digest();
        return Err(Error::Invalid(format!("{label} is damaged: the manifest {digest} has the digest {actual}")));
    }
    Ok(manifest)
}

/// Reads `index.json`: which images the layout holds.
pub(super) fn parse_index(label: &str, bytes: Bytes) -> Result<Manifest, Error> {
    Manifest::parse(bytes, Algorithm::Sha256, Some(media_type::OCI_INDEX))
        .map_err(|error| Error::Invalid(format!("{label} is damaged: index.json: {error}")))
}

/// Makes sure that an `oci-layout` is of a version that we know.
pub(super) fn check_version(label: &str, bytes: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let marker: Marker = serde_json::from_slice(bytes)
        .map_err(|error| Error::Invalid(format!("{label} is damaged: oci-layout: {error}")))?;
    if marker.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    let version = quoted(&marker.image_layout_version);
    Err(Error::Invalid(format!("{label} is an image layout of version {version}; only 1.x is known")))
}

#[derive(Debug)]
enum Files {
    Tar(TarArchive),
    Folder(PathBuf),
}

/// An image in an OCI image layout.
#[derive(Debug)]
pub(super) struct LayoutSource {
    label: String,
    path: PathBuf,
    files: Files,
    tag: Option<String>,
    /// Looked at once, when somebody asks.
    survey: OnceCell<Survey>,
}

impl LayoutSource {
    pub(super) async fn open_tar(
        label: String,
        file: &Path,
        tag: Option<String>,
        spool_dir: &Path,
    ) -> Result<Self, Error> {
        let archive = TarArchive::open(label.clone(), file, spool_dir).await?;
        Self { label, path: file.to_owned(), files: Files::Tar(archive), tag, survey: OnceCell::new() }.checked().await
    }

    pub(super) async fn open_folder(label: String, dir: &Path, tag: Option<String>) -> Result<Self, Error> {
        match tokio::fs::metadata(dir).await {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => {
                return Err(Error::Invalid(format!("{label} is no folder; a tar is oci-archive:{}", dir.display())));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NotFound(format!("{label}: there is no such folder")));
            }
            Err(error) => return Err(file_error("looking at", dir, error)),
        }
        Self { label, path: dir.to_owned(), files: Files::Folder(dir.to_owned()), tag, survey: OnceCell::new() }
            .checked()
            .await
    }

    async fn checked(self) -> Result<Self, Error> {
        match self.document("oci-layout").await? {
            Some(bytes) => check_version(&self.label, &bytes)?,
            None if self.find("manifest.json").await?.is_some() => {
                let (label, path) = (&self.label, self.path.display());
                return Err(Error::Invalid(format!(
                    "{label} has no oci-layout; what docker save wrote is docker-archive:{path}"
                )));
            }
            None => {
                return Err(Error::Invalid(format!("{} has no oci-layout, so it is no OCI image layout", self.label)));
            }
        }
        Ok(self)
    }

    async fn find(&self, name: &str) -> Result<Option<Content>, Error> {
        match &self.files {
            Files::Tar(archive) => archive.find(name),
            Files::Folder(dir) => {
                let (label, dir, name) = (self.label.clone(), dir.clone(), name.to_owned());
                blocking(move || folder::open(&label, &dir, &name)).await
            }
        }
    }

    async fn document(&self, name: &str) -> Result<Option<Bytes>, Error> {
        match self.find(name).await? {
            Some(content) if content.size() > MAX_MANIFEST_SIZE => Err(too_long(&self.label, name, MAX_MANIFEST_SIZE)),
            Some(content) => content.bytes(&self.path).await.map(Some),
            None => Ok(None),
        }
    }

    async fn index(&self) -> Result<Manifest, Error> {
        let missing = || {
            Error::Invalid(format!(
                "{} has no index.json: it holds no image, or was not written to its end",
                self.label
            ))
        };
        parse_index(&self.label, self.document("index.json").await?.ok_or_else(missing)?)
    }

    async fn survey(&self, entries: &[Descriptor]) -> Result<&Survey, Error> {
        self.survey.get_or_try_init(|| Survey::of(self, entries)).await
    }

    /// Returns the index's entry that the tag names, or the only one that is an image.
    async fn choose<'a>(&self, entries: &'a [Descriptor]) -> Result<&'a Descriptor, Error> {
        let label = &self.label;
        let candidates: Vec<&Descriptor> = match &self.tag {
            None if entries.len() > 1 => {
                let survey = self.survey(entries).await?;
                entries.iter().filter(|entry| !survey.is_part(entry)).collect()
            }
            None => entries.iter().collect(),
            Some(tag) => tagged(entries, tag),
        };
        let Some((first, others)) = candidates.split_first() else {
            return Err(Error::NotFound(match entries {
                [] => format!("{label}: there is no image in it"),
                _ => format!("{label}: there is no image of that name in it; there are: {}", names(entries.iter())),
            }));
        };
        if others.iter().any(|other| other.digest != first.digest) {
            let names = names(candidates.iter().copied());
            return Err(Error::NotFound(format!(
                "{label} holds several images; name one of them after a colon: {names}"
            )));
        }
        Ok(first)
    }
}

/// Returns the entries that are called `tag` itself; failing that, those whose full name ends in it.
fn tagged<'a>(entries: &'a [Descriptor], tag: &str) -> Vec<&'a Descriptor> {
    let full = ImageName::parse(tag).map(|name| name.to_string()).ok();
    let named = |is_meant: &dyn Fn(&str, &str) -> bool| -> Vec<&'a Descriptor> {
        let is_named = |entry: &Descriptor| {
            [REF_NAME, IMAGE_NAME].iter().any(|key| entry.annotations.get(*key).is_some_and(|own| is_meant(key, own)))
        };
        entries.iter().filter(|entry| is_named(entry)).collect()
    };
    let exact = named(&|key, own| own == tag || key == IMAGE_NAME && Some(own) == full.as_deref());
    if !exact.is_empty() {
        return exact;
    }
    named(&|_, own| own.strip_suffix(tag).is_some_and(|rest| rest.ends_with(':')))
}

fn names<'a>(entries: impl Iterator<Item = &'a Descriptor>) -> String {
    let name_of = |entry: &Descriptor| {
        let own = entry.annotations.get(REF_NAME).or_else(|| entry.annotations.get(IMAGE_NAME));
        own.map_or_else(|| format!("{} without a name", entry.digest), |name| quoted(name))
    };
    let mut names: Vec<String> = entries.map(name_of).collect();
    names.sort();
    names.dedup();
    listed(&names)
}

#[async_trait]
impl Source for LayoutSource {
    async fn root(&self) -> Result<Manifest, Error> {
        let index = self.index().await?;
        self.manifest(self.choose(index.manifests()).await?).await
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        let content = self.find(&blob_path(&descriptor.digest)).await?;
        read_manifest(&self.label, &self.path, descriptor, content).await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        let content = self.find(&blob_path(&descriptor.digest)).await?;
        let missing = || Error::NotFound(format!("{} names {} and does not hold it", self.label, descriptor.digest));
        content.map(Content::stream).ok_or_else(missing)
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        Ok(self.survey(self.index().await?.manifests()).await?.referrers(subject))
    }
}
