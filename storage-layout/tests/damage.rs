//! Buckets that were damaged: by a crash of another writer, a bad disk, somebody's hand. Damage is never handed out as an
//! image, is told by its key, touches nothing else, and is mended by pushing again.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use storage_layout::test_util::{
    FaultyStore, Image, Write, artifact, image, index, noise, pull, push, read, send, snapshot,
};
use storage_layout::{
    Algorithm, Descriptor, Digest, Error, Key, MAX_MANIFEST_SIZE, Manifest, Reference, Repository, RepositoryName,
    Store, StoreOptions, Tag,
};

const SIZE: usize = 10_000;

/// A repository, as a process sees it that has not read anything yet.
fn fresh(objects: &Arc<InMemory>, name: &str) -> Repository {
    Store::new(Arc::clone(objects) as _, StoreOptions::default()).repository(&name.parse().expect("a name"))
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

fn by_tag(text: &str) -> Reference {
    tag(text).into()
}

/// A bucket with one image in two repositories.
async fn bucket(image: &Image) -> Arc<InMemory> {
    let objects = Arc::new(InMemory::new());
    for name in ["app", "other"] {
        let repository = fresh(&objects, name);
        push(&repository, image, Some(&tag("v1")), Write::DigestFirst).await.expect("the store works");
    }
    objects
}

async fn put(objects: &InMemory, path: &Path, content: impl Into<Bytes>) {
    objects.put(path, content.into().into()).await.expect("the store works");
}

fn data(digest: &Digest) -> Path {
    Key::BlobData(digest.clone()).path()
}

fn flipped(content: &Bytes, at: usize) -> Bytes {
    let mut content = content.to_vec();
    content[at] ^= 1;
    content.into()
}

/// What may have become of a blob's length.
fn resized(content: &Bytes) -> [Bytes; 4] {
    let grown = [content.as_ref(), b"x"].concat().into();
    [Bytes::new(), content.slice(..content.len() / 2), content.slice(..content.len() - 1), grown]
}

/// Where the right size of a blob can be learnt.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// From a manifest of the repository.
    Here,
    /// From a manifest of another repository.
    Elsewhere,
    /// From no manifest.
    Nowhere,
    /// From a manifest beside one that states the size that the damaged blob has.
    Disputed,
}

/// Makes a bucket whose repository `app` has the layer of `image`, damaged.
async fn damaged(image: &Image, wrong: &Bytes, known: Known) -> Arc<InMemory> {
    let objects = Arc::new(InMemory::new());
    let (layer, content) = &image.blobs[1];
    let manifest_in = match known {
        Known::Here | Known::Disputed => Some("app"),
        Known::Elsewhere => Some("other"),
        Known::Nowhere => None,
    };
    send(&fresh(&objects, "app"), &layer.digest, content, Write::DigestFirst).await.expect("the store works");
    if let Some(name) = manifest_in {
        push(&fresh(&objects, name), image, Some(&tag("v1")), Write::DigestFirst).await.expect("the store works");
    }
    put(&objects, &data(&layer.digest), wrong.clone()).await;
    if matches!(known, Known::Disputed) {
        // As Docker writes it, when a registry has answered for the damaged blob.
        let text = std::str::from_utf8(image.manifest.bytes()).expect("a manifest is text");
        let poisoned = text.replace(&format!("\"size\":{SIZE}"), &format!("\"size\":{}", wrong.len()));
        assert_ne!(poisoned, text);
        let digest = Algorithm::Sha256.digest(poisoned.as_bytes());
        put(&objects, &data(&digest), poisoned).await;
        let link = Key::RevisionLink("app".parse().expect("a name"), digest.clone()).path();
        put(&objects, &link, digest.to_string()).await;
    }
    objects
}

