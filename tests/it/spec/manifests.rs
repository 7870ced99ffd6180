//! Manifests: read, pushed, deleted, mended.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use object_store::ObjectStoreExt;
use serde_json::json;
use storage_layout::media_type::{OCI_INDEX, OCI_MANIFEST};
use storage_layout::{Algorithm, Key, MAX_MANIFEST_SIZE};

use super::{Content, Registry, check, content, open, read_only, row, sha256};

#[tokio::test]
async fn the_base_and_manifests_are_read() {
    let Content { image, index, .. } = content();
    let (manifest, digest) = (image.manifest.bytes().clone(), image.digest());
    let found = |fact, method, path: &str| {
        row(fact, method, path, 200)
            .header("content-type", OCI_MANIFEST)
            .header("content-length", manifest.len())
            .header("docker-content-digest", digest)
    };
    check([
        row("the base says that this is a registry", "GET", "/v2/", 200).json(&json!({})),
        row("the base needs no slash", "GET", "/v2", 200),
        found("a manifest is found by its tag", "GET", "/v2/app/manifests/v1").content(manifest.clone()),
        found("a manifest is found by its digest", "GET", &format!("/v2/app/manifests/{digest}"))
            .content(manifest.clone()),
        found("HEAD of a manifest has all but the body", "HEAD", "/v2/app/manifests/v1").content(""),
        found("what is stored is answered whatever is accepted", "GET", "/v2/app/manifests/v1")
            .with("accept", "application/vnd.docker.distribution.manifest.v1+json")
            .content(manifest.clone()),
        row("a manifest that the client has is not sent", "GET", "/v2/app/manifests/v1", 304)
            .with("if-none-match", format!("\"{digest}\""))
            .content(""),
        row("an index keeps its media type", "GET", "/v2/app/manifests/all", 200)
            .header("content-type", OCI_INDEX)
            .content(index.bytes().clone()),
        row("HEAD of nothing is 404", "HEAD", "/v2/app/manifests/none", 404).content(""),
    ])
    .await;
}

#[tokio::test]
async fn a_manifest_is_pushed_and_its_bytes_are_kept() {
    let content = content();
    let (config, layer) = (&content.image.blobs[0].0, &content.image.blobs[1].0);
    let foreign = json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": sha256(b"kept elsewhere"), "size": 14, "urls": ["https://example.com/layer"],
    });
    // Odd spaces and fields of nobody's: a registry that writes JSON anew would lose them.
    let bytes = format!(
        "{{ \"schemaVersion\":2,\n\"mediaType\":\"{OCI_MANIFEST}\",  \"ours\":[1.0,null], \"config\":{}, \"layers\":[{},{foreign}]}}\n",
        json!(config),
        json!(layer),
    );
    let digest = sha256(bytes.as_bytes());
    let registry = Registry::filled(open()).await;
    let parameters = [("content-type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")];
    let answer = registry.send("PUT", "/v2/app/manifests/new", &parameters, Body::from(bytes.clone())).await;
    assert_eq!((answer.status, answer.location()), (201, format!("/v2/app/manifests/{digest}").as_str()), "{answer:?}");
    assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!((answer.header("oci-subject"), answer.header("oci-tag")), (None, None));
    for path in [answer.location(), "/v2/app/manifests/new"] {
        assert_eq!(registry.ask("GET", path).await.body, Ok(Bytes::from(bytes.clone())));
    }
    let tagged = registry.journal.tagged(&"new".parse().expect("a tag")).expect("it was pushed");
    assert_eq!((&tagged.digest, tagged.size, tagged.media_type.as_str()), (&digest, bytes.len() as u64, OCI_MANIFEST));
}

