//! Repositories: their lists and referrers, what is left after a deletion, and nothing of each other's.

use std::collections::BTreeSet;

use object_store::ObjectStoreExt;
use storage_layout::test_util::{Image, Write, artifact, image, index_of, noise, pull, push, send};
use storage_layout::{Algorithm, Error, Key, RepositoryName, Result, Tag};

use super::{Bucket, by_tag, on_every_store, tag};

on_every_store! {
    repositories_do_not_see_into_each_other
    tags_are_listed_completely_at_every_page_size
    repositories_are_listed_completely_at_every_page_size
    a_tag_that_names_nothing_is_not_listed
    what_is_deleted_is_gone_and_the_rest_stays
    referrers_are_found_by_link_and_by_fallback_tag
    an_empty_bucket_has_nothing
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
