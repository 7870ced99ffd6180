//! For tests: images that are made up, and a store that fails on demand.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, UploadPart,
};

use crate::digest::{Algorithm, Digest};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Manifest};
use crate::media_type;
use crate::name::{Reference, Tag};
use crate::store::Repository;

/// What becomes of the call at which the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// It is not made.
    Before,
    /// It is made, but its answer is lost.
    After,
    /// It is done by half: a put writes the first half of its bytes, as a store would that is not atomic. What has no halves,
    /// such as the part of an upload, is not done at all.
    Torn,
}

impl Stop {
    /// Every way to stop.
    pub const ALL: [Self; 3] = [Self::Before, Self::After, Self::Torn];
}

/// The error of a call that fails once. None says that something is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The store did not answer.
    Generic,
    /// The store refuses.
    PermissionDenied,
    /// The store does not know who asks.
    Unauthenticated,
}

impl Failure {
    fn error(self, path: &Path) -> object_store::Error {
        let (path, source) = (path.to_string(), "made up for a test".into());
        match self {
            Self::Generic => object_store::Error::Generic { store: "FaultyStore", source },
            Self::PermissionDenied => object_store::Error::PermissionDenied { path, source },
            Self::Unauthenticated => object_store::Error::Unauthenticated { path, source },
        }
    }
}

/// What goes wrong. Calls are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nothing: calls are only counted.
    None,
    /// The process dies at a call: no later one reaches the store.
    Stop(u64, Stop),
    /// A call fails, once, and is not made.
    Error(u64, Failure),
    /// A call and all later ones fail.
    Outage(u64, Failure),
    /// The answer to a get breaks off after half of its bytes.
    BreakOff(u64),
}

/// What a [`Call`] asks of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are named as the methods that they stand for")]
pub enum Operation {
    Put,
    Begin,
    Part,
    Complete,
    Abort,
    Get,
    Head,
    List,
    Delete,
    Copy,
}

/// One call to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How many calls were before it.
    pub number: u64,
    /// What it asks for.
    pub operation: Operation,
    /// The key, or the prefix of a list.
    pub path: Path,
    /// The length of what it sends, in bytes.
    pub length: u64,
}

impl Call {
    /// Tells whether the call would change the bucket.
    pub fn is_write(&self) -> bool {
        !matches!(self.operation, Operation::Get | Operation::Head | Operation::List)
    }
}

type Observer = Box<dyn Fn(&Call) + Send + Sync>;

/// A store that counts the calls made to it and fails on demand.
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
}

struct State {
    fault: Fault,
    yields: usize,
    observer: Option<Observer>,
    calls: AtomicU64,
    unfinished: AtomicU64,
    in_flight: AtomicU64,
    peak: AtomicU64,
}

/// What is to be done with a call.
enum Verdict {
    Make,
    MakeAndFail,
    BreakOff,
    Halve,
    Fail(object_store::Error),
}

impl FaultyStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, fault: Fault) -> Self {
        let zero = || AtomicU64::new(0);
        let state = State {
            fault,
            yields: 0,
            observer: None,
            calls: zero(),
            unfinished: zero(),
            in_flight: zero(),
            peak: zero(),
        };
        Self { inner, state: Arc::new(state) }
    }

    /// Wraps `inner` for a process that dies at call `number`.
    pub fn stop_at(inner: Arc<dyn ObjectStore>, number: u64, stop: Stop) -> Self {
        Self::new(inner, Fault::Stop(number, stop))
    }

    /// Wraps `inner`, to count calls only.
    pub fn counting(inner: Arc<dyn ObjectStore>) -> Self {
        Self::new(inner, Fault::None)
    }

    /// Calls `observer` with every call before it is made, also with those that fail.
    #[must_use]
    pub fn observe(mut self, observer: impl Fn(&Call) + Send + Sync + 'static) -> Self {
        self.state_mut().observer = Some(Box::new(observer));
        self
    }

    /// Lets other tasks run `yields` times before each call, so that several tasks come to have calls under way at once.
    #[must_use]
    pub fn slowly(mut self, yields: usize) -> Self {
        self.state_mut().yields = yields;
        self
    }

    fn state_mut(&mut self) -> &mut State {
        Arc::get_mut(&mut self.state).expect("the store is not in use yet")
    }

    /// Returns how many calls there were, those that failed included.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// Returns how many multipart uploads were begun and neither completed nor aborted.
    pub fn unfinished_uploads(&self) -> u64 {
        self.state.unfinished.load(Ordering::SeqCst)
    }

    /// Returns how many bytes puts and parts had under way at once, at most.
    pub fn peak_in_flight(&self) -> u64 {
        self.state.peak.load(Ordering::SeqCst)
    }
}

