//! Making an artifact, or an image, of files and folders.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use flate2::GzBuilder;
use flate2::write::GzEncoder;
use futures::{StreamExt, stream};
use storage_layout::{Algorithm, Descriptor, Digest, Digester, Manifest, media_type};
use tokio_util::sync::CancellationToken;

use super::document::{Document, EMPTY, Pointer};
use super::input::{Plan, PlannedFile};
use super::path::InnerPath;
use super::tar_packer::TarPacker;
use super::{CONTENT_DIGEST, CREATED, UNPACK};
use crate::archive::{Content, blocking, file_error, quoted};
use crate::transfer::{ByteStream, Error, PlatformFilter, Source, TITLE};

const PIECE: usize = 256 * 1024;
/// What a manifest without config and type says that it is.
const UNKNOWN_ARTIFACT: &str = "application/vnd.unknown.artifact.v1";

/// An artifact that is ready to be copied to where it is to be: its digests are known, its files lie where they lay.
#[derive(Debug)]
pub struct Packed {
    manifest: Manifest,
    bodies: HashMap<Digest, Body>,
}

#[derive(Clone, Debug)]
enum Body {
    Bytes(Bytes),
    /// A file that is opened again when it is sent.
    File {
        path: PathBuf,
        seen: Identity,
    },
    /// What was made, in a nameless file.
    Spooled(Content),
}

/// What tells a file from what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), size: metadata.len(), modified }
    }
}

impl Plan {
    /// Reads all files, packs the folders into nameless files in `spool_dir`, and makes the manifest. `subject` is what the
    /// artifact is to be attached to.
    ///
    /// # Errors
    /// [`Error::File`] if a file cannot be read; [`Error::Invalid`] if one changes meanwhile, or a folder holds what no tar should.
    pub async fn pack(self, subject: Option<Descriptor>, spool_dir: &Path) -> Result<Packed, Error> {
        self.on_a_thread(spool_dir, move |plan, workshop| plan.pack_here(subject, workshop)).await
    }

    /// Packs all files into the one layer of an image that Docker takes. What the plan says besides its files is of no use to
    /// such an image and ignored.
    ///
    /// # Errors
    /// As [`Plan::pack`].
    pub async fn pack_image(self, spool_dir: &Path) -> Result<Packed, Error> {
        self.on_a_thread(spool_dir, Self::pack_image_here).await
    }

    async fn on_a_thread<F>(self, spool_dir: &Path, work: F) -> Result<Packed, Error>
    where
        F: FnOnce(Self, Workshop) -> Result<Packed, Error> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let _stop_when_dropped = stop.clone().drop_guard();
        let workshop = Workshop { spool_dir: spool_dir.to_owned(), stop, bodies: HashMap::new() };
        blocking(move || work(self, workshop)).await
    }

    fn pack_here(self, subject: Option<Descriptor>, mut workshop: Workshop) -> Result<Packed, Error> {
        let mut annotations = self.annotations;
        let layers = self.files.into_iter().map(|file| workshop.layer(file)).collect::<Result<Vec<_>, _>>()?;
        let config_annotations = std::mem::take(&mut annotations.config);
        // Without a type of its own an artifact with a config is what it was before OCI 1.1: its config's type says what it is.
        let is_of_old = self.config.is_some() && self.artifact_type.is_none() && subject.is_none();
        let artifact_type = self.artifact_type.or_else(|| self.config.is_none().then(|| UNKNOWN_ARTIFACT.to_owned()));
        let config = match self.config {
            Some((path, media_type)) => workshop.file(&path, &media_type, config_annotations)?,
            None => workshop.nothing(config_annotations),
        };
        let layers = if layers.is_empty() && !is_of_old { vec![workshop.nothing(BTreeMap::new())] } else { layers };
        let created = || DateTime::<Utc>::from(std::time::SystemTime::now()).to_rfc3339_opts(SecondsFormat::Secs, true);
        annotations.manifest.entry(CREATED.to_owned()).or_insert_with(created);
        let manifest =
            Document::artifact(artifact_type, config, layers, subject, annotations.manifest).into_manifest()?;
        Ok(Packed { manifest, bodies: workshop.bodies })
    }

    fn pack_image_here(self, mut workshop: Workshop) -> Result<Packed, Error> {
        let folder = InnerPath::default();
        let files = self.files;
        let (layer, diff_id) = workshop.archive(media_type::DOCKER_LAYER_GZIP, BTreeMap::new(), |tar| {
            // Whoever unpacks the layer makes the folders of the paths.
            files.iter().try_for_each(|file| tar.add(&file.path, &folder.join(&file.title)))
        })?;
        let mut config: serde_json::Value = serde_json::from_str(&PlatformFilter::host().to_json())
            .map_err(|error| Error::Invalid(format!("writing the config: {error}")))?;
        // The same files make the same image, whenever they are packed.
        config["created"] = "1970-01-01T00:00:00Z".into();
        config["config"] = serde_json::json!({});
        config["rootfs"] = serde_json::json!({"type": "layers", "diff_ids": [diff_id]});
        config["history"] = serde_json::json!([{"created": "1970-01-01T00:00:00Z", "created_by": "oci-store artifact push --as-image"}]);
        let config = workshop.bytes(media_type::DOCKER_CONFIG, config.to_string().into(), BTreeMap::new());
        let manifest = Document::docker_image(config, layer).into_manifest()?;
        Ok(Packed { manifest, bodies: workshop.bodies })
    }
}

