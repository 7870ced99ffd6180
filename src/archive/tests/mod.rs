//! Tests of archives as a whole: what is written is read again, and what is damaged is refused.

mod choosing;
mod damaged;
mod round_trip;
mod streamed;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use storage_layout::{Algorithm, Descriptor, Digest, Manifest, media_type};

use super::{ArchivePlace, LayerCompression, SourceOptions, TargetOptions, open_source, open_target};
use crate::transfer::{ByteStream, CopyOptions, Error, Reporter, Source, Target, copy_image};

fn sha256(bytes: &[u8]) -> Digest {
    Algorithm::Sha256.digest(bytes)
}

fn blob_name(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", sha256(bytes).hex())
}

fn described(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type, sha256(bytes), bytes.len() as u64)
}

/// A place in memory.
#[derive(Debug, Default)]
struct Memory {
    blobs: Mutex<HashMap<Digest, Bytes>>,
    root: Mutex<Option<Manifest>>,
}

impl Memory {
    fn bytes(&self, digest: &Digest) -> Bytes {
        self.blobs.lock().unwrap()[digest].clone()
    }

    fn add(&self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = described(media_type, &bytes);
        self.blobs.lock().unwrap().insert(descriptor.digest.clone(), bytes.into());
        descriptor
    }

    /// Adds an OCI image of `layers`, said to be compressed.
    fn add_image(&self, architecture: &str, layers: &[&[u8]]) -> Manifest {
        let config = json!({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}});
        let config = self.add(media_type::OCI_CONFIG, config.to_string().into_bytes());
        let layers: Vec<_> = layers.iter().map(|layer| self.add(media_type::OCI_LAYER_GZIP, layer.to_vec())).collect();
        // Spaces: a document that is written anew would lose them.
        let text = format!(
            "{{ \"schemaVersion\": 2,\n\"mediaType\": {}, \"config\": {}, \"layers\": {} }}\n",
            json!(media_type::OCI_MANIFEST),
            json!(config),
            json!(layers)
        );
        self.set_root(text)
    }

    fn add_index(&self, entries: &[(&Manifest, &str)]) -> Manifest {
        let entries: Vec<Value> = entries
            .iter()
            .map(|(manifest, architecture)| {
                let mut entry = json!(manifest.descriptor());
                entry["platform"] = json!({"architecture": architecture, "os": "linux"});
                entry
            })
            .collect();
        self.set_root(json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries}).to_string())
    }

    fn set_root(&self, text: String) -> Manifest {
        let manifest = Manifest::parse(Bytes::from(text), Algorithm::Sha256, None).unwrap();
        self.blobs.lock().unwrap().insert(manifest.digest().clone(), manifest.bytes().clone());
        *self.root.lock().unwrap() = Some(manifest.clone());
        manifest
    }
}

#[async_trait]
impl Source for Memory {
    async fn root(&self) -> Result<Manifest, Error> {
        Ok(self.root.lock().unwrap().clone().unwrap())
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        Ok(Manifest::parse(self.bytes(&descriptor.digest), Algorithm::Sha256, Some(&descriptor.media_type))?)
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        let pieces: Vec<_> = self.bytes(&descriptor.digest).chunks(1000).map(Bytes::copy_from_slice).map(Ok).collect();
        Ok(stream::iter(pieces).boxed())
    }
}

#[async_trait]
impl Target for Memory {
    async fn has_blob(&self, descriptor: &Descriptor) -> Result<bool, Error> {
        Ok(self.blobs.lock().unwrap().contains_key(&descriptor.digest))
    }

    async fn put_blob(&self, descriptor: &Descriptor, body: ByteStream) -> Result<(), Error> {
        let bytes: BytesMut = body.try_collect().await.map_err(storage_layout::Error::Body)?;
        assert_eq!(
            described(&descriptor.media_type, &bytes),
            Descriptor { annotations: HashMap::new().into_iter().collect(), ..descriptor.clone() }
        );
        self.blobs.lock().unwrap().insert(descriptor.digest.clone(), bytes.freeze());
        Ok(())
    }

    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        self.blobs.lock().unwrap().insert(manifest.digest().clone(), manifest.bytes().clone());
        Ok(())
    }

    async fn commit(&self, root: &Manifest) -> Result<(), Error> {
        self.put_manifest(root).await?;
        *self.root.lock().unwrap() = Some(root.clone());
        Ok(())
    }
}

