//! What the layout promises on every store: the same cases on memory, on a local folder, on a server in this process that
//! speaks as Google Cloud Storage does and, where they are given, on two S3 servers and on Azure.
//!
//! S3 needs `OCI_STORE_TEST_S3_ENDPOINT`, `_S3_BUCKET`, `_S3_ACCESS_KEY` and `_S3_SECRET_KEY`; the other S3 server the same
//! with `VERSITY`; Azure needs `OCI_STORE_TEST_AZURE_ENDPOINT`, `_AZURE_ACCOUNT`, `_AZURE_KEY` and `_AZURE_CONTAINER`. Without
//! them their cases say so and pass, unless `OCI_STORE_REQUIRE` names `s3`, `versity` or `azure`.

mod google;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use storage_layout::test_util::{
    FaultyStore, Image, Write, artifact, docker_image, image, image_from, index, index_of, noise, pull, push, read,
    send, snapshot,
};
use storage_layout::{
    Algorithm, Descriptor, Digest, Error, Key, Manifest, Reference, Repository, RepositoryName, Result, Store,
    StoreOptions, Tag, media_type,
};
use tempfile::TempDir;

/// The smallest part that S3 takes.
const PART: u64 = 5 * 1024 * 1024;

#[derive(Clone)]
struct Bucket {
    /// The bucket as others see it.
    objects: Arc<dyn ObjectStore>,
    /// The bucket as the store under test sees it.
    counted: Arc<FaultyStore>,
    store: Store,
    folder: Option<Arc<TempDir>>,
    spool: Arc<TempDir>,
}

impl Bucket {
    fn new(objects: Arc<dyn ObjectStore>, folder: Option<TempDir>) -> Self {
        let counted = Arc::new(FaultyStore::counting(Arc::clone(&objects)));
        let spool = tempfile::tempdir().expect("a folder for spool files can be made");
        let options = StoreOptions {
            spool_dir: spool.path().to_owned(),
            part_size: PART,
            memory: 4 * PART,
            ..StoreOptions::default()
        };
        let store = Store::new(Arc::clone(&counted) as _, options);
        Self { objects, counted, store, folder: folder.map(Arc::new), spool: Arc::new(spool) }
    }

    fn memory() -> Self {
        Self::new(Arc::new(InMemory::new()), None)
    }

    fn folder() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let objects = LocalFileSystem::new_with_prefix(folder.path()).expect("it is there").with_fsync(true);
        Self::new(Arc::new(objects), Some(folder))
    }

    /// A bucket of its own within the one that the environment names.
    fn s3(case: &str) -> Option<Self> {
        Some(Self::within(s3("S3", None)?, case))
    }

    /// The same in the other S3 server.
    fn versity(case: &str) -> Option<Self> {
        Some(Self::within(s3("VERSITY", None)?, case))
    }

    fn azure(case: &str) -> Option<Self> {
        Some(Self::within(azure()?, case))
    }

    /// A bucket of its own that no one else sees.
    async fn google() -> Option<Self> {
        Some(Self::new(Arc::new(google::store(&google::start().await)), None))
    }

    fn within(objects: impl ObjectStore, case: &str) -> Self {
        let prefix = format!("storage-layout/{}-{:x}/{case}", std::process::id(), started());
        Self::new(Arc::new(PrefixStore::new(objects, prefix)), None)
    }

    fn repository(&self, name: &str) -> Repository {
        self.store.repository(&name.parse().expect("a name"))
    }

    async fn keys(&self) -> BTreeSet<String> {
        snapshot(&self.objects).await.into_keys().collect()
    }

    /// Writes an object behind the store's back.
    async fn write(&self, key: &Key, content: &str) {
        self.objects.put(&key.path(), content.to_owned().into()).await.expect("the store works");
    }

    /// Checks that nothing is left but what is meant to be there, also of what lists do not show.
    async fn has_only(&self, keys: &BTreeSet<String>) {
        assert_eq!(self.keys().await, *keys);
        assert_eq!(self.counted.unfinished_uploads(), 0, "an upload was neither completed nor aborted");
        if let Some(folder) = &self.folder {
            assert_eq!(files(folder.path()), keys.len(), "staging files were left");
        }
        assert_eq!(files(self.spool.path()), 0, "spool files were left");
    }
}

/// Returns what the environment says of a service, in the order of `names`. `None` means that there is none.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what is left out")]
fn service<const N: usize>(kind: &str, names: [&str; N]) -> Option<[String; N]> {
    let variable = |name| std::env::var(format!("OCI_STORE_TEST_{kind}_{name}")).ok().filter(|value| !value.is_empty());
    let given: Vec<_> = names.into_iter().filter_map(variable).collect();
    let given = given.try_into().ok();
    if given.is_none() {
        let (required, kind) = (std::env::var("OCI_STORE_REQUIRE").unwrap_or_default(), kind.to_lowercase());
        let is_required = required.split(',').any(|name| name.trim() == kind);
        assert!(!is_required, "OCI_STORE_REQUIRE names {kind}, which is not given");
        eprintln!("skipped: {names:?} of OCI_STORE_TEST_{}_* are not all set", kind.to_uppercase());
    }
    given
}