/// Where blobs are made.
struct Workshop {
    spool_dir: PathBuf,
    stop: CancellationToken,
    bodies: HashMap<Digest, Body>,
}

type Compressed = GzEncoder<Hashed<BufWriter<File>>>;

impl Workshop {
    fn layer(&mut self, file: PlannedFile) -> Result<Pointer, Error> {
        let is_folder = fs::metadata(&file.path).map_err(|error| file_error("looking at", &file.path, error))?.is_dir();
        let media_type = file.media_type(is_folder).to_owned();
        let mut annotations = BTreeMap::from([(TITLE.to_owned(), file.title.to_string())]);
        annotations.extend(file.annotations);
        if !is_folder {
            if file.title.is_empty() {
                return Err(Error::Invalid(format!("{} is a file and has no name as its title", file.path.display())));
            }
            return self.file(&file.path, &media_type, annotations);
        }
        annotations.insert(UNPACK.to_owned(), "true".to_owned());
        let (pointer, _) = self.archive(&media_type, annotations, |tar| tar.add(&file.path, &file.title))?;
        Ok(pointer)
    }

    fn file(&mut self, path: &Path, media_type: &str, annotations: BTreeMap<String, String>) -> Result<Pointer, Error> {
        let reading = |error| file_error("reading", path, error);
        let mut file = File::open(path).map_err(reading)?;
        let metadata = file.metadata().map_err(reading)?;
        let seen = Identity::of(&metadata);
        // What is no file, such as a pipe, gives its bytes once.
        let spool = if metadata.is_file() { None } else { Some(self.spool()?) };
        let mut digester = Digester::new(Algorithm::Sha256);
        let mut buffer = vec![0; PIECE];
        loop {
            if self.stop.is_cancelled() {
                return Err(reading(io::Error::other("the work was given up")));
            }
            let count = match file.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result.map_err(reading)?,
            };
            if count == 0 {
                break;
            }
            digester.update(&buffer[..count]);
            if let Some(mut spool) = spool.as_ref() {
                spool.write_all(&buffer[..count]).map_err(|error| self.spooling(error))?;
            }
        }
        let size = digester.length();
        let body = match spool {
            Some(spool) => Body::Spooled(Content::of_file(spool).map_err(|error| self.spooling(error))?),
            None if Identity::of(&file.metadata().map_err(reading)?) != seen || size != seen.size => {
                return Err(changed(path));
            }
            None => Body::File { path: path.to_owned(), seen },
        };
        Ok(self.keep(digester.finish(), size, body, media_type, annotations))
    }

    /// Packs what `contents` adds into a compressed tar. Returns it, and the digest of the tar.
    fn archive(
        &mut self,
        media_type: &str,
        mut annotations: BTreeMap<String, String>,
        contents: impl FnOnce(&mut TarPacker<'_, Hashed<Compressed>>) -> Result<(), Error>,
    ) -> Result<(Pointer, Digest), Error> {
        let file = Hashed::new(BufWriter::with_capacity(PIECE, self.spool()?));
        // As Go's library does: no name, no time, no system.
        let gzip = GzBuilder::new().mtime(0).operating_system(255).write(file, flate2::Compression::new(6));
        let mut packer = TarPacker::new(Hashed::new(gzip), &self.stop);
        contents(&mut packer)?;
        let plain = packer.finish()?;
        let compressed = plain.inner.finish().map_err(|error| self.spooling(error))?;
        let file = compressed.inner.into_inner().map_err(|error| self.spooling(error.into_error()))?;
        let content = Content::of_file(file).map_err(|error| self.spooling(error))?;
        let (plain, size) = (plain.digester.finish(), compressed.digester.length());
        if annotations.contains_key(UNPACK) {
            annotations.insert(CONTENT_DIGEST.to_owned(), plain.to_string());
        }
        let digest = compressed.digester.finish();
        Ok((self.keep(digest, size, Body::Spooled(content), media_type, annotations), plain))
    }

    fn bytes(&mut self, media_type: &str, bytes: Bytes, annotations: BTreeMap<String, String>) -> Pointer {
        let (digest, size) = (Algorithm::Sha256.digest(&bytes), bytes.len() as u64);
        self.keep(digest, size, Body::Bytes(bytes), media_type, annotations)
    }

    /// Makes the blob of nothing.
    fn nothing(&mut self, annotations: BTreeMap<String, String>) -> Pointer {
        self.bodies.insert(Algorithm::Sha256.digest(EMPTY), Body::Bytes(Bytes::from_static(EMPTY)));
        Pointer::empty(annotations)
    }

    fn keep(
        &mut self,
        digest: Digest,
        size: u64,
        body: Body,
        media_type: &str,
        annotations: BTreeMap<String, String>,
    ) -> Pointer {
        self.bodies.insert(digest.clone(), body);
        Pointer::new(media_type, digest, size, annotations)
    }

    fn spool(&self) -> Result<File, Error> {
        tempfile::tempfile_in(&self.spool_dir).map_err(|error| self.spooling(error))
    }

    fn spooling(&self, error: io::Error) -> Error {
        file_error("writing a spool file in", &self.spool_dir, error)
    }
}

