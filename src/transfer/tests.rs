//! Copies between two buckets in memory.

use std::sync::Arc;

use object_store::memory::InMemory;
use storage_layout::test_util::{FaultyStore, Operation, Write, docker_image, image, index, index_of, pull, push};
use storage_layout::{Descriptor, Reference, Repository, Store, StoreOptions};

use super::*;

fn repository() -> Repository {
    let store = Store::new(Arc::new(InMemory::new()), StoreOptions::default());
    store.repository(&"app".parse().expect("a name"))
}

fn tagged(name: &str) -> Reference {
    Reference::Tag(name.parse().expect("a tag"))
}

async fn copy(from: &Repository, to: &Repository, platforms: &[&str]) -> Result<Copied, Error> {
    let source = RepositorySource::new(Arc::new(from.clone()), tagged("v1"));
    let target = RepositoryTarget::new(Arc::new(to.clone()), "copy".parse().ok());
    let platforms = platforms.iter().map(|platform| platform.parse().expect("a platform")).collect();
    let reporter: Arc<dyn Reporter> = Arc::new(());
    copy_image(&source, &target, &CopyOptions { platforms, jobs: 3 }, &reporter).await
}

async fn with(image: &storage_layout::test_util::Image) -> Repository {
    let repository = repository();
    push(&repository, image, Some(&"v1".parse().expect("a tag")), Write::DigestFirst).await.expect("it is stored");
    repository
}

#[tokio::test]
async fn an_image_and_an_index_are_copied_whole_and_the_second_time_nothing_is_sent() {
    for image in [image(1, 3, 5000), docker_image(2, 1, 0), index(3, 2, 1000)] {
        let (from, to) = (with(&image).await, repository());
        let copied = copy(&from, &to, &[]).await.unwrap();
        assert_eq!(copied.root.digest(), image.digest());
        assert!(copied.blobs.iter().all(|blob| blob.status == BlobStatus::Sent));
        assert_eq!(pull(&to, &tagged("copy")).await.unwrap(), image);
        let again = copy(&from, &to, &[]).await.unwrap();
        assert!(again.blobs.iter().all(|blob| blob.status == BlobStatus::Exists));
    }
}

/// How often each operation was asked for.
type Calls = std::collections::HashMap<Operation, u32>;

#[tokio::test]
async fn a_push_of_what_is_there_costs_two_questions_for_each_blob_and_writes_no_blob_and_no_link() {
    let image = docker_image(1, 10, 1000);
    let from = with(&image).await;
    let bucket = Arc::new(InMemory::new());
    let mut counts = Vec::new();
    for _ in 0..2 {
        let calls = Arc::new(std::sync::Mutex::new(Calls::new()));
        let counted = Arc::clone(&calls);
        let objects = FaultyStore::counting(Arc::clone(&bucket) as _).observe(move |call| {
            *counted.lock().expect("nothing panics while holding it").entry(call.operation).or_default() += 1;
        });
        let store = Store::new(Arc::new(objects), StoreOptions::default());
        let to = store.repository(&"app".parse().expect("a name"));
        copy(&from, &to, &[]).await.unwrap();
        counts.push(calls.lock().expect("nothing panics while holding it").clone());
    }
    let [cold, again] = counts.as_slice() else { panic!("there were two pushes") };
    // Ten layers and a config: looked for before they travel, and once more before the manifest is stored. Each time the link
    // is read and the data's size asked for.
    assert_eq!((cold[&Operation::Get], cold[&Operation::Head]), (22, 22));
    // Data and link of each, and of the manifest; the tag's history and the tag.
    assert_eq!(cold[&Operation::Put], 22 + 2 + 2);
    assert_eq!(cold.len(), 3, "{cold:?}");
    // The manifests that are there are listed and read, one here, to learn the blobs' sizes.
    assert_eq!((again[&Operation::Get], again[&Operation::Head], again[&Operation::List]), (23, 22, 1));
    assert_eq!(again[&Operation::Put], 2 + 2);
    assert_eq!(again.len(), 4, "{again:?}");
}

#[tokio::test]
async fn one_platform_of_an_index_is_copied_as_an_image() {
    let both = index(1, 2, 1000);
    let (from, to) = (with(&both).await, repository());
    let copied = copy(&from, &to, &["linux/arm64"]).await.unwrap();
    let arm = &both.children[1];
    assert_eq!(copied.root.digest(), arm.digest());
    assert_eq!(pull(&to, &tagged("copy")).await.unwrap(), *arm);
    let error = copy(&from, &to, &["linux/s390x"]).await.unwrap_err();
    assert_eq!(error.to_string(), "the image is not there for linux/s390x; it is there for linux/amd64, linux/arm64");
}

#[tokio::test]
async fn several_platforms_of_an_index_are_copied_as_a_smaller_index() {
    let (from, to) = (with(&index(1, 1, 100)).await, repository());
    let copied = copy(&from, &to, &["linux/amd64", "linux/arm64"]).await.unwrap();
    assert!(copied.root.is_index());
    assert_eq!(copied.root.manifests().len(), 2);
    pull(&to, &tagged("copy")).await.unwrap();
}