/// Connects to an S3 that the environment names, to another bucket of it if one is given.
fn s3(kind: &str, bucket: Option<&str>) -> Option<AmazonS3> {
    let [endpoint, given_bucket, access_key, secret_key] =
        service(kind, ["ENDPOINT", "BUCKET", "ACCESS_KEY", "SECRET_KEY"])?;
    let objects = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_bucket_name(bucket.unwrap_or(&given_bucket))
        .with_access_key_id(access_key)
        .with_secret_access_key(secret_key)
        .build();
    Some(objects.expect("the environment describes a bucket"))
}

/// Connects to the Azure that the environment names.
fn azure() -> Option<MicrosoftAzure> {
    let [endpoint, account, key, container] = service("AZURE", ["ENDPOINT", "ACCOUNT", "KEY", "CONTAINER"])?;
    let objects = MicrosoftAzureBuilder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_account(account)
        .with_access_key(key)
        .with_container_name(container)
        .build();
    Some(objects.expect("the environment describes a container"))
}

/// Tells runs apart that share a bucket.
fn started() -> u128 {
    static STARTED: std::sync::OnceLock<u128> = std::sync::OnceLock::new();
    *STARTED.get_or_init(|| std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos()))
}

fn files(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let count = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.expect("the folder can be read").path();
        if path.is_dir() { files(&path) } else { 1 }
    };
    entries.map(count).sum()
}

async fn run<F>(bucket: Option<Bucket>, case: impl FnOnce(Bucket) -> F)
where
    F: Future<Output = Result<()>>,
{
    let Some(bucket) = bucket else { return };
    if let Err(error) = case(bucket.clone()).await {
        panic!("{error:?}");
    }
    assert_eq!(bucket.counted.unfinished_uploads(), 0, "an upload was neither completed nor aborted");
    // The servers are kept for others.
    let listed: object_store::Result<Vec<Path>> =
        bucket.objects.list(None).map_ok(|meta| meta.location).try_collect().await;
    let paths = futures::stream::iter(listed.expect("what a case leaves can be listed").into_iter().map(Ok));
    let deleted: object_store::Result<Vec<Path>> = bucket.objects.delete_stream(Box::pin(paths)).try_collect().await;
    deleted.expect("what a case leaves can be removed");
}

macro_rules! on_every_store {
    ($($case:ident)*) => {
        mod memory {
            use super::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Some(Bucket::memory()), super::$case).await; })*
        }
        mod folder {
            use super::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Some(Bucket::folder()), super::$case).await; })*
        }
        mod s3 {
            use super::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Bucket::s3(stringify!($case)), super::$case).await; })*
        }
        mod versity {
            use super::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Bucket::versity(stringify!($case)), super::$case).await; })*
        }
        mod azure {
            use super::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Bucket::azure(stringify!($case)), super::$case).await; })*
        }
        mod gcs {
            use super::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Bucket::google().await, super::$case).await; })*
        }
    };
}