#[tokio::test]
async fn a_manifest_is_pushed_by_digest_under_several_tags() {
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let registry = Registry::filled(open()).await;
        let manifest = content().image.manifest;
        let digest = algorithm.digest(manifest.bytes());
        let tags: Vec<String> = (0..12).map(|number| format!("1.{number}")).collect();
        let path = format!("/v2/app/manifests/{digest}?tag={}", tags.join("&tag="));
        let answer = registry.send("PUT", &path, &[], Body::from(manifest.bytes().clone())).await;
        assert_eq!(answer.status, 201);
        let accepted: Vec<&str> =
            answer.headers.get_all("oci-tag").iter().map(|tag| tag.to_str().expect("a tag is ASCII")).collect();
        assert_eq!(accepted, tags);
        for tag in tags {
            let answer = registry.ask("HEAD", &format!("/v2/app/manifests/{tag}")).await;
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        }
    }
}

#[tokio::test]
async fn a_manifest_may_have_four_mebibytes_and_no_more() {
    let registry = Registry::filled(open()).await;
    let config = content().image.blobs[0].0.clone();
    let start = format!("{{\"schemaVersion\":2,\"config\":{},\"layers\":[]", json!(config));
    let limit = usize::try_from(MAX_MANIFEST_SIZE).expect("a small number");
    let largest = start.clone() + &" ".repeat(limit - start.len() - 1) + "}";
    let put = async |body: Body, length: Option<usize>| {
        let length = length.map(|length| length.to_string());
        let headers: Vec<(&str, &str)> = length.iter().map(|length| ("content-length", length.as_str())).collect();
        registry.send("PUT", "/v2/app/manifests/large", &headers, body).await.status
    };
    assert_eq!(put(Body::from(largest.clone()), Some(limit)).await, 201);
    assert_eq!(put(Body::from(largest + " "), None).await, 413);
    // What is announced as too large is not waited for.
    let never = futures::stream::pending::<io::Result<Bytes>>();
    assert_eq!(put(Body::from_stream(never), Some(limit + 1)).await, 413);
}

#[tokio::test]
async fn what_is_deleted_is_gone() {
    let registry = Registry::filled(open()).await;
    let Content { image, layer_digest, .. } = content();
    let (manifest, blob) = (format!("/v2/app/manifests/{}", image.digest()), format!("/v2/app/blobs/{layer_digest}"));
    assert_eq!(registry.ask("DELETE", "/v2/app/manifests/v1").await.status, 202);
    assert_eq!(registry.ask("GET", "/v2/app/manifests/v1").await.status, 404);
    assert_eq!(registry.ask("GET", &manifest).await.status, 200, "a tag is deleted without its manifest");
    assert_eq!(registry.ask("DELETE", &manifest).await.status, 202);
    for path in [&manifest, "/v2/app/manifests/v2", "/v2/app/manifests/v10"] {
        assert_eq!(registry.ask("GET", path).await.status, 404, "a manifest is deleted with its tags");
    }
    assert_eq!(registry.ask("GET", "/v2/app/tags/list").await.json()["tags"], json!(["all"]));
    assert_eq!(registry.ask("DELETE", &blob).await.status, 202);
    assert_eq!(registry.ask("HEAD", &blob).await.status, 404);
}

#[tokio::test]
async fn a_damaged_manifest_is_told_of_when_pulled_and_mended_when_pushed() {
    let manifest = content().image.manifest;
    let key = Key::BlobData(manifest.digest().clone()).path();
    let damaged = Bytes::from_static(b"{}");
    let pulling = Registry::filled(read_only()).await;
    pulling.objects.put(&key, damaged.clone().into()).await.expect("memory takes everything");
    assert_eq!(pulling.ask("HEAD", "/v2/app/manifests/v1").await.status, 500);
    assert!(pulling.journal.failure().is_some());
    let pushing = Registry::filled(open()).await;
    pushing.objects.put(&key, damaged.into()).await.expect("memory takes everything");
    assert_eq!(pushing.ask("HEAD", "/v2/app/manifests/v1").await.status, 404);
    assert!(pushing.journal.failure().is_none());
    let answer = pushing.send("PUT", "/v2/app/manifests/v1", &[], Body::from(manifest.bytes().clone())).await;
    assert_eq!(answer.status, 201);
    assert_eq!(pushing.ask("GET", "/v2/app/manifests/v1").await.body, Ok(manifest.bytes().clone()));
}