impl State {
    /// Counts a call and tells what is to be done with it.
    fn judge(&self, operation: Operation, path: &Path, length: u64) -> Verdict {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        if let Some(observer) = &self.observer {
            observer(&Call { number, operation, path: path.clone(), length });
        }
        match self.fault {
            Fault::Stop(at, stop) if number == at => match stop {
                Stop::Before => Verdict::Fail(Failure::Generic.error(path)),
                Stop::After => Verdict::MakeAndFail,
                Stop::Torn => Verdict::Halve,
            },
            Fault::Stop(at, _) if number > at => Verdict::Fail(Failure::Generic.error(path)),
            Fault::Error(at, failure) if number == at => Verdict::Fail(failure.error(path)),
            Fault::Outage(at, failure) if number >= at => Verdict::Fail(failure.error(path)),
            Fault::BreakOff(at) if number == at => Verdict::BreakOff,
            _ => Verdict::Make,
        }
    }

    /// Carries out a verdict on a call without halves.
    async fn carry_out<T>(
        &self,
        verdict: Verdict,
        path: &Path,
        call: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        self.give_way().await;
        match verdict {
            Verdict::Make | Verdict::BreakOff => call.await,
            Verdict::MakeAndFail => {
                call.await?;
                Err(Failure::Generic.error(path))
            }
            Verdict::Halve => Err(Failure::Generic.error(path)),
            Verdict::Fail(error) => Err(error),
        }
    }

    async fn give_way(&self) {
        for _ in 0..self.yields {
            tokio::task::yield_now().await;
        }
    }

    fn send(self: &Arc<Self>, length: u64) -> InFlight {
        let now = self.in_flight.fetch_add(length, Ordering::SeqCst) + length;
        self.peak.fetch_max(now, Ordering::SeqCst);
        InFlight { state: Arc::clone(self), length }
    }
}