on_every_store! {
    blobs_of_every_size_survive_both_ways_of_writing
    a_blob_of_unknown_length_survives
    sha512_is_kept_as_sha512
    a_sha512_link_to_a_sha256_blob_is_followed
    a_mismatched_blob_never_becomes_visible
    a_blob_that_the_bucket_has_is_not_sent_again
    a_blob_of_another_repository_can_be_mounted
    any_range_of_a_blob_can_be_read
    images_of_every_kind_survive
    manifests_keep_their_bytes
    pushing_twice_is_pushing_once
    a_push_writes_exactly_the_documented_keys
    links_hold_a_digest_and_nothing_else
    a_manifest_needs_its_blobs
    repositories_do_not_see_into_each_other
    tags_are_listed_completely_at_every_page_size
    repositories_are_listed_completely_at_every_page_size
    a_tag_that_names_nothing_is_not_listed
    what_is_deleted_is_gone_and_the_rest_stays
    referrers_are_found_by_link_and_by_fallback_tag
    an_empty_bucket_has_nothing
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

fn by_tag(text: &str) -> Reference {
    tag(text).into()
}

async fn blobs_of_every_size_survive_both_ways_of_writing(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("team/app");
    let (kib, part) = (1024, usize::try_from(PART).expect("it is small"));
    let all = noise(1, 20 * 1024 * kib);
    for size in [0, 1, 256 * kib - 1, 256 * kib, 256 * kib + 1, part - 1, part, part + 1, 2 * part, 20 * 1024 * kib] {
        let content = all.slice(..size);
        let digest = Algorithm::Sha256.digest(&content);
        for write in Write::ALL {
            send(&repository, &digest, &content, write).await?;
            let stat = repository.stat_blob(&digest).await?;
            assert_eq!((stat.size, &stat.digest), (size as u64, &digest), "{write:?}");
            assert_eq!(read(&repository, &digest).await?, content, "{size} bytes, {write:?}");
            // So that the other way has something to send.
            bucket.objects.delete(&Key::BlobData(digest.clone()).path()).await.expect("it is there");
            assert!(matches!(repository.stat_blob(&digest).await, Err(Error::BlobUnknown(_))));
        }
    }
    Ok(())
}

async fn a_blob_of_unknown_length_survives(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let part = usize::try_from(PART).expect("it is small");
    let all = noise(2, 2 * part);
    for size in [0, 1, part, 2 * part] {
        let content = all.slice(..size);
        let digest = Algorithm::Sha256.digest(&content);
        let body = futures::stream::iter([Ok(content.clone())]);
        assert_eq!(repository.put_blob(&digest, None, body).await?, size as u64);
        assert_eq!(read(&repository, &digest).await?, content);
    }
    Ok(())
}

async fn sha512_is_kept_as_sha512(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    for write in Write::ALL {
        let content = noise(write as u64, 300_000);
        let digest = Algorithm::Sha512.digest(&content);
        send(&repository, &digest, &content, write).await?;
        assert_eq!(repository.stat_blob(&digest).await?.size, 300_000);
        assert_eq!(read(&repository, &digest).await?, content);
        assert!(bucket.keys().await.contains(Key::BlobData(digest).path().as_ref()));
    }
    // The digest turns out to be of another kind than was expected.
    let content = noise(7, 300_000);
    let digest = Algorithm::Sha512.digest(&content);
    let mut upload = repository.begin_upload(Algorithm::Sha256);
    upload.write(content.clone()).await?;
    assert_eq!(upload.commit(&digest).await?, 300_000);
    assert_eq!(read(&repository, &digest).await?, content);

    let image = image(1, 2, 100);
    push(&repository, &image, None, Write::DigestFirst).await?;
    let manifest = Manifest::parse(image.manifest.bytes().clone(), Algorithm::Sha512, None)?;
    repository.put_manifest(&manifest, &[tag("v1")]).await?;
    let found = pull(&repository, &by_tag("v1")).await?;
    assert_eq!(found.digest(), manifest.digest());
    assert_eq!(found.blobs, image.blobs);
    Ok(())
}

async fn a_sha512_link_to_a_sha256_blob_is_followed(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let content = noise(3, 1_000);
    let (digest, stored) = (Algorithm::Sha512.digest(&content), Algorithm::Sha256.digest(&content));
    bucket.objects.put(&Key::BlobData(stored.clone()).path(), content.clone().into()).await.expect("the store works");
    bucket.write(&Key::LayerLink(repository.name().clone(), digest.clone()), stored.as_str()).await;
    let stat = repository.stat_blob(&digest).await?;
    assert_eq!((stat.size, stat.digest), (1_000, digest.clone()));
    assert_eq!(read(&repository, &digest).await?, content);

    let config = Descriptor::new(media_type::OCI_CONFIG, digest, 1_000);
    let document = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": [] });
    let manifest = Manifest::parse(document.to_string().into(), Algorithm::Sha256, None)?;
    repository.put_manifest(&manifest, &[tag("v1")]).await?;
    assert_eq!(pull(&repository, &by_tag("v1")).await?.blobs[0].1, content);
    Ok(())
}

async fn a_mismatched_blob_never_becomes_visible(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let nothing = BTreeSet::new();
    let all = noise(4, 12 * 1024 * 1024);
    for size in [1, 300_000, 12 * 1024 * 1024] {
        let content = all.slice(..size);
        let (right, wrong) = (Algorithm::Sha256.digest(&content), Algorithm::Sha256.digest(b"something else"));
        let length = size as u64;
        let pieces = || futures::stream::iter(content.chunks(1_000_000).map(|piece| Ok(content.slice_ref(piece))));

        for promised in [Some(length), None] {
            let result = repository.put_blob(&wrong, promised, pieces()).await;
            assert!(matches!(result, Err(Error::DigestMismatch { .. })), "{result:?}");
            bucket.has_only(&nothing).await;
        }
        for promised in [length - 1, length + 1] {
            let result = repository.put_blob(&right, Some(promised), pieces()).await;
            assert!(matches!(result, Err(Error::SizeMismatch { .. })), "{result:?}");
            bucket.has_only(&nothing).await;
        }
        let broken = std::io::Error::other("the client went away");
        let body = futures::StreamExt::chain(pieces(), futures::stream::iter([Err(broken)]));
        let result = repository.put_blob(&right, Some(length), body).await;
        assert!(matches!(result, Err(Error::Body(_))), "{result:?}");
        bucket.has_only(&nothing).await;

        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut upload = repository.begin_upload(algorithm);
            upload.write(content.clone()).await?;
            assert_eq!(upload.offset(), length);
            let result = upload.commit(&wrong).await;
            assert!(matches!(result, Err(Error::DigestMismatch { .. })), "{result:?}");
            bucket.has_only(&nothing).await;
        }
        for digest in [&right, &wrong] {
            assert!(matches!(repository.stat_blob(digest).await, Err(Error::BlobUnknown(_))));
            assert!(matches!(repository.read_blob(digest).await, Err(Error::BlobUnknown(_))));
        }
    }
    Ok(())
}

