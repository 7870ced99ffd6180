//! What is not served, each with its code: what is wrong or absent, what is not allowed, and what the bucket fails at.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use oci_store::registry::{Access, Token};
use serde_json::{Value, json};
use storage_layout::MAX_MANIFEST_SIZE;
use storage_layout::media_type::{OCI_INDEX, OCI_MANIFEST};
use storage_layout::test_util::{Failure, Fault, FaultyStore, snapshot};

use super::{CODES, Content, Registry, Row, check, content, open, read_only, row, sha256};

/// The calls that are refused, each with its code.
fn refusals() -> Vec<Row> {
    let Content { layer_digest, image, .. } = content();
    let absent = sha256(b"never pushed");
    let config = &image.blobs[0].0;
    let large = usize::try_from(MAX_MANIFEST_SIZE).expect("a small number") + 1;
    let document = |layer: Value| {
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [layer]}).to_string()
    };
    let put = |fact, status, body: String| row(fact, "PUT", "/v2/app/manifests/new", status).sending(body);
    let token = Access { token: Some(Token::generate()), ..open() };
    let one = Access { repository: Some("app".parse().expect("a name")), ..open() };
    vec![
        row("there is nothing outside the API", "GET", "/v1/", 404).code("NAME_UNKNOWN"),
        row("a repository that does not exist has no tags", "GET", "/v2/none/tags/list", 404).code("NAME_UNKNOWN"),
        row("a tag that does not exist is not found", "GET", "/v2/app/manifests/none", 404).code("MANIFEST_UNKNOWN"),
        row("a manifest of no repository is not found", "GET", "/v2/none/manifests/v1", 404).code("MANIFEST_UNKNOWN"),
        row("a blob is looked for in its repository", "GET", format!("/v2/team/other/blobs/{layer_digest}"), 404)
            .code("BLOB_UNKNOWN"),
        row("a name follows the grammar", "GET", "/v2/App/tags/list", 400).code("NAME_INVALID"),
        row("a tag follows the grammar", "GET", "/v2/app/manifests/-x", 400).code("MANIFEST_INVALID"),
        row("a digest follows the grammar", "GET", "/v2/app/blobs/sha256:abc", 400).code("DIGEST_INVALID"),
        row("a digest has an algorithm that is known", "GET", "/v2/app/manifests/md5:abc", 400).code("DIGEST_INVALID"),
        row("a number of tags is a number", "GET", "/v2/app/tags/list?n=-1", 400).code("UNSUPPORTED"),
        row("a number of repositories is a number", "GET", "/v2/_catalog?n=x", 400).code("UNSUPPORTED"),
        row("a path knows its methods", "PATCH", "/v2/app/manifests/v1", 405)
            .header("allow", "GET, HEAD, PUT, DELETE")
            .code("UNSUPPORTED"),
        row("an upload is known", "PATCH", "/v2/app/blobs/uploads/x", 404).code("BLOB_UPLOAD_UNKNOWN"),
        row("an upload is still there", "GET", "/v2/app/blobs/uploads/7f3d1c1e-0000-4000-8000-000000000000", 404)
            .code("BLOB_UPLOAD_UNKNOWN"),
        row("an algorithm is known", "POST", "/v2/app/blobs/uploads/?digest-algorithm=md5", 400).code("DIGEST_INVALID"),
        row("what is mounted has a digest", "POST", "/v2/app/blobs/uploads/?mount=x", 400).code("DIGEST_INVALID"),
        row("content has the digest it came with", "POST", format!("/v2/app/blobs/uploads/?digest={absent}"), 400)
            .sending("other content")
            .code("DIGEST_INVALID"),
        row("a manifest has the digest it came with", "PUT", format!("/v2/app/manifests/{absent}"), 400)
            .sending(image.manifest.bytes().clone())
            .code("DIGEST_INVALID"),
        row("a tag beside the digest follows the grammar", "PUT", format!("/v2/app/manifests/{absent}?tag=-x"), 400)
            .code("MANIFEST_INVALID"),
        put("a manifest is JSON", 400, "x".to_owned()).code("MANIFEST_INVALID"),
        put("a manifest is what it comes as", 400, image.manifest.bytes().escape_ascii().to_string().replace('\\', ""))
            .with("content-type", OCI_INDEX)
            .code("MANIFEST_INVALID"),
        put("a layer has a size", 400, document(json!({"mediaType": "l", "digest": absent}))).code("MANIFEST_INVALID"),
        put("a layer is there", 400, document(json!({"mediaType": "l", "digest": absent, "size": 12})))
            .code("MANIFEST_BLOB_UNKNOWN"),
        put(
            "a layer has the size that is stated",
            400,
            document(json!({"mediaType": "l", "digest": layer_digest, "size": 1})),
        )
        .code("MANIFEST_BLOB_UNKNOWN"),
        put("a manifest has at most four mebibytes", 413, " ".repeat(large)).code("SIZE_INVALID"),
        row("a deleted tag exists", "DELETE", "/v2/app/manifests/none", 404).code("MANIFEST_UNKNOWN"),
        row("a deleted manifest exists", "DELETE", format!("/v2/app/manifests/{absent}"), 404).code("MANIFEST_UNKNOWN"),
        row("a deleted blob exists", "DELETE", format!("/v2/app/blobs/{absent}"), 404).code("BLOB_UNKNOWN"),
        row("a client shows the token", "GET", "/v2/", 401)
            .under(token.clone())
            .header("www-authenticate", "Basic realm=\"oci-store\"")
            .code("UNAUTHORIZED"),
        row("a client shows the right token", "GET", "/v2/app/tags/list", 401)
            .under(token)
            .with("authorization", "Basic b2NpLXN0b3JlOng=")
            .code("UNAUTHORIZED"),
        row("a run serves its own repository", "GET", "/v2/team/other/tags/list", 403)
            .under(one.clone())
            .code("DENIED"),
        row("a run lists no repositories", "GET", "/v2/_catalog", 403).under(one).code("DENIED"),
        row("the host is this one", "GET", "/v2/", 403).with("host", "evil.example.com:5000").code("DENIED"),
        row("a web page is not served", "POST", "/v2/app/blobs/uploads/", 403)
            .with("origin", "http://127.0.0.1:5000")
            .code("DENIED"),
        row("a browser is not served", "GET", "/v2/", 403).with("sec-fetch-site", "none").code("DENIED"),
        row("nothing is begun read-only", "POST", "/v2/app/blobs/uploads/", 405).under(read_only()).code("UNSUPPORTED"),
        row("nothing is deleted read-only", "DELETE", "/v2/app/manifests/v1", 405)
            .under(read_only())
            .code("UNSUPPORTED"),
    ]
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_with_its_code() {
    check(refusals()).await;
}