/// Bytes under way.
struct InFlight {
    state: Arc<State>,
    length: u64,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.state.in_flight.fetch_sub(self.length, Ordering::SeqCst);
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .field("fault", &self.state.fault)
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> object_store::Result<PutResult> {
        let length = payload.content_length();
        let verdict = self.state.judge(Operation::Put, path, length as u64);
        let _in_flight = self.state.send(length as u64);
        if matches!(verdict, Verdict::Halve) {
            let half = Bytes::from(payload).slice(..length / 2);
            self.inner.put_opts(path, half.into(), options).await?;
            return Err(Failure::Generic.error(path));
        }
        self.state.carry_out(verdict, path, self.inner.put_opts(path, payload, options)).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let verdict = self.state.judge(Operation::Begin, path, 0);
        let begin = async {
            let inner = self.inner.put_multipart_opts(path, options).await?;
            self.state.unfinished.fetch_add(1, Ordering::SeqCst);
            Ok(inner)
        };
        let inner = self.state.carry_out(verdict, path, begin).await?;
        Ok(Box::new(FaultyUpload { inner, state: Arc::clone(&self.state), path: path.clone() }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let operation = if options.head { Operation::Head } else { Operation::Get };
        let verdict = self.state.judge(operation, path, 0);
        let breaks_off = operation == Operation::Get && matches!(verdict, Verdict::BreakOff);
        let mut found = self.state.carry_out(verdict, path, self.inner.get_opts(path, options)).await?;
        if breaks_off {
            let Range { start, end } = found.range;
            let half = self.inner.get_range(path, start..start.midpoint(end)).await;
            found.payload =
                GetResultPayload::Stream(futures::stream::iter([half, Err(Failure::Generic.error(path))]).boxed());
        }
        Ok(found)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        let verdict = self.state.judge(Operation::Get, path, 0);
        self.state.carry_out(verdict, path, self.inner.get_ranges(path, ranges)).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        let (inner, state) = (Arc::clone(&self.inner), Arc::clone(&self.state));
        let delete = move |path: object_store::Result<Path>| {
            let (inner, state) = (Arc::clone(&inner), Arc::clone(&state));
            async move {
                let path = path?;
                let verdict = state.judge(Operation::Delete, &path, 0);
                state.carry_out(verdict, &path, inner.delete(&path)).await?;
                Ok(path)
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.stream_list(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.stream_list(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        let verdict = self.state.judge(Operation::List, &path, 0);
        self.state.carry_out(verdict, &path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
        let verdict = self.state.judge(Operation::Copy, to, 0);
        self.state.carry_out(verdict, to, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> object_store::Result<()> {
        let verdict = self.state.judge(Operation::Copy, to, 0);
        self.state.carry_out(verdict, to, self.inner.rename_opts(from, to, options)).await
    }
}

impl FaultyStore {
    fn stream_list(
        &self,
        prefix: Option<&Path>,
        listed: BoxStream<'static, object_store::Result<ObjectMeta>>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let path = prefix.cloned().unwrap_or_default();
        let verdict = self.state.judge(Operation::List, &path, 0);
        let state = Arc::clone(&self.state);
        let stream = async move { state.carry_out(verdict, &path, async { Ok(listed) }).await };
        stream.try_flatten_stream().boxed()
    }
}

struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    state: Arc<State>,
    path: Path,
}

impl fmt::Debug for FaultyUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyUpload").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let length = payload.content_length() as u64;
        let verdict = self.state.judge(Operation::Part, &self.path, length);
        let in_flight = self.state.send(length);
        // The order of parts is the order of these calls, so a part that is to arrive is begun here.
        let sent: BoxFuture<'static, object_store::Result<()>> = match verdict {
            Verdict::Make | Verdict::MakeAndFail | Verdict::BreakOff => self.inner.put_part(payload),
            Verdict::Halve | Verdict::Fail(_) => futures::future::ready(Ok(())).boxed(),
        };
        let (state, path) = (Arc::clone(&self.state), self.path.clone());
        async move {
            let _in_flight = in_flight;
            state.carry_out(verdict, &path, sent).await
        }
        .boxed()
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let verdict = self.state.judge(Operation::Complete, &self.path, 0);
        let complete = async {
            let result = self.inner.complete().await?;
            self.state.unfinished.fetch_sub(1, Ordering::SeqCst);
            Ok(result)
        };
        self.state.carry_out(verdict, &self.path, complete).await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let verdict = self.state.judge(Operation::Abort, &self.path, 0);
        let abort = async {
            self.inner.abort().await?;
            self.state.unfinished.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        self.state.carry_out(verdict, &self.path, abort).await
    }
}

/// Returns all keys of a store with what they hold.
pub async fn snapshot(objects: &dyn ObjectStore) -> BTreeMap<String, Bytes> {
    let listed: Vec<ObjectMeta> = objects.list(None).try_collect().await.expect("the store can be listed");
    let mut found = BTreeMap::new();
    for meta in listed {
        let object = objects.get(&meta.location).await.expect("what was listed is there");
        found.insert(meta.location.to_string(), object.bytes().await.expect("what is there can be read"));
    }
    found
}

/// An image with all that belongs to it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Manifest,
    /// Config and layers, in the manifest's order.
    pub blobs: Vec<(Descriptor, Bytes)>,
    /// The images of an index.
    pub children: Vec<Self>,
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.manifest.bytes() == other.manifest.bytes() && self.blobs == other.blobs && self.children == other.children
    }
}

impl Image {
    /// Returns the manifest's digest.
    pub fn digest(&self) -> &Digest {
        self.manifest.digest()
    }
}

/// How a client sends blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// The digest is said first, with the length.
    DigestFirst,
    /// The digest is said when all bytes were sent, as Docker does.
    DigestLast,
}

impl Write {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::DigestFirst, Self::DigestLast];
}

/// Returns `length` bytes that look random and are always the same for a `seed`.
pub fn noise(seed: u64, length: usize) -> Bytes {
    // SplitMix64: <https://prng.di.unimi.it/splitmix64.c>
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

fn described(media_type: &str, content: Bytes) -> (Descriptor, Bytes) {
    (Descriptor::new(media_type, Algorithm::Sha256.digest(&content), content.len() as u64), content)
}

fn manifest(media_type: &str, document: &serde_json::Value) -> Manifest {
    Manifest::parse(document.to_string().into(), Algorithm::Sha256, Some(media_type)).expect("it is a manifest")
}

/// Makes up an OCI image of `layers` layers of `size` bytes each. The layers are noise, no archives.
pub fn image(seed: u64, layers: usize, size: usize) -> Image {
    image_of([media_type::OCI_MANIFEST, media_type::OCI_CONFIG, media_type::OCI_LAYER_GZIP], seed, layers, size)
}

/// Like [`image`], with Docker's media types.
pub fn docker_image(seed: u64, layers: usize, size: usize) -> Image {
    let types = [media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG, media_type::DOCKER_LAYER_GZIP];
    image_of(types, seed, layers, size)
}

fn image_of(types: [&str; 3], seed: u64, layers: usize, size: usize) -> Image {
    let layers: Vec<Bytes> = (0..layers as u64).map(|layer| noise(seed.wrapping_mul(1_000) + layer, size)).collect();
    from_layers(types, &format!("made up from {seed}"), layers)
}

/// Makes an OCI image of given layers. `comment` goes into its config.
pub fn image_from(comment: &str, layers: Vec<Bytes>) -> Image {
    from_layers([media_type::OCI_MANIFEST, media_type::OCI_CONFIG, media_type::OCI_LAYER_GZIP], comment, layers)
}

fn from_layers([manifest_type, config_type, layer_type]: [&str; 3], comment: &str, layers: Vec<Bytes>) -> Image {
    let diff_ids: Vec<Digest> = layers.iter().map(|layer| Algorithm::Sha256.digest(layer)).collect();
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "comment": comment,
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = described(config_type, config.to_string().into());
    let layers: Vec<_> = layers.into_iter().map(|layer| described(layer_type, layer)).collect();
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": config.0,
        "layers": layers.iter().map(|(descriptor, _)| descriptor).collect::<Vec<_>>(),
    });
    let blobs = std::iter::once(config).chain(layers).collect();
    Image { manifest: manifest(manifest_type, &document), blobs, children: Vec::new() }
}

/// Makes up an index of two platforms: `linux/amd64` and `linux/arm64`.
pub fn index(seed: u64, layers: usize, size: usize) -> Image {
    let children = vec![image(seed * 2, layers, size), image(seed * 2 + 1, layers, size)];
    let describe = |(child, architecture): (&Image, &str)| {
        let mut descriptor = serde_json::json!(child.manifest.descriptor());
        descriptor["platform"] = serde_json::json!({ "architecture": architecture, "os": "linux" });
        descriptor
    };
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": children.iter().zip(["amd64", "arm64"]).map(describe).collect::<Vec<_>>(),
    });
    Image { manifest: manifest(media_type::OCI_INDEX, &document), blobs: Vec::new(), children }
}