async fn a_blob_that_the_bucket_has_is_not_sent_again(bucket: Bucket) -> Result<()> {
    let content = noise(5, 300_000);
    let digest = Algorithm::Sha256.digest(&content);
    send(&bucket.repository("one"), &digest, &content, Write::DigestFirst).await?;
    let data = Key::BlobData(digest.clone()).path();
    let before = bucket.objects.head(&data).await.expect("it is there").last_modified;
    send(&bucket.repository("two"), &digest, &content, Write::DigestLast).await?;
    assert_eq!(bucket.objects.head(&data).await.expect("it is there").last_modified, before);
    assert_eq!(read(&bucket.repository("two"), &digest).await?, content);
    Ok(())
}

async fn a_blob_of_another_repository_can_be_mounted(bucket: Bucket) -> Result<()> {
    let content = noise(6, 1_000);
    let digest = Algorithm::Sha256.digest(&content);
    let source = bucket.repository("source");
    send(&source, &digest, &content, Write::DigestFirst).await?;
    let stranger: RepositoryName = "stranger".parse().expect("a name");

    for (name, from) in [("by-name", Some(source.name())), ("by-digest", None)] {
        let target = bucket.repository(name);
        assert!(matches!(target.stat_blob(&digest).await, Err(Error::BlobUnknown(_))));
        assert!(matches!(target.mount_blob(&digest, Some(&stranger)).await, Err(Error::BlobUnknown(_))));
        assert!(matches!(target.stat_blob(&digest).await, Err(Error::BlobUnknown(_))), "a refused mount left a link");
        let stat = target.mount_blob(&digest, from).await?;
        assert_eq!((stat.size, &stat.digest), (1_000, &digest));
        assert_eq!(target.stat_blob(&digest).await?, stat);
        assert_eq!(read(&target, &digest).await?, content);
    }
    let adopter = bucket.repository("adopter");
    assert_eq!(adopter.adopt_blob(&digest).await?.size, 1_000);
    assert_eq!(read(&adopter, &digest).await?, content);
    let absent = Algorithm::Sha256.digest(b"absent");
    assert!(matches!(adopter.adopt_blob(&absent).await, Err(Error::BlobUnknown(_))));
    assert!(matches!(adopter.mount_blob(&absent, Some(source.name())).await, Err(Error::BlobUnknown(_))));
    Ok(())
}

async fn any_range_of_a_blob_can_be_read(bucket: Bucket) -> Result<()> {
    async fn part(repository: &Repository, digest: &Digest, range: Range<u64>) -> Result<Bytes> {
        let stat = repository.find_blob(digest).await?;
        let reader = repository.open_blob(&stat, Some(range)).await?;
        assert_eq!(reader.size, stat.size, "the size is the whole blob's");
        let pieces: Vec<Bytes> = reader.stream.try_collect().await.map_err(Error::Body)?;
        Ok(pieces.concat().into())
    }
    let size: usize = 600_000;
    let content = noise(8, size);
    let digest = Algorithm::Sha256.digest(&content);
    send(&bucket.repository("app"), &digest, &content, Write::DigestLast).await?;
    for range in [0..1, size - 1..size, 299_999..300_001, 262_143..262_145, 123_456..size, 0..size, 0..size - 1, 5..5] {
        // A process that never read the blob, and then one that has.
        let fresh = Bucket::new(Arc::clone(&bucket.objects), None).repository("app");
        for _ in 0..2 {
            let found = part(&fresh, &digest, range.start as u64..range.end as u64).await?;
            assert_eq!(found, content.slice(range.clone()), "{range:?}");
        }
    }
    let empty = Algorithm::Sha256.digest(b"");
    send(&bucket.repository("app"), &empty, &Bytes::new(), Write::DigestLast).await?;
    assert_eq!(part(&bucket.repository("app"), &empty, 0..0).await?, Bytes::new());
    Ok(())
}

async fn images_of_every_kind_survive(bucket: Bucket) -> Result<()> {
    let base = noise(9, 1_000);
    let subject = image(10, 1, 100);
    for (name, image) in [
        ("oci", image(1, 3, 10_000)),
        ("docker", docker_image(2, 3, 10_000)),
        ("index", index(3, 2, 10_000)),
        ("artifact", artifact(4, &subject.manifest, "application/x-sbom")),
        ("no-layers", image(5, 0, 0)),
        ("empty-layer", image_from("empty", vec![Bytes::new()])),
        ("same-layer-thrice", image_from("same", vec![base.clone(), base.clone(), base])),
        ("many-layers", image(6, 127, 10)),
    ] {
        for write in Write::ALL {
            let repository = bucket.repository(&format!("{name}/{write:?}").to_lowercase());
            push(&repository, &image, Some(&tag("v1")), write).await?;
            assert_eq!(pull(&repository, &by_tag("v1")).await?, image, "{name}");
            assert_eq!(pull(&repository, &image.digest().clone().into()).await?, image, "{name}");
            assert_eq!(repository.resolve(&by_tag("v1")).await?, *image.digest());
        }
    }
    Ok(())
}