#[tokio::test]
async fn every_code_of_the_specification_is_used() {
    let mut used: BTreeSet<String> = refusals().into_iter().filter_map(|row| row.code).map(str::to_owned).collect();
    let registry = Registry::empty();
    let mut location = String::new();
    for _ in 0..1000 {
        location = registry.begin("").await;
    }
    let answer = registry.ask("POST", "/v2/app/blobs/uploads/").await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").is_some());
    used.insert(answer.code());
    let answer = registry.send("PATCH", &location, &[("content-range", "5")], Body::from("x")).await;
    assert_eq!(answer.status, 400);
    used.insert(answer.code());
    let expected: BTreeSet<String> = CODES.iter().map(|(code, _)| (*code).to_owned()).collect();
    assert_eq!(used, expected);
}

#[tokio::test]
async fn hostile_paths_are_refused_whatever_the_method() {
    let registry = Registry::filled(open()).await;
    let before = snapshot(&*registry.objects).await;
    let long = "a".repeat(300);
    let hex = "0".repeat(64);
    for path in [
        "/v2/../app/tags/list",
        "/v2/%2e%2e/tags/list",
        "/v2/a/%2e%2e/b/manifests/v1",
        "/v2/a%2fb/manifests/v1",
        "/v2//manifests/v1",
        "/v2/app//manifests/v1",
        "/v2/app%00/manifests/v1",
        "/v2/App/manifests/v1",
        "/v2/app/_layers/manifests/v1",
        "/v2/%C3%A9/manifests/v1",
        "/v2/app/manifests/%2e%2e",
        "/v2/app/manifests/v1%00",
        "/v2/app/manifests/v%C3%A9",
        "/v2/app/blobs/sha256:../../x",
        "/v2/app/blobs/sha256:%2e%2e%2f",
        "/v2/app/blobs/uploads/..%2f..",
        "/v2/app/_uploads/x",
        "/v2/app/referrers/latest",
        "/docker/registry/v2/repositories/app",
        "//v2/app/manifests/v1",
        &format!("/v2/{long}/manifests/v1"),
        &format!("/v2/app/manifests/{long}"),
        &format!("/v2/app/blobs/SHA256:{hex}"),
        &format!("/v2/app/blobs/sha256:{}", "A".repeat(64)),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"] {
            let answer = registry.ask(method, path).await;
            assert!(matches!(answer.status, 400 | 404 | 405), "{method} {path}: {}", answer.status);
        }
    }
    assert!(snapshot(&*registry.objects).await == before, "something was written");
    assert!(registry.journal.failure().is_none());
}

