//! What the layout promises on every store: the same cases on memory, on a local folder, on a server in this process that
//! speaks as Google Cloud Storage does and, where they are given, on two S3 servers and on Azure.
//!
//! S3 needs `OCI_STORE_TEST_S3_ENDPOINT`, `_S3_BUCKET`, `_S3_ACCESS_KEY` and `_S3_SECRET_KEY`; the other S3 server the same
//! with `VERSITY`; Azure needs `OCI_STORE_TEST_AZURE_ENDPOINT`, `_AZURE_ACCOUNT`, `_AZURE_KEY` and `_AZURE_CONTAINER`. Without
//! them their cases say so and pass, unless `OCI_STORE_REQUIRE` names `s3`, `versity` or `azure`.

mod blobs;
mod google;
mod manifests;
mod repositories;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt};
use storage_layout::test_util::{FaultyStore, snapshot};
use storage_layout::{Algorithm, Error, Key, Reference, Repository, Result, Store, StoreOptions, Tag};
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
            range_size: PART / 5,
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

/// Makes a test of each case on each store.
macro_rules! on_every_store {
    ($($case:ident)*) => {
        mod memory {
            use crate::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Some(Bucket::memory()), super::$case).await; })*
        }
        mod folder {
            use crate::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Some(Bucket::folder()), super::$case).await; })*
        }
        mod s3 {
            use crate::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Bucket::s3(stringify!($case)), super::$case).await; })*
        }
        mod versity {
            use crate::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Bucket::versity(stringify!($case)), super::$case).await; })*
        }
        mod azure {
            use crate::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Bucket::azure(stringify!($case)), super::$case).await; })*
        }
        mod gcs {
            use crate::{Bucket, run};
            $(#[tokio::test] async fn $case() { run(Bucket::google().await, super::$case).await; })*
        }
    };
}
use on_every_store;

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

fn by_tag(text: &str) -> Reference {
    tag(text).into()
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