async fn manifests_keep_their_bytes(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let image = image(1, 1, 10);
    push(&repository, &image, None, Write::DigestFirst).await?;
    // Another order, blanks, fields that are not known, no media type.
    let (config, layer) = (serde_json::json!(image.blobs[0].0), serde_json::json!(image.blobs[1].0));
    let text = format!("\n{{ \"layers\" : [{layer}],\"x\":1.50, \"config\":{config},\n\t\"schemaVersion\":2}}\n ");
    let declared = Some(media_type::DOCKER_MANIFEST);
    let manifest = Manifest::parse(text.clone().into(), Algorithm::Sha256, declared)?;
    repository.put_manifest(&manifest, &[tag("a"), tag("b")]).await?;
    for name in ["a", "b"] {
        let found = repository.get_manifest(&by_tag(name)).await?;
        assert_eq!((found.bytes(), found.digest()), (&Bytes::from(text.clone()), manifest.digest()));
    }
    Ok(())
}

async fn pushing_twice_is_pushing_once(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let image = index(1, 3, 1_000);
    push(&repository, &image, Some(&tag("v1")), Write::DigestFirst).await?;
    let once = snapshot(&bucket.objects).await;
    for write in Write::ALL {
        push(&repository, &image, Some(&tag("v1")), write).await?;
        for (descriptor, content) in &image.children[0].blobs {
            send(&repository, &descriptor.digest, content, write).await?;
        }
        assert_eq!(snapshot(&bucket.objects).await, once);
    }
    Ok(())
}

/// What a push has to write, spelled out as it stands in Docker's registry.
fn expected_keys(name: &str, image: &Image, tag: Option<&str>) -> BTreeMap<String, Bytes> {
    let root = "docker/registry/v2";
    let data =
        |digest: &Digest| format!("{root}/blobs/{}/{}/{}/data", digest.algorithm(), &digest.hex()[..2], digest.hex());
    let pair = |digest: &Digest| digest.as_str().replace(':', "/");
    let text = |digest: &Digest| Bytes::from(digest.to_string());
    let mut keys = BTreeMap::new();
    for (descriptor, content) in &image.blobs {
        let digest = &descriptor.digest;
        keys.insert(data(digest), content.clone());
        keys.insert(format!("{root}/repositories/{name}/_layers/{}/link", pair(digest)), text(digest));
    }
    let digest = image.digest();
    let manifests = format!("{root}/repositories/{name}/_manifests");
    keys.insert(data(digest), image.manifest.bytes().clone());
    keys.insert(format!("{manifests}/revisions/{}/link", pair(digest)), text(digest));
    if let Some(tag) = tag {
        keys.insert(format!("{manifests}/tags/{tag}/index/{}/link", pair(digest)), text(digest));
        keys.insert(format!("{manifests}/tags/{tag}/current/link"), text(digest));
    }
    if let Some(subject) = image.manifest.subject() {
        let referrers = format!("{root}/repositories/{name}/_referrers/subjects");
        keys.insert(format!("{referrers}/{}/{}/link", pair(&subject.digest), pair(digest)), text(digest));
    }
    for child in &image.children {
        keys.append(&mut expected_keys(name, child, None));
    }
    keys
}

async fn a_push_writes_exactly_the_documented_keys(bucket: Bucket) -> Result<()> {
    let index = index(1, 2, 100);
    let signature = artifact(2, &index.manifest, "application/x-signature");
    let mut expected = BTreeMap::new();
    for (name, write) in [("team/app", Write::DigestFirst), ("other", Write::DigestLast)] {
        let repository = bucket.repository(name);
        push(&repository, &index, Some(&tag("v1.0")), write).await?;
        push(&repository, &signature, None, write).await?;
        expected.append(&mut expected_keys(name, &index, Some("v1.0")));
        expected.append(&mut expected_keys(name, &signature, None));
    }
    assert_eq!(snapshot(&bucket.objects).await, expected);
    bucket.has_only(&expected.keys().cloned().collect()).await;
    for key in expected.keys() {
        assert!(Key::parse(&Path::parse(key).expect("a path")).is_some(), "{key} is not parsed");
    }
    Ok(())
}

async fn links_hold_a_digest_and_nothing_else(bucket: Bucket) -> Result<()> {
    let image = image(1, 3, 100);
    let artifact = artifact(2, &image.manifest, "application/x-sbom");
    push(&bucket.repository("app"), &image, Some(&tag("v1")), Write::DigestLast).await?;
    push(&bucket.repository("app"), &artifact, Some(&tag("v1")), Write::DigestLast).await?;
    let links: Vec<_> = snapshot(&bucket.objects).await.into_iter().filter(|(key, _)| key.ends_with("/link")).collect();
    // 4 + 2 blobs, 2 revisions, 1 referrer, 2 of the tag's index, 1 tag.
    assert_eq!(links.len(), 12);
    for (key, content) in links {
        let text = std::str::from_utf8(&content).expect("a link is text");
        let digest: Digest = text.parse()?;
        assert_eq!(text, format!("{}:{}", digest.algorithm(), digest.hex()), "{key}");
    }
    Ok(())
}