#[tokio::test]
async fn nothing_is_written_where_nothing_may_be() {
    let registry = Registry::filled(read_only()).await;
    let before = snapshot(&*registry.objects).await;
    let elsewhere = sha256(&content().elsewhere);
    for path in [
        "/v2/app/manifests/v1".to_owned(),
        "/v2/app/blobs/uploads/".to_owned(),
        format!("/v2/app/blobs/uploads/?mount={elsewhere}&from=team/other"),
        format!("/v2/app/blobs/{elsewhere}"),
        format!("/v2/app/blobs/{}", content().layer_digest),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let answer = registry.ask(method, &path).await;
            let reads = matches!(method, "GET" | "HEAD");
            assert_eq!(answer.status == 405 && answer.header("allow") == Some("GET, HEAD"), !reads, "{method} {path}");
        }
    }
    assert!(snapshot(&*registry.objects).await == before, "something was written");
}

#[tokio::test]
async fn the_token_opens_every_door() {
    let token = Token::generate();
    let registry = Registry::filled(Access { token: Some(token.clone()), ..open() }).await;
    let shown = format!("{}:{}", token.username(), token.password());
    let encoded: String = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, shown);
    for path in ["/v2/", "/v2/app/manifests/v1", "/v2/_catalog"] {
        assert_eq!(registry.ask("GET", path).await.status, 401);
        let headers = [("authorization", format!("Basic {encoded}"))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(registry.send("GET", path, &headers, Body::empty()).await.status, 200);
    }
    assert_eq!(registry.journal.requests(), 6);
}

#[tokio::test]
async fn a_bucket_that_fails_is_no_absence() {
    for (failure, status, code) in [
        (Failure::Generic, 500, "UNKNOWN"),
        (Failure::PermissionDenied, 500, "UNKNOWN"),
        (Failure::Unauthenticated, 500, "UNKNOWN"),
        (Failure::Busy, 503, "UNAVAILABLE"),
    ] {
        let filled = Registry::filled(open()).await;
        for (method, path) in [
            ("GET", "/v2/app/manifests/v1".to_owned()),
            ("HEAD", "/v2/app/manifests/v1".to_owned()),
            ("HEAD", format!("/v2/app/blobs/{}", content().layer_digest)),
            ("GET", format!("/v2/app/blobs/{}", content().layer_digest)),
            ("GET", "/v2/app/tags/list".to_owned()),
            ("GET", format!("/v2/app/referrers/{}", content().layer_digest)),
            ("POST", format!("/v2/app/blobs/uploads/?mount={}", content().layer_digest)),
            ("POST", format!("/v2/app/blobs/uploads/?digest={}", sha256(b""))),
            ("DELETE", "/v2/app/manifests/v1".to_owned()),
        ] {
            let outage = FaultyStore::new(Arc::clone(&filled.objects) as _, Fault::Outage(0, failure));
            let registry = Registry::over(Arc::clone(&filled.objects), Arc::new(outage), open(), false);
            let answer = registry.ask(method, &path).await;
            assert_eq!(answer.status, status, "{method} {path}");
            assert_eq!(answer.header("retry-after").is_some(), status == 503, "{method} {path}");
            if method != "HEAD" {
                let text = answer.json().to_string();
                assert_eq!(answer.code(), code, "{text}");
                assert!(!text.contains("made up for a test") && !text.contains("SlowDown"), "{text}");
            }
            registry.journal.failed().await;
            assert!(registry.journal.failure().is_some());
        }
    }
}
