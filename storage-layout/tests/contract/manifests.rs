//! Images and manifests: what a push writes, and what it needs.

use std::collections::BTreeMap;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use storage_layout::test_util::{
    Image, Write, artifact, docker_image, image, image_from, index, noise, pull, push, send, snapshot,
};
use storage_layout::{Algorithm, Descriptor, Digest, Error, Key, Manifest, Result, media_type};

use super::{Bucket, by_tag, on_every_store, tag};

on_every_store! {
    images_of_every_kind_survive
    manifests_keep_their_bytes
    pushing_twice_is_pushing_once
    a_push_writes_exactly_the_documented_keys
    links_hold_a_digest_and_nothing_else
    a_manifest_needs_its_blobs
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