async fn a_manifest_needs_its_blobs(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let image = image(1, 2, 100);
    for missing in 0..image.blobs.len() {
        for (descriptor, content) in &image.blobs {
            send(&repository, &descriptor.digest, content, Write::DigestFirst).await?;
        }
        let data = Key::BlobData(image.blobs[missing].0.digest.clone()).path();
        bucket.objects.delete(&data).await.expect("it is there");
        let result = repository.put_manifest(&image.manifest, &[tag("v1")]).await;
        assert!(matches!(result, Err(Error::ManifestBlobUnknown { .. })), "{result:?}");
        assert!(matches!(repository.get_manifest(&by_tag("v1")).await, Err(Error::ManifestUnknown { .. })));
        assert!(!repository.list_tags(None, None).await?.items.contains(&tag("v1")));
    }
    // One that states another size than the bucket has.
    let (config, mut layer) = (image.blobs[0].0.clone(), image.blobs[1].0.clone());
    for (descriptor, content) in &image.blobs {
        send(&repository, &descriptor.digest, content, Write::DigestFirst).await?;
    }
    layer.size += 1;
    let document = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": [layer] });
    let manifest = Manifest::parse(document.to_string().into(), Algorithm::Sha256, None)?;
    let result = repository.put_manifest(&manifest, &[tag("v1")]).await;
    assert!(matches!(result, Err(Error::ManifestBlobUnknown { expected: 101, .. })), "{result:?}");

    // A foreign layer may be absent, and so may the manifests of an index.
    let foreign = Descriptor {
        digest: Algorithm::Sha256.digest(b"elsewhere"),
        media_type: media_type::DOCKER_FOREIGN_LAYER.to_owned(),
        urls: vec!["https://example.com/layer".to_owned()],
        ..layer
    };
    let document = serde_json::json!({ "schemaVersion": 2, "config": config, "layers": [foreign] });
    let manifest = Manifest::parse(document.to_string().into(), Algorithm::Sha256, None)?;
    repository.put_manifest(&manifest, &[tag("foreign")]).await?;
    repository.put_manifest(&index(5, 1, 10).manifest, &[tag("sparse")]).await?;
    assert_eq!(repository.list_tags(None, None).await?.items, [tag("foreign"), tag("sparse")]);

    // Whatever was pushed to another repository is linked here by the manifest.
    let other = bucket.repository("other");
    other.put_manifest(&image.manifest, &[tag("v1")]).await?;
    assert_eq!(pull(&other, &by_tag("v1")).await?, image);
    Ok(())
}

async fn repositories_do_not_see_into_each_other(bucket: Bucket) -> Result<()> {
    let (image, stranger) = (image(1, 2, 100), bucket.repository("app/sub"));
    push(&bucket.repository("app"), &image, Some(&tag("v1")), Write::DigestFirst).await?;
    for reference in [by_tag("v1"), image.digest().clone().into()] {
        let result = stranger.get_manifest(&reference).await;
        assert!(matches!(result, Err(Error::ManifestUnknown { .. })), "{result:?}");
        assert!(matches!(stranger.resolve(&reference).await, Err(Error::ManifestUnknown { .. })));
    }
    for (descriptor, _) in &image.blobs {
        assert!(matches!(stranger.stat_blob(&descriptor.digest).await, Err(Error::BlobUnknown(_))));
        assert!(matches!(stranger.find_blob(&descriptor.digest).await, Err(Error::BlobUnknown(_))));
        assert!(matches!(stranger.delete_blob(&descriptor.digest).await, Err(Error::BlobUnknown(_))));
    }
    assert!(stranger.delete_tag(&tag("v1")).await.is_err_and(|error| error.is_not_found()));
    assert!(stranger.delete_manifest(image.digest()).await.is_err_and(|error| error.is_not_found()));
    assert!(!stranger.exists().await?);
    assert!(bucket.repository("app").exists().await?);
    assert_eq!(pull(&bucket.repository("app"), &by_tag("v1")).await?, image);
    Ok(())
}

async fn tags_are_listed_completely_at_every_page_size(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let image = image(1, 0, 0);
    push(&repository, &image, None, Write::DigestFirst).await?;
    let names = ["0.1.2", "0.1.20", "0.1.2-rc", "v1", "v1-a", "v1.a", "v1_a", "V1", "_", "current", "index", "v10"];
    let mut tags: Vec<Tag> = names.map(tag).into();
    repository.put_manifest(&image.manifest, &tags).await?;
    tags.sort();
    let all = repository.list_tags(None, None).await?;
    assert_eq!((&all.items, all.more), (&tags, false));
    for size in 1..=tags.len() + 1 {
        let (mut found, mut last) = (Vec::new(), None::<Tag>);
        loop {
            let page = repository.list_tags(Some(size), last.as_ref().map(Tag::as_str)).await?;
            assert!(page.items.len() == size || !page.more, "a page of {size} came short");
            last = page.items.last().cloned();
            found.extend(page.items);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, tags, "pages of {size}");
    }
    // A last that is no tag of the repository, and one behind all of them.
    let behind: Vec<&Tag> = tags.iter().filter(|tag| tag.as_str() > "0.1.3").collect();
    assert_eq!(repository.list_tags(None, Some("0.1.3")).await?.items.iter().collect::<Vec<_>>(), behind);
    assert_eq!(repository.list_tags(Some(5), Some("zzz")).await?.items, []);
    let none = repository.list_tags(Some(0), None).await?;
    assert_eq!((none.items.len(), none.more), (0, true));
    Ok(())
}