async fn copy(source: &dyn Source, target: &dyn Target) -> Result<Manifest, Error> {
    let reporter: Arc<dyn Reporter> = Arc::new(());
    let options = CopyOptions { platforms: Vec::new(), jobs: 4 };
    copy_image(source, target, &options, &reporter).await.map(|copied| copied.root)
}

/// A folder with archives.
#[derive(Debug)]
struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `kind:` and the path of `rest`, which may go on with a name.
    fn place(&self, kind: &str, rest: &str) -> ArchivePlace {
        format!("{kind}:{}/{rest}", self.0.path().display()).parse().unwrap()
    }

    async fn source(&self, kind: &str, rest: &str) -> Result<Box<dyn Source>, Error> {
        open_source(
            &self.place(kind, rest),
            SourceOptions { spool_dir: self.0.path().to_owned(), compression: LayerCompression::default() },
        )
        .await
    }

    fn target(&self, kind: &str, rest: &str, name: Option<&str>) -> Result<Box<dyn Target>, Error> {
        open_target(&self.place(kind, rest), &TargetOptions { name: name.map(ToOwned::to_owned) })
    }

    /// Reads a whole image into memory.
    async fn read(&self, kind: &str, rest: &str) -> Result<Memory, Error> {
        let memory = Memory::default();
        copy(self.source(kind, rest).await?.as_ref(), &memory).await?;
        Ok(memory)
    }

    /// Reads a `docker save` archive of these entries, and returns what is wrong with it.
    async fn refusal(&self, entries: &[Entry]) -> String {
        write_tar(&self.path("x.tar"), entries);
        message(self.read("docker-archive", "x.tar").await)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// The message of a failure that is no accident of ours.
fn message<T>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Invalid(text) | Error::NotFound(text)) => text,
        Err(other) => panic!("another error: {other:?}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[derive(Clone, Debug)]
enum Entry {
    File(String, Vec<u8>),
    Symlink(String, String),
}

fn file(name: &str, bytes: &[u8]) -> Entry {
    Entry::File(name.to_owned(), bytes.to_vec())
}

fn symlink(name: &str, target: &str) -> Entry {
    Entry::Symlink(name.to_owned(), target.to_owned())
}

fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match entry {
            Entry::File(name, bytes) => {
                header.set_size(bytes.len() as u64);
                // Names as a bad archive has them, which the crate would refuse to write.
                header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
                header.set_cksum();
                builder.append(&header, bytes.as_slice()).unwrap();
            }
            Entry::Symlink(name, target) => {
                header.set_size(0);
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, name, target).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn write_tar(path: &Path, entries: &[Entry]) {
    std::fs::write(path, tar_of(entries)).unwrap();
}

fn config_of(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| sha256(layer)).collect();
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    config.to_string().into_bytes()
}

/// An image as Docker up to 24 saves it: its entries, and its entry in `manifest.json`.
fn legacy(tags: &[&str], layers: &[&[u8]]) -> (Vec<Entry>, Value) {
    let config = config_of(layers);
    let config_name = format!("{}.json", sha256(&config).hex());
    let names: Vec<String> = (0..layers.len()).map(|number| format!("{number:064x}/layer.tar")).collect();
    let mut entries: Vec<Entry> = names.iter().zip(layers).map(|(name, layer)| file(name, layer)).collect();
    entries.push(file(&config_name, &config));
    (entries, json!({"Config": config_name, "RepoTags": tags, "Layers": names}))
}

fn saved(images: &[(Vec<Entry>, Value)]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = images.iter().flat_map(|(entries, _)| entries.clone()).collect();
    let list: Vec<&Value> = images.iter().map(|(_, image)| image).collect();
    entries.push(file("manifest.json", json!(list).to_string().as_bytes()));
    entries
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// Bytes that compress, and not to nothing.
fn layer(seed: u8, length: usize) -> Vec<u8> {
    let pattern = (0..=u8::MAX).flat_map(|high| (0..=6).map(move |low: u8| high ^ seed.wrapping_mul(low)));
    pattern.cycle().take(length).collect()
}