/// Makes an index that lists `manifests` as they are, such as a client keeps under a tag for want of a referrers API.
pub fn index_of(manifests: &[Descriptor]) -> Manifest {
    let document =
        serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests });
    manifest(media_type::OCI_INDEX, &document)
}

/// Makes up an artifact of one layer that refers to `subject`.
pub fn artifact(seed: u64, subject: &Manifest, artifact_type: &str) -> Image {
    let config = described("application/vnd.oci.empty.v1+json", Bytes::from_static(b"{}"));
    let layer = described("application/octet-stream", noise(seed, 100));
    let document = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": config.0,
        "layers": [layer.0],
        "subject": subject.descriptor(),
        "annotations": { "seed": seed.to_string() },
    });
    Image { manifest: manifest(media_type::OCI_MANIFEST, &document), blobs: vec![config, layer], children: Vec::new() }
}

/// Does what a client does to push: asks for each blob, sends those that are missing, then stores the manifest.
pub async fn push(repository: &Repository, image: &Image, tag: Option<&Tag>, write: Write) -> Result<()> {
    for child in &image.children {
        Box::pin(push(repository, child, None, write)).await?;
    }
    for (descriptor, content) in &image.blobs {
        match repository.stat_blob(&descriptor.digest).await {
            Ok(_) => {}
            // A damaged link is mended by sending what it stands for.
            Err(Error::BlobUnknown(_) | Error::Corrupt { .. }) => {
                send(repository, &descriptor.digest, content, write).await?;
            }
            Err(error) => return Err(error),
        }
    }
    repository.put_manifest(&image.manifest, tag.map(std::slice::from_ref).unwrap_or_default()).await
}