async fn repositories_are_listed_completely_at_every_page_size(bucket: Bucket) -> Result<()> {
    let names = ["a", "a/b", "a/b/c", "a-b", "a.b", "ab", "math", "math-voila", "math/sub", "x/y/z", "0"];
    let image = image(1, 0, 0);
    for name in names {
        push(&bucket.repository(name), &image, Some(&tag("v1")), Write::DigestFirst).await?;
    }
    // A blob alone makes no repository.
    let content = noise(1, 10);
    send(&bucket.repository("a/blobs-only"), &Algorithm::Sha256.digest(&content), &content, Write::DigestFirst).await?;
    let mut expected: Vec<RepositoryName> = names.iter().map(|name| name.parse()).collect::<Result<_>>()?;
    expected.sort();
    assert_eq!(bucket.store.repositories().await?, expected);
    for size in 1..=names.len() + 1 {
        let (mut found, mut last) = (Vec::new(), None::<RepositoryName>);
        loop {
            let page = bucket.store.list_repositories(Some(size), last.as_ref().map(RepositoryName::as_str)).await?;
            assert!(page.items.len() == size || !page.more, "a page of {size} came short");
            last = page.items.last().cloned();
            found.extend(page.items);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, expected, "pages of {size}");
    }
    Ok(())
}

async fn a_tag_that_names_nothing_is_not_listed(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let (image, name) = (image(1, 1, 10), repository.name().clone());
    push(&repository, &image, Some(&tag("m")), Write::DigestFirst).await?;
    let absent = Algorithm::Sha256.digest(b"absent");
    // Interrupted between the tag's two links; a link to what is not there; a link that is damaged.
    bucket.write(&Key::TagIndex(name.clone(), tag("a"), absent.clone()), absent.as_str()).await;
    bucket.write(&Key::TagIndex(name.clone(), tag("z"), absent.clone()), absent.as_str()).await;
    bucket.write(&Key::TagCurrent(name.clone(), tag("b")), absent.as_str()).await;
    bucket.write(&Key::TagCurrent(name, tag("c")), "").await;
    for limit in [None, Some(1), Some(2)] {
        let page = repository.list_tags(limit, None).await?;
        assert_eq!((page.items, page.more), (vec![tag("m")], false), "{limit:?}");
    }
    for dead in ["a", "b", "z"] {
        let result = repository.get_manifest(&by_tag(dead)).await;
        assert!(matches!(result, Err(Error::ManifestUnknown { .. })), "{result:?}");
    }
    Ok(())
}

async fn what_is_deleted_is_gone_and_the_rest_stays(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let (one, two) = (image(1, 2, 100), image(2, 2, 100));
    for name in ["v1", "v1-a", "latest"] {
        push(&repository, &one, Some(&tag(name)), Write::DigestFirst).await?;
    }
    push(&repository, &two, Some(&tag("latest")), Write::DigestFirst).await?;
    push(&bucket.repository("other"), &one, Some(&tag("v1")), Write::DigestFirst).await?;
    let tags = async || Ok::<_, Error>(repository.list_tags(None, None).await?.items);

    repository.delete_tag(&tag("v1")).await?;
    assert_eq!(tags().await?, [tag("latest"), tag("v1-a")]);
    assert!(repository.delete_tag(&tag("v1")).await.is_err_and(|error| error.is_not_found()));
    assert!(!bucket.keys().await.iter().any(|key| key.contains("/app/_manifests/tags/v1/")), "links were left");
    assert_eq!(pull(&repository, &one.digest().clone().into()).await?, one);

    repository.delete_manifest(one.digest()).await?;
    assert_eq!(tags().await?, [tag("latest")]);
    for gone in [one.digest().clone().into(), by_tag("v1-a")] {
        assert!(repository.get_manifest(&gone).await.is_err_and(|error| error.is_not_found()));
    }
    assert!(repository.delete_manifest(one.digest()).await.is_err_and(|error| error.is_not_found()));
    assert_eq!(pull(&repository, &by_tag("latest")).await?, two);
    assert_eq!(pull(&bucket.repository("other"), &by_tag("v1")).await?, one, "another repository lost its image");

    let blob = &one.blobs[1].0.digest;
    repository.delete_blob(blob).await?;
    assert!(matches!(repository.stat_blob(blob).await, Err(Error::BlobUnknown(_))));
    assert!(matches!(repository.delete_blob(blob).await, Err(Error::BlobUnknown(_))));
    assert_eq!(pull(&bucket.repository("other"), &by_tag("v1")).await?, one, "another repository lost its blob");

    push(&repository, &one, Some(&tag("v1")), Write::DigestLast).await?;
    assert_eq!(pull(&repository, &by_tag("v1")).await?, one);
    Ok(())
}

