//! Blobs: written in both ways, found, mounted, read.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use storage_layout::test_util::{Write, image, noise, pull, push, read, send};
use storage_layout::{
    Algorithm, Descriptor, Digest, Error, Key, Manifest, Repository, RepositoryName, Result, media_type,
};

use super::{Bucket, PART, by_tag, on_every_store, tag};

on_every_store! {
    blobs_of_every_size_survive_both_ways_of_writing
    a_blob_of_unknown_length_survives
    sha512_is_kept_as_sha512
    a_sha512_link_to_a_sha256_blob_is_followed
    a_mismatched_blob_never_becomes_visible
    a_blob_that_the_bucket_has_is_not_sent_again
    a_blob_of_another_repository_can_be_mounted
    any_range_of_a_blob_can_be_read
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