#[tokio::test]
async fn an_index_that_lacks_a_manifest_is_not_copied_in_part() {
    let (from, to) = (with(&index(1, 1, 100)).await, repository());
    let missing = image(9, 1, 10).manifest.descriptor();
    let whole = from.get_manifest(&tagged("v1")).await.unwrap();
    let sparse = index_of(&[whole.manifests()[0].clone(), missing]);
    from.put_manifest(&sparse, &["v1".parse().unwrap()]).await.unwrap();
    let error = copy(&from, &to, &[]).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(text) if text.starts_with("the image is not whole")), "{error}");
    assert!(to.get_manifest(&tagged("copy")).await.is_err());
}

#[tokio::test]
async fn indexes_that_are_too_deep_are_refused() {
    let from = repository();
    let mut below: Descriptor = image(1, 0, 0).manifest.descriptor();
    push(&from, &image(1, 0, 0), None, Write::DigestFirst).await.unwrap();
    for _ in 0..12 {
        let level = index_of(std::slice::from_ref(&below));
        below = level.descriptor();
        from.put_manifest(&level, &["v1".parse().unwrap()]).await.unwrap();
    }
    let error = copy(&from, &repository(), &[]).await.unwrap_err();
    assert!(error.to_string().contains("levels deep"), "{error}");
}

#[tokio::test]
async fn a_tag_that_moves_midway_changes_nothing() {
    let (old, new) = (index(1, 2, 1000), image(7, 1, 10));
    let (from, to) = (with(&old).await, repository());
    let source = RepositorySource::new(Arc::new(from.clone()), tagged("v1"));
    let found = Image::find(&source, &[]).await.unwrap();
    push(&from, &new, Some(&"v1".parse().unwrap()), Write::DigestFirst).await.unwrap();
    let target = RepositoryTarget::new(Arc::new(to.clone()), "copy".parse().ok());
    let reporter: Arc<dyn Reporter> = Arc::new(());
    let found = found.with_referrers(&source).await.unwrap();
    let copied = found.copy(&source, &target, 3, &reporter).await.unwrap();
    assert_eq!(copied.root.digest(), old.digest());
    assert_eq!(pull(&to, &tagged("copy")).await.unwrap(), old);
}

/// A place that lists what it likes as attached.
struct Listing(RepositorySource, Vec<Descriptor>);

#[async_trait]
impl Source for Listing {
    async fn root(&self) -> Result<Manifest, Error> {
        self.0.root().await
    }

    async fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, Error> {
        self.0.manifest(descriptor).await
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<ByteStream, Error> {
        self.0.blob(descriptor).await
    }

    async fn referrers(&self, _: &Digest) -> Result<Vec<Referrer>, Error> {
        Ok(self.1.iter().map(|descriptor| Referrer { descriptor: descriptor.clone(), tag: None }).collect())
    }
}

#[tokio::test]
async fn what_is_listed_as_attached_is_not_believed() {
    let (own, other, absent) = (image(1, 1, 10), image(2, 1, 10), image(3, 1, 10));
    let from = with(&own).await;
    push(&from, &other, None, Write::DigestFirst).await.unwrap();
    let listing = |listed: &storage_layout::test_util::Image| {
        let source = RepositorySource::new(Arc::new(from.clone()), tagged("v1"));
        Listing(source, vec![listed.manifest.descriptor()])
    };
    // It does not say itself that it refers to the image, so it does not.
    let source = listing(&other);
    let found = Image::find(&source, &[]).await.unwrap().with_referrers(&source).await.unwrap();
    assert_eq!(found.attached().len(), 0);
    let source = listing(&absent);
    let error = Image::find(&source, &[]).await.unwrap().with_referrers(&source).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(text) if text.contains("and is not there")), "{error}");
}

#[test]
fn platforms_are_read_and_matched() {
    for (wanted, has, matches) in [
        ("linux/amd64", r#"{"os":"linux","architecture":"amd64"}"#, true),
        ("linux/amd64", r#"{"os":"windows","architecture":"amd64"}"#, false),
        ("linux/arm64", r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#, true),
        ("linux/arm64/v8", r#"{"os":"linux","architecture":"arm64"}"#, true),
        ("linux/arm", r#"{"os":"linux","architecture":"arm","variant":"v7"}"#, true),
        ("linux/arm/v6", r#"{"os":"linux","architecture":"arm","variant":"v7"}"#, false),
    ] {
        let filter: PlatformFilter = wanted.parse().unwrap();
        assert_eq!(filter.matches(&serde_json::from_str(has).unwrap()), matches, "{wanted} {has}");
        assert_eq!(filter.to_string(), wanted);
    }
    for bad in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a b", "linux//v7"] {
        assert!(bad.parse::<PlatformFilter>().is_err(), "{bad:?} was accepted");
    }
}