async fn referrers_are_found_by_link_and_by_fallback_tag(bucket: Bucket) -> Result<()> {
    let repository = bucket.repository("app");
    let subject = image(1, 1, 10);
    let digest = subject.digest();
    push(&repository, &subject, Some(&tag("v1")), Write::DigestFirst).await?;
    assert_eq!(repository.referrers(digest, None).await?, []);

    let linked: Vec<Image> = (2..5).map(|seed| artifact(seed, &subject.manifest, "application/x-sbom")).collect();
    let listed: Vec<Image> = (5..7).map(|seed| artifact(seed, &subject.manifest, "application/x-signature")).collect();
    // Pushed before their subject's other referrers, and not as referrers: a registry that knows of none did it.
    for image in &listed {
        push(&repository, image, None, Write::DigestFirst).await?;
        let path = Key::ReferrerLink {
            repository: repository.name().clone(),
            subject: digest.clone(),
            referrer: image.digest().clone(),
        };
        bucket.objects.delete(&path.path()).await.expect("it is there");
    }
    assert_eq!(repository.referrers(digest, None).await?, []);
    let sorted = |images: &[&Image]| {
        let mut descriptors: Vec<_> = images.iter().map(|image| image.manifest.referrer_descriptor()).collect();
        descriptors.sort_by(|a, b| a.digest.cmp(&b.digest));
        descriptors
    };

    // By link.
    for image in &linked {
        push(&repository, image, None, Write::DigestFirst).await?;
    }
    assert_eq!(repository.referrers(digest, None).await?, sorted(&linked.iter().collect::<Vec<_>>()));

    // By both, one of them doubly, one that is not there, and one that refers to nothing.
    let absent = artifact(9, &subject.manifest, "application/x-sbom");
    let entries: Vec<_> =
        listed.iter().chain([&linked[0], &absent, &subject]).map(|i| i.manifest.descriptor()).collect();
    let fallback = tag(&digest.as_str().replace(':', "-"));
    repository.put_manifest(&index_of(&entries), std::slice::from_ref(&fallback)).await?;
    let all: Vec<&Image> = linked.iter().chain(&listed).collect();
    assert_eq!(repository.referrers(digest, None).await?, sorted(&all));
    let found = repository.referrers(digest, Some("application/x-signature")).await?;
    assert_eq!(found, sorted(&listed.iter().collect::<Vec<_>>()));
    assert!(found.iter().all(|descriptor| descriptor.annotations.contains_key("seed")));
    assert_eq!(repository.referrers(digest, Some("application/x-other")).await?, []);
    assert_eq!(bucket.repository("other").referrers(digest, None).await?, []);

    // A deleted one is no longer listed, nor is its link kept.
    repository.delete_manifest(linked[1].digest()).await?;
    repository.delete_manifest(listed[1].digest()).await?;
    assert_eq!(repository.referrers(digest, None).await?, sorted(&[&linked[0], &linked[2], &listed[0]]));
    let hex = linked[1].digest().hex();
    assert!(!bucket.keys().await.iter().any(|key| key.contains("_referrers") && key.contains(hex)));

    // By the fallback tag alone.
    for image in &linked {
        let key = Key::ReferrerLink {
            repository: repository.name().clone(),
            subject: digest.clone(),
            referrer: image.digest().clone(),
        };
        let deleted = bucket.objects.delete(&key.path()).await;
        assert!(matches!(deleted, Ok(()) | Err(object_store::Error::NotFound { .. })));
    }
    assert_eq!(repository.referrers(digest, None).await?, sorted(&[&linked[0], &listed[0]]));
    // A subject need not exist.
    repository.delete_manifest(digest).await?;
    assert_eq!(repository.referrers(digest, None).await?, sorted(&[&linked[0], &listed[0]]));
    Ok(())
}

async fn an_empty_bucket_has_nothing(bucket: Bucket) -> Result<()> {
    let (repository, digest) = (bucket.repository("app"), Algorithm::Sha256.digest(b"absent"));
    assert_eq!(bucket.store.repositories().await?, []);
    assert_eq!(repository.list_tags(None, None).await?.items, []);
    assert_eq!(repository.referrers(&digest, None).await?, []);
    assert!(!repository.exists().await?);
    assert!(matches!(repository.stat_blob(&digest).await, Err(Error::BlobUnknown(_))));
    assert!(matches!(repository.adopt_blob(&digest).await, Err(Error::BlobUnknown(_))));
    assert!(matches!(repository.read_blob(&digest).await, Err(Error::BlobUnknown(_))));
    assert!(matches!(repository.get_manifest(&by_tag("v1")).await, Err(Error::ManifestUnknown { .. })));
    assert!(matches!(repository.get_manifest(&digest.into()).await, Err(Error::ManifestUnknown { .. })));
    bucket.has_only(&BTreeSet::new()).await;
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_not_taken_for_an_empty_one() {
    let Some(objects) = s3("S3", Some("no-such-bucket-here")) else { return };
    let store = Store::new(Arc::new(objects), StoreOptions::default());
    let repository = store.repository(&"app".parse().expect("a name"));
    let results = [
        store.repositories().await.err(),
        repository.list_tags(None, None).await.err(),
        repository.exists().await.err(),
        repository.referrers(&Algorithm::Sha256.digest(b""), None).await.err(),
    ];
    for result in results {
        assert!(matches!(result, Some(Error::Store { .. })), "{result:?}");
    }
}
