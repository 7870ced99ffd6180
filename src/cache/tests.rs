//! A cache before a repository that counts what it is asked for.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use storage_layout::test_util::{Image, Write, image, push};
use storage_layout::{Store, StoreOptions};

use super::*;

/// A repository that remembers the digests and tags that it was asked for, and can hand out damaged blobs.
#[derive(Debug)]
struct Asked {
    inner: storage_layout::Repository,
    log: Mutex<Vec<String>>,
    is_damaged: bool,
}

#[async_trait]
impl Repository for Asked {
    async fn get_manifest(&self, reference: &Reference) -> Result<Manifest, Error> {
        self.log.lock().unwrap().push(reference.to_string());
        Ok(self.inner.get_manifest(reference).await?)
    }

    async fn put_manifest(&self, _: &Manifest, _: &[Tag]) -> Result<(), Error> {
        unreachable!("nothing is written")
    }

    async fn delete_manifest(&self, _: &Digest) -> Result<(), Error> {
        unreachable!("nothing is written")
    }

    async fn has_blob(&self, _: &Descriptor) -> Result<bool, Error> {
        unreachable!("nothing is written")
    }

    async fn blob_size(&self, _: &Digest) -> Result<Option<u64>, Error> {
        unreachable!("nothing is written")
    }

    async fn get_blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        self.log.lock().unwrap().push(descriptor.digest.to_string());
        let body = self.inner.read_blob(&descriptor.digest).await?.stream;
        let is_damaged = self.is_damaged;
        Ok(body.map_ok(move |bytes| if is_damaged { Bytes::from(vec![0; bytes.len()]) } else { bytes }).boxed())
    }

    async fn put_blob(&self, _: &Descriptor, _: ByteStream) -> Result<(), Error> {
        unreachable!("nothing is written")
    }

    async fn tags(&self) -> Result<Vec<Tag>, Error> {
        unreachable!("no tags are listed")
    }

    async fn referrers(&self, _: &Digest) -> Result<Vec<Descriptor>, Error> {
        unreachable!("no referrers are listed")
    }
}

struct Fixture {
    dir: tempfile::TempDir,
    image: Image,
    asked: Arc<Asked>,
}

impl Fixture {
    async fn new(is_damaged: bool) -> Self {
        let store = Store::new(Arc::new(InMemory::new()), StoreOptions::default());
        let inner = store.repository(&"app".parse().unwrap());
        let image = image(1, 2, 700_000);
        push(&inner, &image, Some(&"v1".parse().unwrap()), Write::DigestFirst).await.unwrap();
        let asked = Arc::new(Asked { inner, log: Mutex::default(), is_damaged });
        Self { dir: tempfile::tempdir().unwrap(), image, asked }
    }

    fn repository(&self, limits: CacheLimits) -> CachedRepository {
        let cache = BlobCache::open(&self.dir.path().join("cache"), limits).unwrap();
        CachedRepository::new(Arc::clone(&self.asked) as Arc<dyn Repository>, cache)
    }

    /// Reads the image by a reference and returns what the repository was asked for.
    async fn read(&self, limits: CacheLimits, reference: &str) -> Vec<String> {
        let repository = self.repository(limits);
        let manifest = repository.get_manifest(&reference.parse().unwrap()).await.unwrap();
        assert_eq!(manifest.bytes(), self.image.manifest.bytes());
        for (descriptor, content) in &self.image.blobs {
            let read = repository.get_blob(descriptor).await.unwrap().try_collect::<Vec<_>>().await.unwrap().concat();
            assert!(read == *content || self.asked.is_damaged);
        }
        std::mem::take(&mut *self.asked.log.lock().unwrap())
    }

    fn files(&self) -> Vec<PathBuf> {
        let blobs = self.dir.path().join("cache/blobs/sha256");
        fs::read_dir(blobs).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

#[tokio::test]
async fn what_was_read_once_is_not_asked_for_again_but_for_the_tag() {
    let fixture = Fixture::new(false).await;
    let limits = CacheLimits::default();
    assert_eq!(fixture.read(limits, "v1").await.len(), 1 + fixture.image.blobs.len());
    assert_eq!(fixture.read(limits, "v1").await, ["v1"]);
    assert_eq!(fixture.read(limits, fixture.image.digest().as_str()).await, [""; 0]);
    assert_eq!(fixture.files().len(), 1 + fixture.image.blobs.len());
    assert_eq!(fs::read_dir(fixture.dir.path().join("cache")).unwrap().count(), 1, "nothing unfinished is left");
}

#[tokio::test]
async fn what_is_damaged_in_the_cache_is_read_again_and_what_comes_damaged_is_not_kept() {
    let fixture = Fixture::new(false).await;
    fixture.read(CacheLimits::default(), "v1").await;
    let damaged = fixture.dir.path().join("cache/blobs/sha256").join(fixture.image.blobs[1].0.digest.hex());
    let mut bytes = fs::read(&damaged).unwrap();
    bytes[1000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let asked = fixture.read(CacheLimits::default(), "v1").await;
    assert_eq!(asked, ["v1", fixture.image.blobs[1].0.digest.as_str()]);
    assert_eq!(fixture.read(CacheLimits::default(), "v1").await, ["v1"], "it is mended");

    let fixture = Fixture::new(true).await;
    fixture.read(CacheLimits::default(), "v1").await;
    assert_eq!(fixture.files().len(), 1, "the manifest alone was right");
}

#[tokio::test]
async fn a_blob_that_is_not_read_to_its_end_is_not_kept() {
    let fixture = Fixture::new(false).await;
    let repository = fixture.repository(CacheLimits::default());
    let mut body = repository.get_blob(&fixture.image.blobs[1].0).await.unwrap();
    body.try_next().await.unwrap();
    drop(body);
    assert!(fixture.files().is_empty());
}

#[tokio::test]
async fn what_is_old_or_too_much_goes() {
    let fixture = Fixture::new(false).await;
    let limits = CacheLimits { size: 1_000_000, ..CacheLimits::default() };
    fixture.read(limits, "v1").await;
    let total: u64 = fixture.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(total <= limits.size && total >= 700_000, "{total}");

    let fixture = Fixture::new(false).await;
    fixture.read(CacheLimits::default(), "v1").await;
    let unfinished = fixture.dir.path().join("cache/.oci-store-x.partial");
    let unused = fixture.files().remove(0);
    fs::write(&unfinished, "").unwrap();
    for path in [&unfinished, &unused] {
        let past = SystemTime::now() - Duration::from_hours(31 * 24);
        fs::File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
    }
    let other = image(9, 1, 10);
    push(&fixture.asked.inner, &other, None, Write::DigestFirst).await.unwrap();
    fixture.repository(CacheLimits::default()).get_manifest(&other.digest().clone().into()).await.unwrap();
    assert!(!unfinished.exists() && !unused.exists());
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_done_without() {
    let fixture = Fixture::new(false).await;
    drop(fixture.repository(CacheLimits::default()));
    // A file is where the folder should be.
    fs::write(fixture.dir.path().join("cache/blobs/sha256"), "").unwrap();
    assert_eq!(fixture.read(CacheLimits::default(), "v1").await.len(), 1 + fixture.image.blobs.len());
}
