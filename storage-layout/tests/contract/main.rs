//! What the layout promises on every store: the same cases on memory, on a local folder and, if one is given, on S3.
//!
//! S3 needs `OCI_STORE_TEST_S3_ENDPOINT`, `_S3_BUCKET`, `_S3_ACCESS_KEY` and `_S3_SECRET_KEY`. Without them its cases say so
//! and pass, unless `OCI_STORE_REQUIRE` names `s3`.

mod blobs;
mod manifests;
mod repositories;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
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
        let objects = s3(None)?;
        let prefix = format!("storage-layout/{}-{:x}/{case}", std::process::id(), started());
        Some(Self::new(Arc::new(PrefixStore::new(objects, prefix)), None))
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

/// Connects to the S3 that the environment names, to another bucket of it if one is given. `None` means that there is none.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is told what is left out")]
fn s3(bucket: Option<&str>) -> Option<AmazonS3> {
    let variable = |name: &str| std::env::var(format!("OCI_STORE_TEST_S3_{name}")).ok();
    let given = || Some((variable("ENDPOINT")?, variable("BUCKET")?, variable("ACCESS_KEY")?, variable("SECRET_KEY")?));
    let Some((endpoint, given_bucket, access_key, secret_key)) = given() else {
        let required = std::env::var("OCI_STORE_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|name| name.trim() == "s3"), "OCI_STORE_REQUIRE names s3, which is not given");
        eprintln!("skipped: OCI_STORE_TEST_S3_ENDPOINT, _BUCKET, _ACCESS_KEY and _SECRET_KEY are not all set");
        return None;
    };
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
    // S3 is kept for others.
    let paths = bucket.objects.list(None).map_ok(|meta| meta.location);
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
    let Some(objects) = s3(Some("no-such-bucket-here")) else { return };
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
