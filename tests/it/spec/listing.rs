//! Lists: tags, repositories and referrers.

use std::collections::BTreeSet;

use axum::body::Body;
use serde_json::{Value, json};
use storage_layout::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};

use super::{Content, Registry, check, content, manifest_of, open, row, sha256};

#[tokio::test]
async fn lists_are_read() {
    let Content { image, signature, .. } = content();
    let referrers = |query: &str| format!("/v2/app/referrers/{}{query}", image.digest());
    let index = |manifests: Value| json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let signed = index(json!([{
        "mediaType": OCI_MANIFEST, "digest": signature.digest(), "size": signature.size(),
        "annotations": {"by": "us"}, "artifactType": "test/signature",
    }]));
    let tags = |fact, query: &str, tags: &[&str]| {
        row(fact, "GET", format!("/v2/app/tags/list{query}"), 200).json(&json!({"name": "app", "tags": tags}))
    };
    let catalog = |fact, query: &str, names: &[&str]| {
        row(fact, "GET", format!("/v2/_catalog{query}"), 200).json(&json!({"repositories": names}))
    };
    check([
        tags("tags are listed in byte order", "", &["all", "v1", "v10", "v2"]).without("link"),
        tags("a page of tags leads to the next", "?n=2", &["all", "v1"])
            .header("link", "</v2/app/tags/list?n=2&last=v1>; rel=\"next\""),
        tags("the last page leads nowhere", "?n=2&last=v1", &["v10", "v2"]).without("link"),
        tags("a page begins behind what need not exist", "?last=v1zzz", &["v2"]),
        tags("no tags are asked for and none come", "?n=0", &[]).without("link"),
        tags("more than a page may have is a page", "?n=100000000000000000000", &["all", "v1", "v10", "v2"]),
        row("a repository may have no tags", "GET", "/v2/team/other/tags/list", 200)
            .json(&json!({"name": "team/other", "tags": []})),
        catalog("repositories with manifests are listed", "", &["app"]).without("link"),
        catalog("repositories come in pages", "?n=1&last=aaa", &["app"]).without("link"),
        catalog("behind the last repository is nothing", "?last=app", &[]),
        row("referrers are an index", "GET", referrers(""), 200)
            .header("content-type", OCI_INDEX)
            .without("oci-filters-applied")
            .json(&signed),
        row("referrers of a kind are chosen", "GET", referrers("?artifactType=test/signature"), 200)
            .header("oci-filters-applied", "artifactType")
            .json(&signed),
        row("a kind without referrers is empty", "GET", referrers("?artifactType=a%2Bb"), 200)
            .header("oci-filters-applied", "artifactType")
            .json(&index(json!([]))),
        row("what was never pushed has no referrers", "GET", format!("/v2/none/referrers/{}", sha256(b"x")), 200)
            .json(&index(json!([]))),
    ])
    .await;
}

#[tokio::test]
async fn referrers_come_from_the_subject_and_from_the_tag_of_older_clients() {
    let registry = Registry::filled(open()).await;
    let Content { image, signature, .. } = content();
    let manifest = |kind: &str| {
        manifest_of(&json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "subject": image.manifest.descriptor(),
            "config": {"mediaType": OCI_CONFIG, "digest": image.blobs[0].0.digest, "size": image.blobs[0].0.size},
            "artifactType": kind,
        }))
    };
    let listed = async || {
        let document = registry.ask("GET", &format!("/v2/app/referrers/{}", image.digest())).await.json();
        let manifests = document["manifests"].as_array().expect("there is a list").clone();
        manifests.iter().map(|found| found["digest"].as_str().expect("a digest").to_owned()).collect::<BTreeSet<_>>()
    };
    let pushed = manifest("test/sbom");
    let answer = registry.send("PUT", "/v2/app/manifests/sbom", &[], Body::from(pushed.bytes().clone())).await;
    assert_eq!((answer.status, answer.header("oci-subject")), (201, Some(image.digest().as_str())));
    let both: BTreeSet<String> = [signature.digest(), pushed.digest()].map(ToString::to_string).into();
    assert_eq!(listed().await, both);
    // Older clients keep a list under a tag.
    let list = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [signature.descriptor()]});
    let tag = image.digest().as_str().replace(':', "-");
    let answer = registry.send("PUT", &format!("/v2/app/manifests/{tag}"), &[], Body::from(list.to_string())).await;
    assert_eq!(answer.status, 201);
    assert_eq!(listed().await, both, "none is listed twice");
    assert_eq!(registry.ask("DELETE", &format!("/v2/app/manifests/{}", pushed.digest())).await.status, 202);
    assert_eq!(listed().await, [signature.digest().to_string()].into());
}

#[tokio::test]
async fn a_referrer_may_come_before_its_subject() {
    let registry = Registry::filled(open()).await;
    let subject = sha256(b"never pushed");
    let referrer = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [], "config": content().image.blobs[0].0,
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 12},
    });
    let answer = registry.send("PUT", "/v2/app/manifests/early", &[], Body::from(referrer.to_string())).await;
    assert_eq!((answer.status, answer.header("oci-subject")), (201, Some(subject.as_str())));
    let found = registry.ask("GET", &format!("/v2/app/referrers/{subject}")).await.json();
    assert_eq!(found["manifests"][0]["artifactType"], content().image.blobs[0].0.media_type, "the config's stands in");
}