#[tokio::test]
async fn a_blob_of_another_length_is_answered_for_as_absent_and_mended_by_a_push() {
    let image = image(1, 1, SIZE);
    let (layer, content) = &image.blobs[1];
    for known in [Known::Here, Known::Elsewhere, Known::Nowhere, Known::Disputed] {
        for wrong in resized(content) {
            let case = format!("{} bytes instead of {SIZE}, known {known:?}", wrong.len());
            for write in Write::ALL {
                let objects = damaged(&image, &wrong, known).await;
                let result = fresh(&objects, "app").stat_blob(&layer.digest).await;
                assert!(matches!(result, Err(Error::BlobUnknown(_))), "{case}: {result:?}");
                for asked in ["app", "new"] {
                    let repository = fresh(&objects, asked);
                    let result = repository.adopt_blob(&layer.digest).await;
                    assert!(matches!(result, Err(Error::BlobUnknown(_))), "{case}: {result:?}");
                    let result = repository.mount_blob(&layer.digest, Some(&"app".parse().expect("a name"))).await;
                    assert!(matches!(result, Err(Error::BlobUnknown(_))), "{case}: {result:?}");
                }
                assert!(fresh(&objects, "new").find_blob(&layer.digest).await.is_err(), "{case}: a link was made");

                // The whole push is made by a process that has seen the damage.
                let repository = fresh(&objects, "app");
                repository.stat_blob(&layer.digest).await.expect_err("it is damaged");
                push(&repository, &image, Some(&tag("v1")), write).await.expect("a push mends");
                let reader = fresh(&objects, "app");
                assert_eq!(pull(&reader, &by_tag("v1")).await.expect("it is mended"), image, "{case}");
                if !matches!(known, Known::Disputed) {
                    assert_eq!(reader.stat_blob(&layer.digest).await.expect("it is mended").size, SIZE as u64);
                }
                assert_eq!(repository.stat_blob(&layer.digest).await.expect("it is mended").size, SIZE as u64);
            }
        }
    }
}

#[tokio::test]
async fn a_whole_blob_is_answered_for_whatever_manifests_say() {
    let image = image(1, 1, SIZE);
    let (layer, content) = &image.blobs[1];
    for known in [Known::Here, Known::Elsewhere, Known::Nowhere, Known::Disputed] {
        let objects = damaged(&image, &content.slice(1..), known).await;
        put(&objects, &data(&layer.digest), content.clone()).await;
        let stat = fresh(&objects, "app").stat_blob(&layer.digest).await;
        assert_eq!(stat.expect("it is whole").size, SIZE as u64, "{known:?}");
        fresh(&objects, "new").adopt_blob(&layer.digest).await.expect("it is whole");
    }
}

#[tokio::test]
async fn a_blob_that_is_damaged_while_a_process_runs_is_noticed_by_it() {
    let image = image(1, 1, SIZE);
    let (layer, content) = &image.blobs[1];
    for wrong in resized(content) {
        let objects = Arc::new(InMemory::new());
        let repository = fresh(&objects, "app");
        push(&repository, &image, Some(&tag("v1")), Write::DigestLast).await.expect("the store works");
        pull(&repository, &by_tag("v1")).await.expect("it is whole");
        put(&objects, &data(&layer.digest), wrong).await;
        let result = repository.stat_blob(&layer.digest).await;
        assert!(matches!(result, Err(Error::BlobUnknown(_))), "{result:?}");
        push(&repository, &image, Some(&tag("v1")), Write::DigestLast).await.expect("a push mends");
        assert_eq!(pull(&repository, &by_tag("v1")).await.expect("it is mended"), image);
    }
}

#[tokio::test]
async fn a_manifest_is_refused_whose_blob_has_another_length() {
    let image = image(1, 1, SIZE);
    let (layer, content) = &image.blobs[1];
    for wrong in resized(content) {
        let objects = damaged(&image, &wrong, Known::Nowhere).await;
        let repository = fresh(&objects, "app");
        let (config, config_content) = &image.blobs[0];
        send(&repository, &config.digest, config_content, Write::DigestFirst).await.expect("the store works");
        let before = snapshot(&*objects).await;
        match repository.put_manifest(&image.manifest, &[tag("v1")]).await {
            Err(Error::ManifestBlobUnknown { digest, expected, .. }) => {
                assert_eq!((digest, expected), (layer.digest.clone(), SIZE as u64));
            }
            result => panic!("{} bytes: {result:?}", wrong.len()),
        }
        assert_eq!(snapshot(&*objects).await, before, "something was written");
    }
    // So is an index whose manifest is damaged.
    let index = index(2, 1, 10);
    let objects = bucket(&index).await;
    let child = &index.children[0].manifest;
    put(&objects, &data(child.digest()), child.bytes().slice(1..)).await;
    let result = fresh(&objects, "app").put_manifest(&index.manifest, &[tag("v2")]).await;
    assert!(matches!(result, Err(Error::ManifestBlobUnknown { .. })), "{result:?}");
}