impl Packed {
    /// Returns the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Tells which file is another one than when it was packed, as the error to report: a copy that failed, failed for that.
    pub fn what_changed(&self) -> Option<Error> {
        self.bodies.values().find_map(|body| match body {
            Body::File { path, seen } => {
                let is_same = fs::metadata(path).is_ok_and(|metadata| Identity::of(&metadata) == *seen);
                (!is_same).then(|| changed(path))
            }
            Body::Bytes(_) | Body::Spooled(_) => None,
        })
    }
}

#[async_trait]
impl Source for Packed {
    async fn root(&self) -> Result<Manifest, Error> {
        Ok(self.manifest.clone())
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        Err(Error::NotFound(format!("the artifact has no manifest {}", descriptor.digest)))
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        let body = self.bodies.get(&descriptor.digest).cloned();
        match body.ok_or_else(|| Error::NotFound(format!("the artifact has no blob {}", descriptor.digest)))? {
            Body::Bytes(bytes) => Ok(stream::once(async { Ok(bytes) }).boxed()),
            Body::Spooled(content) => Ok(content.stream()),
            Body::File { path, seen } => {
                let open = move || {
                    let reading = |error| file_error("reading", &path, error);
                    let file = File::open(&path).map_err(reading)?;
                    if Identity::of(&file.metadata().map_err(reading)?) != seen {
                        return Err(changed(&path));
                    }
                    Ok(Content::of_file(file).map_err(reading)?.stream())
                };
                blocking(open).await
            }
        }
    }
}

fn changed(path: &Path) -> Error {
    let path = quoted(&path.display().to_string());
    Error::Invalid(format!("{path} changed while it was read; push it again when nobody writes to it"))
}

/// Hashes what is written through it.
struct Hashed<W> {
    inner: W,
    digester: Digester,
}

impl<W: Write> Hashed<W> {
    fn new(inner: W) -> Self {
        Self { inner, digester: Digester::new(Algorithm::Sha256) }
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.digester.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