/// Sends one blob, in pieces of odd length.
pub async fn send(repository: &Repository, digest: &Digest, content: &Bytes, write: Write) -> Result<()> {
    let pieces = content.chunks(100_003).map(|piece| content.slice_ref(piece));
    match write {
        Write::DigestFirst => {
            let body = futures::stream::iter(pieces.map(Ok));
            repository.put_blob(digest, Some(content.len() as u64), body).await?;
        }
        Write::DigestLast => {
            let mut upload = repository.begin_upload(digest.algorithm());
            for piece in pieces {
                upload.write(piece).await?;
            }
            upload.commit(digest).await?;
        }
    }
    Ok(())
}

/// Does what a client does to pull: reads the manifest and all that it names, and checks each digest and length.
///
/// # Errors
/// The store's; [`Error::Corrupt`] if a blob is damaged.
///
/// # Panics
/// If wrong content is handed out as right.
pub async fn pull(repository: &Repository, reference: &Reference) -> Result<Image> {
    let manifest = repository.get_manifest(reference).await?;
    assert_eq!(manifest.digest().algorithm().digest(manifest.bytes()), *manifest.digest());
    if let Reference::Digest(digest) = reference {
        assert_eq!(manifest.digest(), digest, "another manifest was handed out");
    }
    let mut blobs = Vec::new();
    for descriptor in manifest.blobs() {
        blobs.push((descriptor.clone(), read(repository, &descriptor.digest).await?));
        let (_, content) = blobs.last().expect("one was pushed just now");
        assert_eq!(content.len() as u64, descriptor.size, "{} has another length", descriptor.digest);
    }
    let mut children = Vec::new();
    for child in manifest.manifests() {
        children.push(Box::pin(pull(repository, &child.digest.clone().into())).await?);
    }
    Ok(Image { manifest, blobs, children })
}

/// Reads a blob to its end.
///
/// # Errors
/// The store's; [`Error::Corrupt`] if the blob is damaged.
///
/// # Panics
/// If wrong content is handed out as right.
pub async fn read(repository: &Repository, digest: &Digest) -> Result<Bytes> {
    let stat = repository.find_blob(digest).await?;
    let reader = repository.open_blob(&stat, None).await?;
    let pieces: Result<Vec<Bytes>, _> = reader.stream.try_collect().await;
    let pieces = pieces.map_err(|error| Error::from_blob_stream(digest, error))?;
    let content = Bytes::from(pieces.concat());
    assert_eq!(digest.algorithm().digest(&content), *digest, "wrong bytes were handed out");
    assert_eq!(content.len() as u64, reader.size, "another length was announced");
    Ok(content)
}