#[tokio::test]
async fn a_flipped_bit_ends_a_blob_before_its_last_piece() {
    let content = noise(3, 1_000_000);
    let digest = Algorithm::Sha256.digest(&content);
    let objects = Arc::new(InMemory::new());
    let seen = fresh(&objects, "app");
    send(&seen, &digest, &content, Write::DigestFirst).await.expect("the store works");
    read(&seen, &digest).await.expect("it is whole");

    for at in [0, 500_000, 999_999] {
        put(&objects, &data(&digest), flipped(&content, at)).await;
        // A process that has found it right once reads no part of it alone after it has seen the damage.
        for repository in [fresh(&objects, "app"), seen.clone()] {
            let stat = repository.find_blob(&digest).await.expect("its length is right");
            for range in [None, Some(0..1_000_000), Some(0..1), Some(999_999..1_000_000), Some(10..999_000)] {
                let length = range.as_ref().map_or(1_000_000, |range| range.end - range.start);
                let mut reader = repository.open_blob(&stat, range.clone()).await.expect("it is there");
                let mut received = 0;
                let error = loop {
                    match reader.stream.try_next().await {
                        Ok(Some(piece)) => received += piece.len() as u64,
                        Ok(None) => panic!("bit {at} was not noticed in {range:?}"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
                assert!(error.to_string().contains(digest.as_str()), "{error}");
                assert!(received < length, "all of {range:?} was handed out");
                assert!(reader.stream.try_next().await.is_ok_and(|piece| piece.is_none()), "it went on");
            }
            let result = repository.read_small_blob(&digest, 2_000_000).await;
            assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
        }
        // No manifest names it, so it was read: it is answered for as absent.
        assert!(matches!(fresh(&objects, "app").stat_blob(&digest).await, Err(Error::BlobUnknown(_))));
        send(&fresh(&objects, "app"), &digest, &content, Write::DigestFirst).await.expect("a push mends");
        assert_eq!(read(&seen, &digest).await.expect("it is mended"), content);
    }
}

#[tokio::test]
async fn what_was_found_right_is_read_with_care_again_when_its_version_is_another_or_unknown() {
    let content = noise(3, 1_000_000);
    let digest = Algorithm::Sha256.digest(&content);
    for (has_versions, range) in [(true, Some(0..1)), (true, None), (false, None)] {
        let objects = Arc::new(InMemory::new());
        let store = FaultyStore::counting(Arc::clone(&objects) as _);
        let store = Arc::new(if has_versions { store } else { store.without_etags() });
        let seen = Store::new(store, StoreOptions::default()).repository(&"app".parse().expect("a name"));
        send(&seen, &digest, &content, Write::DigestFirst).await.expect("the store works");
        read(&seen, &digest).await.expect("it is whole");
        put(&objects, &data(&digest), flipped(&content, 500_000)).await;
        let stat = seen.find_blob(&digest).await.expect("its length is right");
        let reader = seen.open_blob(&stat, range.clone()).await.expect("it is there");
        let error = reader.stream.try_collect::<Vec<_>>().await.expect_err("a bit was flipped");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{has_versions} {range:?}: {error}");
    }
}

#[tokio::test]
async fn a_damaged_manifest_is_told_by_its_key_and_mended_by_a_push() {
    let image = image(1, 2, 100);
    let (bytes, digest) = (image.manifest.bytes(), image.digest());
    let another = storage_layout::test_util::image(2, 1, 100).manifest;
    for (what, wrong) in [
        ("empty", Bytes::new()),
        ("half", bytes.slice(..bytes.len() / 2)),
        ("flipped", flipped(bytes, bytes.len() / 2)),
        ("a blank more", [bytes.as_ref(), b" "].concat().into()),
        ("another", another.bytes().clone()),
        ("junk", noise(1, 500)),
        ("too large", vec![b' '; usize::try_from(MAX_MANIFEST_SIZE).expect("it is small") + 1].into()),
    ] {
        let objects = bucket(&image).await;
        let whole = snapshot(&*objects).await;
        put(&objects, &data(digest), wrong).await;
        for reference in [by_tag("v1"), digest.clone().into()] {
            match fresh(&objects, "app").get_manifest(&reference).await {
                Err(Error::Corrupt { key, .. }) => assert_eq!(key, data(digest).to_string(), "{what}"),
                result => panic!("{what}: {result:?}"),
            }
        }
        // Whoever asks for blobs is not troubled by it.
        let repository = fresh(&objects, "app");
        assert_eq!(
            repository.stat_blob(&image.blobs[1].0.digest).await.expect("the blob is whole").size,
            100,
            "{what}"
        );
        push(&repository, &image, Some(&tag("v1")), Write::DigestLast).await.expect("a push mends");
        assert_eq!(snapshot(&*objects).await, whole, "{what}");
    }
}

/// What a damaged link may hold.
fn bad_links(digest: &Digest) -> [(&'static str, Bytes); 9] {
    let text = digest.as_str();
    [
        ("nothing", Bytes::new()),
        ("junk", noise(1, 71)),
        ("CRLF", format!("{text}\r\n").into()),
        ("a newline", format!("{text}\n").into()),
        ("it doubled", format!("{text}{text}").into()),
        ("half of it", text[..text.len() / 2].to_owned().into()),
        ("it in capitals", text.to_uppercase().into()),
        ("much", text.repeat(100).into()),
        ("another digest", Algorithm::Sha256.digest(b"another").to_string().into()),
    ]
}

#[tokio::test]
async fn a_damaged_link_is_told_by_its_key_and_mended_by_a_push() {
    let image = image(1, 2, 100);
    let layer = &image.blobs[1].0.digest;
    let name: RepositoryName = "app".parse().expect("a name");
    let keys = [
        Key::LayerLink(name.clone(), layer.clone()),
        Key::RevisionLink(name.clone(), image.digest().clone()),
        Key::TagCurrent(name, tag("v1")),
    ];
    for (key, digest) in keys.iter().zip([layer, image.digest(), image.digest()]) {
        for (what, wrong) in bad_links(digest) {
            if matches!(key, Key::TagCurrent(..)) && what == "another digest" {
                // No damage: that is what a tag is for.
                continue;
            }
            for write in Write::ALL {
                let case = format!("{} holds {what}", key.path());
                let objects = bucket(&image).await;
                let whole = snapshot(&*objects).await;
                put(&objects, &key.path(), wrong.clone()).await;

                let repository = fresh(&objects, "app");
                let reference = match key {
                    Key::TagCurrent(..) => by_tag("v1"),
                    _ => image.digest().clone().into(),
                };
                match pull(&repository, &reference).await {
                    Err(Error::Corrupt { key: told, .. }) => assert_eq!(told, key.path().to_string(), "{case}"),
                    result => panic!("{case}: {result:?}"),
                }
                if !matches!(key, Key::LayerLink(..)) {
                    match repository.resolve(&reference).await {
                        Err(Error::Corrupt { key: told, .. }) => assert_eq!(told, key.path().to_string(), "{case}"),
                        result => panic!("{case}: {result:?}"),
                    }
                }
                assert_eq!(pull(&fresh(&objects, "other"), &by_tag("v1")).await.expect("it is whole"), image, "{case}");
                assert_eq!(repository.store().repositories().await.expect("folders are listed").len(), 2, "{case}");
                let tags = repository.list_tags(None, None).await.expect("the others are listed").items;
                assert_eq!(tags.len(), usize::from(!matches!(key, Key::TagCurrent(..))), "{case}");

                push(&repository, &image, Some(&tag("v1")), write).await.expect("a push mends");
                assert_eq!(snapshot(&*objects).await, whole, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_damaged_tag_keeps_nobody_from_deleting() {
    let (image, another) = (image(1, 1, 100), image(2, 1, 100));
    let objects = bucket(&image).await;
    let repository = fresh(&objects, "app");
    push(&repository, &another, Some(&tag("v2")), Write::DigestFirst).await.expect("the store works");
    put(&objects, &Key::TagCurrent(repository.name().clone(), tag("v1")).path(), "junk").await;
    repository.delete_manifest(another.digest()).await.expect("it is whole");
    repository.delete_tag(&tag("v1")).await.expect("it is there");
    assert_eq!(repository.list_tags(None, None).await.expect("the store works").items, []);
    assert_eq!(pull(&repository, &image.digest().clone().into()).await.expect("it is whole"), image);
}

#[tokio::test]
async fn no_damage_to_any_object_is_handed_out_as_an_image() {
    let index = index(4, 2, 300);
    let objects = bucket(&index).await;
    let whole = snapshot(&*objects).await;
    let keys: Vec<&String> = whole.keys().collect();
    for (number, (key, content)) in whole.iter().enumerate() {
        let neighbour = &whole[keys[(number + 1) % keys.len()]];
        let middle = content.len() / 2;
        for (what, wrong) in [
            ("deleted", None),
            ("emptied", Some(Bytes::new())),
            ("halved", Some(content.slice(..middle))),
            ("flipped", Some(flipped(content, middle))),
            ("grown", Some([content.as_ref(), b"\n"].concat().into())),
            ("swapped", Some(neighbour.clone())),
        ] {
            let (objects, path) = (Arc::new(objects.fork()), Path::parse(key).expect("a path"));
            match &wrong {
                None => objects.delete(&path).await.expect("it is there"),
                Some(wrong) => put(&objects, &path, wrong.clone()).await,
            }
            for reference in [by_tag("v1"), index.digest().clone().into()] {
                if let Ok(found) = pull(&fresh(&objects, "app"), &reference).await {
                    assert_eq!(found, index, "{key} was {what}");
                }
            }
            // Blobs are sent whether they seem to be there or not.
            let repository = fresh(&objects, "app");
            for image in &index.children {
                for (descriptor, content) in &image.blobs {
                    send(&repository, &descriptor.digest, content, Write::DigestFirst).await.expect("a push mends");
                }
            }
            push(&repository, &index, Some(&tag("v1")), Write::DigestFirst).await.expect("a push mends");
            let repaired = pull(&fresh(&objects, "app"), &by_tag("v1")).await.expect("it is mended");
            assert_eq!(repaired, index, "{key} was {what}");
            if !key.contains("/other/") {
                assert_eq!(snapshot(&*objects).await, whole, "{key} was {what}");
            }
        }
    }
}

#[tokio::test]
async fn what_a_manifest_does_not_name_rightly_is_not_taken_for_it() {
    // A manifest that is whole, under another's digest, with the link to prove it.
    let (image, another) = (image(1, 1, 100), image(2, 1, 100));
    let objects = bucket(&image).await;
    put(&objects, &data(image.digest()), another.manifest.bytes().clone()).await;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let manifest = Manifest::parse(image.manifest.bytes().clone(), algorithm, None).expect("a manifest");
        let result = fresh(&objects, "app").get_manifest(&manifest.digest().clone().into()).await;
        assert!(result.is_err(), "{result:?}");
    }
}

#[tokio::test]
async fn a_damaged_referrer_is_listed_without_a_type_and_keeps_none_back() {
    let subject = image(1, 1, 10);
    let objects = bucket(&subject).await;
    let referrers: Vec<Image> = (2..5).map(|seed| artifact(seed, &subject.manifest, "application/x-sbom")).collect();
    let store = async |image: &Image| {
        push(&fresh(&objects, "app"), image, None, Write::DigestFirst).await.expect("the store works");
    };
    for referrer in &referrers {
        store(referrer).await;
    }
    let list = async |kind| fresh(&objects, "app").referrers(subject.digest(), kind).await.expect("they are listed");
    let all = list(None).await;
    let damaged = &referrers[1];
    let revision = Key::RevisionLink("app".parse().expect("a name"), damaged.digest().clone()).path();
    for (path, content) in [
        (data(damaged.digest()), flipped(damaged.manifest.bytes(), 20)),
        (data(damaged.digest()), damaged.manifest.bytes().slice(..30)),
        (data(damaged.digest()), Bytes::new()),
        (revision, Bytes::from_static(b"junk")),
    ] {
        put(&objects, &path, content).await;
        let listed = list(None).await;
        let digests = |found: &[Descriptor]| found.iter().map(|one| one.digest.clone()).collect::<Vec<_>>();
        assert_eq!(digests(&listed), digests(&all), "{path}");
        for (found, expected) in listed.iter().zip(&all) {
            assert!(
                found == expected || (found.digest == *damaged.digest() && found.artifact_type.is_none()),
                "{path}"
            );
        }
        assert_eq!(list(Some("application/x-sbom")).await.len(), 2, "{path}");
        let read = fresh(&objects, "app").get_manifest(&damaged.digest().clone().into()).await;
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{path}: {read:?}");
        store(damaged).await;
        assert_eq!(list(None).await, all, "{path}");
    }
}
