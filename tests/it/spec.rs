//! The distribution specification, call by call: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.
//!
//! Most of it is a table: a bucket with one of everything, one request, and what has to come back. What takes several requests
//! is a test of its own.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use oci_store::registry::{Access, Journal, RegistryOptions, Token, router};
use serde_json::{Value, json};
use storage_layout::media_type::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use storage_layout::test_util::{Failure, Fault, FaultyStore, Image, image, noise, snapshot};
use storage_layout::{Algorithm, Digest, Key, MAX_MANIFEST_SIZE, Manifest, Store, StoreOptions, Tag};
use tower::ServiceExt;

/// The codes of the specification with the texts that belong to them. Docker's daemon tries for 50 seconds again when it is
/// told one of these texts.
const CODES: [(&str, &str); 14] = [
    ("BLOB_UNKNOWN", "blob unknown to registry"),
    ("BLOB_UPLOAD_INVALID", "blob upload invalid"),
    ("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
    ("DIGEST_INVALID", "provided digest did not match uploaded content"),
    ("MANIFEST_BLOB_UNKNOWN", "manifest references a manifest or blob unknown to registry"),
    ("MANIFEST_INVALID", "manifest invalid"),
    ("MANIFEST_UNKNOWN", "manifest unknown to registry"),
    ("NAME_INVALID", "invalid repository name"),
    ("NAME_UNKNOWN", "repository name not known to registry"),
    ("SIZE_INVALID", "provided length did not match content length"),
    ("UNAUTHORIZED", "authentication required"),
    ("DENIED", "requested access to the resource is denied"),
    ("UNSUPPORTED", "the operation is unsupported"),
    ("TOOMANYREQUESTS", "too many requests"),
];

fn open() -> Access {
    Access { token: None, port: 5000, repository: None, read_only: false }
}

fn read_only() -> Access {
    Access { read_only: true, ..open() }
}

fn sha256(content: &[u8]) -> Digest {
    Algorithm::Sha256.digest(content)
}

fn manifest_of(document: &Value) -> Manifest {
    Manifest::parse(document.to_string().into(), Algorithm::Sha256, None).expect("it is a manifest")
}

/// What is in the bucket: an image, a sparse index, and a signature in `app`; a blob in `team/other`.
struct Content {
    image: Image,
    layer: Bytes,
    layer_digest: Digest,
    index: Manifest,
    signature: Manifest,
    elsewhere: Bytes,
}

fn content() -> Content {
    let image = image(1, 2, 2000);
    let (descriptor, layer) = image.blobs[1].clone();
    let absent = sha256(b"never pushed");
    let index = manifest_of(&json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": [image.manifest.descriptor(), {"mediaType": OCI_MANIFEST, "digest": absent, "size": 12}],
    }));
    let signature = manifest_of(&json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "test/signature", "layers": [],
        "config": image.blobs[0].0, "subject": image.manifest.descriptor(), "annotations": {"by": "us"},
    }));
    Content { layer_digest: descriptor.digest, layer, index, signature, elsewhere: noise(77, 100), image }
}

/// A registry over such a bucket.
struct Registry {
    objects: Arc<InMemory>,
    journal: Arc<Journal>,
    router: Router,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    /// `Err` when the answer broke off.
    body: Result<Bytes, String>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("our headers are ASCII"))
    }

    fn location(&self) -> &str {
        self.header("location").expect("there is a Location")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_ref().expect("the body is whole")).expect("the body is JSON")
    }

    fn code(&self) -> String {
        self.json()["errors"][0]["code"].as_str().expect("there is a code").to_owned()
    }
}

impl Registry {
    fn over(objects: Arc<InMemory>, store: Arc<dyn ObjectStore>, access: Access, adopt_blobs: bool) -> Self {
        let journal = Arc::new(Journal::default());
        let options = RegistryOptions { access, adopt_blobs, reporter: Arc::new(()), journal: Arc::clone(&journal) };
        Self { objects, journal, router: router(Store::new(store, StoreOptions::default()), options) }
    }

    fn empty() -> Self {
        let objects = Arc::new(InMemory::new());
        Self::over(Arc::clone(&objects), objects, open(), false)
    }

    async fn filled(access: Access) -> Self {
        let objects = Arc::new(InMemory::new());
        let store = Store::new(Arc::clone(&objects) as Arc<dyn ObjectStore>, StoreOptions::default());
        let content = content();
        let app = store.repository(&"app".parse().expect("a name"));
        for (descriptor, bytes) in &content.image.blobs {
            let body = futures::stream::iter([Ok(bytes.clone())]);
            app.put_blob(&descriptor.digest, Some(descriptor.size), body).await.expect("it is stored");
        }
        let tags = ["v1", "v2", "v10"].map(|tag| tag.parse::<Tag>().expect("a tag"));
        app.put_manifest(&content.image.manifest, &tags).await.expect("it is stored");
        app.put_manifest(&content.index, &["all".parse().expect("a tag")]).await.expect("it is stored");
        app.put_manifest(&content.signature, &[]).await.expect("it is stored");
        let other = store.repository(&"team/other".parse().expect("a name"));
        let body = futures::stream::iter([Ok(content.elsewhere.clone())]);
        other.put_blob(&sha256(&content.elsewhere), None, body).await.expect("it is stored");
        // Another handle, which has learnt nothing of what it finds.
        Self::over(Arc::clone(&objects), objects, access, false)
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:5000");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).expect("it is a request");
        let response = self.router.clone().oneshot(request).await.expect("a router always answers");
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| error.to_string());
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, &[], Body::empty()).await
    }

    async fn begin(&self, query: &str) -> String {
        let answer = self.ask("POST", &format!("/v2/app/blobs/uploads/{query}")).await;
        assert_eq!(answer.status, 202);
        answer.location().to_owned()
    }
}

/// One call of the table.
struct Row {
    fact: &'static str,
    method: &'static str,
    path: String,
    access: Access,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    status: u16,
    answers: Vec<(&'static str, Option<String>)>,
    content: Option<Bytes>,
    code: Option<&'static str>,
}

fn row(fact: &'static str, method: &'static str, path: impl Into<String>, status: u16) -> Row {
    let (path, body) = (path.into(), Bytes::new());
    let (headers, answers, content, code) = (Vec::new(), Vec::new(), None, None);
    Row { fact, method, path, access: open(), headers, body, status, answers, content, code }
}

impl Row {
    fn under(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn sending(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.with("content-length", length)
    }

    #[expect(clippy::needless_pass_by_value, reason = "texts, numbers and digests are written alike")]
    fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.answers.push((name, Some(value.to_string())));
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.answers.push((name, None));
        self
    }

    fn content(mut self, content: impl Into<Bytes>) -> Self {
        self.content = Some(content.into());
        self
    }

    fn json(self, document: &Value) -> Self {
        self.content(document.to_string())
    }

    fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    async fn check(self) {
        let registry = Registry::filled(self.access).await;
        let headers: Vec<(&str, &str)> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = registry.send(self.method, &self.path, &headers, Body::from(self.body)).await;
        let fact = self.fact;
        assert_eq!(answer.status, self.status, "{fact}: {answer:?}");
        for (name, expected) in &self.answers {
            assert_eq!(answer.header(name), expected.as_deref(), "{fact}: {name}");
        }
        if let Some(content) = self.content {
            assert_eq!(answer.body.as_ref().expect("the body is whole"), &content, "{fact}");
        }
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"), "{fact}");
        assert_eq!(answer.header("content-encoding"), None, "{fact}");
        let Some(code) = self.code else {
            assert!(
                answer.status < 400 || self.method == "HEAD" || answer.status == 416,
                "{fact}: no code is expected"
            );
            return;
        };
        assert_eq!(answer.header("content-type"), Some("application/json"), "{fact}");
        assert_eq!(answer.code(), code, "{fact}");
        let document = answer.json();
        let message = document["errors"][0]["message"].as_str().expect("there is a message");
        assert!(!message.is_empty() && CODES.iter().all(|(_, stock)| *stock != message), "{fact}: {message}");
    }
}

async fn check(rows: impl IntoIterator<Item = Row>) {
    for row in rows {
        row.check().await;
    }
}

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
async fn blobs_are_read() {
    let Content { layer, layer_digest, elsewhere, .. } = content();
    let blob = format!("/v2/app/blobs/{layer_digest}");
    let part = |fact, range: &str, from: usize, to: usize| {
        row(fact, "GET", &blob, 206)
            .with("range", range)
            .header("content-range", format!("bytes {from}-{}/2000", to - 1))
            .header("content-length", to - from)
            .content(layer.slice(from..to))
    };
    let whole = |fact, range: &str| {
        row(fact, "GET", &blob, 200).with("range", range).without("content-range").content(layer.clone())
    };
    let beyond =
        |fact, range: &str| row(fact, "GET", &blob, 416).with("range", range).header("content-range", "bytes */2000");
    check([
        row("a blob is sent whole", "GET", &blob, 200)
            .header("content-type", "application/octet-stream")
            .header("content-length", 2000)
            .header("accept-ranges", "bytes")
            .header("docker-content-digest", &layer_digest)
            .content(layer.clone()),
        row("HEAD of a blob has its length", "HEAD", &blob, 200)
            .header("content-length", 2000)
            .header("docker-content-digest", &layer_digest)
            .content(""),
        row("a digest may be percent-encoded", "HEAD", blob.replace(':', "%3A"), 200),
        row(
            "HEAD of a blob of another repository is 404",
            "HEAD",
            format!("/v2/app/blobs/{}", sha256(&elsewhere)),
            404,
        ),
        part("a part is sent", "bytes=500-1499", 500, 1500),
        part("a download goes on where it stopped", "bytes=500-", 500, 2000),
        part("the end is sent", "bytes=-500", 1500, 2000),
        part("a part ends with the blob", "bytes=1000-5000", 1000, 2000),
        part("the part is the whole", "bytes=0-", 0, 2000),
        part("the part is one byte", "bytes=0-0", 0, 1),
        part("a part of the same blob is sent", "bytes=1-2", 1, 3).with("if-range", format!("\"{layer_digest}\"")),
        whole("several ranges mean the whole", "bytes=0-1,5-6"),
        whole("a unit that is not known means the whole", "lines=0-1"),
        whole("junk means the whole", "bytes=x"),
        whole("a part of another blob means the whole", "bytes=1-2").with("if-range", "\"x\""),
        beyond("a part behind the end is refused", "bytes=2000-"),
        beyond("a part that ends before it begins is refused", "bytes=500-0"),
        beyond("a part of no bytes is refused", "bytes=-0"),
    ])
    .await;
}

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
async fn a_blob_is_pushed_in_every_way() {
    let blob = noise(5, 3000);
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        let digest = algorithm.digest(&blob);
        let hint = format!("?digest-algorithm={algorithm}");
        let put = format!("?digest={digest}");
        for way in ["at once", "put", "chunks", "chunks and put", "stream"] {
            let registry = Registry::empty();
            let chunk = |from: usize, to: usize| (format!("{from}-{}", to - 1), Body::from(blob.slice(from..to)));
            let mut answer = match way {
                "at once" => {
                    let path = format!("/v2/app/blobs/uploads/{put}");
                    registry.send("POST", &path, &[("content-length", "3000")], Body::from(blob.clone())).await
                }
                "put" => {
                    let path = registry.begin(&hint).await + &put;
                    registry.send("PUT", &path, &[("content-length", "3000")], Body::from(blob.clone())).await
                }
                "stream" => {
                    let path = registry.begin(&hint).await;
                    let pieces: Vec<io::Result<Bytes>> =
                        blob.chunks(700).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
                    let body = Body::from_stream(futures::stream::iter(pieces));
                    registry.send("PATCH", &path, &[], body).await
                }
                _ => {
                    let path = registry.begin(&hint).await;
                    let (range, body) = chunk(0, 1000);
                    let answer = registry.send("PATCH", &path, &[("content-range", &range)], body).await;
                    assert_eq!((answer.status, answer.header("range")), (202, Some("0-999")), "{way}");
                    let (range, body) = chunk(1000, 3000);
                    let last = [("content-range", range.as_str()), ("content-length", "2000")];
                    if way == "chunks" {
                        registry.send("PATCH", answer.location(), &last, body).await
                    } else {
                        registry.send("PUT", &(answer.location().to_owned() + &put), &last, body).await
                    }
                }
            };
            if answer.status == 202 {
                // Docker takes the layer's size from this header, so there is no unit in it.
                assert_eq!(answer.header("range"), Some("0-2999"), "{way}");
                assert!(answer.header("docker-upload-uuid").is_some_and(|id| answer.location().ends_with(id)));
                answer = registry.ask("PUT", &(answer.location().to_owned() + &put)).await;
            }
            assert_eq!(answer.status, 201, "{way}: {answer:?}");
            assert_eq!(answer.location(), format!("/v2/app/blobs/{digest}"), "{way}");
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()), "{way}");
            assert_eq!(registry.ask("GET", answer.location()).await.body, Ok(blob.clone()), "{way}");
            assert_eq!(registry.journal.sent(), [digest.clone()].into(), "{way}");
            assert_eq!(registry.journal.bytes_sent(), 3000, "{way}");
        }
    }
}

#[tokio::test]
async fn the_empty_blob_is_pushed() {
    let nothing = sha256(b"");
    for patch in [false, true] {
        let registry = Registry::empty();
        let location = registry.begin("").await;
        if patch {
            assert_eq!(registry.ask("PATCH", &location).await.header("range"), Some("0-0"));
        }
        let answer = registry.ask("PUT", &format!("{location}?digest={nothing}")).await;
        assert_eq!(answer.status, 201);
        let answer = registry.ask("GET", answer.location()).await;
        assert_eq!((answer.status, answer.header("content-length")), (200, Some("0")));
        assert_eq!(answer.body, Ok(Bytes::new()));
    }
}

#[tokio::test]
async fn an_upload_is_never_created_by_a_post_that_names_nothing() {
    // 201 crashes Docker's daemon, or makes it lose the blob.
    let registry = Registry::filled(open()).await;
    let present = content().layer_digest;
    for query in ["", "?digest-algorithm=sha256", "?from=team/other", &format!("?digest={present}")] {
        let path = format!("/v2/app/blobs/uploads/{query}");
        let answer = registry.send("POST", &path, &[("content-length", "0")], Body::empty());
        assert_eq!(answer.await.status, 202, "{query}");
    }
}

#[tokio::test]
async fn a_chunk_out_of_order_is_refused_and_the_upload_goes_on() {
    let (registry, blob) = (Registry::empty(), noise(6, 300));
    let location = registry.begin("").await;
    let send = async |method: &str, path: &str, from: usize, to: usize| {
        let range = format!("{from}-{}", to - 1);
        registry.send(method, path, &[("content-range", &range)], Body::from(blob.slice(from..to))).await
    };
    let put = format!("{location}?digest={}", sha256(&blob));
    assert_eq!(send("PATCH", &location, 0, 100).await.status, 202);
    for (method, path, from) in [("PATCH", &location, 200), ("PATCH", &location, 0), ("PUT", &put, 200)] {
        let answer = send(method, path, from, 300).await;
        assert_eq!((answer.status, answer.header("range")), (416, Some("0-99")));
        let answer = registry.ask("GET", answer.location()).await;
        assert_eq!((answer.status, answer.header("range"), answer.location()), (204, Some("0-99"), location.as_str()));
    }
    let disagreeing = [("content-range", "100-199"), ("content-length", "7")];
    assert_eq!(registry.send("PATCH", &location, &disagreeing, Body::from("content")).await.code(), "SIZE_INVALID");
    assert_eq!(send("PATCH", &location, 100, 200).await.status, 202);
    assert_eq!(send("PUT", &put, 200, 300).await.status, 201);
}

#[tokio::test]
async fn content_with_another_digest_is_never_seen() {
    let wrong = sha256(b"promised");
    for patch in [false, true] {
        let registry = Registry::empty();
        let location = registry.begin("").await;
        let mut body = Body::from("sent");
        if patch {
            assert_eq!(registry.send("PATCH", &location, &[], std::mem::take(&mut body)).await.status, 202);
        }
        let answer = registry.send("PUT", &format!("{location}?digest={wrong}"), &[], body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
        assert_eq!(registry.ask("PUT", &format!("{location}?digest={wrong}")).await.status, 404);
        assert!(snapshot(&*registry.objects).await.is_empty());
        assert!(registry.journal.sent().is_empty() && registry.journal.failure().is_none());
    }
}

#[tokio::test]
async fn an_upload_ends_with_a_digest() {
    let registry = Registry::empty();
    let location = registry.begin("").await;
    for query in ["", "?digest=", "?digest=sha256:x"] {
        assert_eq!(registry.ask("PUT", &format!("{location}{query}")).await.code(), "DIGEST_INVALID");
    }
    assert_eq!(registry.ask("GET", &location).await.status, 204);
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_the_upload() {
    let blob = b"begun";
    for method in ["PATCH", "PUT"] {
        let registry = Registry::empty();
        let location = registry.begin("").await;
        let broken = futures::stream::iter([Ok(Bytes::from_static(blob)), Err(io::Error::other("unexpected EOF"))]);
        let path = format!("{location}?digest={}", sha256(blob));
        let answer = registry.send(method, &path, &[], Body::from_stream(broken)).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "BLOB_UPLOAD_INVALID"));
        assert_eq!(registry.ask("GET", &location).await.status, 404, "{method}");
        assert!(snapshot(&*registry.objects).await.is_empty());
        assert!(registry.journal.failure().is_none(), "the client failed, not the bucket");
    }
}

#[tokio::test]
async fn two_requests_never_write_to_one_upload() {
    let registry = Registry::empty();
    let location = registry.begin("").await;
    let request = Request::builder().method("PATCH").uri(&location).header("host", "127.0.0.1:5000");
    let first = futures::stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"a"))]).chain(futures::stream::pending());
    let request = request.body(Body::from_stream(first)).expect("it is a request");
    let slow = tokio::spawn(registry.router.clone().oneshot(request));
    tokio::task::yield_now().await;
    for method in ["PATCH", "GET"] {
        let answer = registry.send(method, &location, &[], Body::from("b")).await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "BLOB_UPLOAD_INVALID"));
    }
    // The client goes away.
    slow.abort();
    assert!(slow.await.is_err());
    assert_eq!(registry.ask("GET", &location).await.status, 404);
}

#[tokio::test]
async fn an_upload_is_cancelled() {
    let registry = Registry::empty();
    let location = registry.begin("").await;
    assert_eq!(registry.ask("DELETE", &location).await.status, 204);
    for method in ["GET", "PATCH", "DELETE"] {
        assert_eq!(registry.ask(method, &location).await.code(), "BLOB_UPLOAD_UNKNOWN");
    }
}

#[tokio::test]
async fn a_blob_is_mounted() {
    let digest = sha256(&content().elsewhere);
    let one = Access { repository: Some("app".parse().expect("a name")), ..open() };
    for (access, from) in [
        (open(), "&from=team/other"),
        (open(), "&from=app"),
        (open(), "&from=No"),
        (open(), ""),
        (one.clone(), "&from=old/name"),
    ] {
        let registry = Registry::filled(access).await;
        let answer = registry.ask("POST", &format!("/v2/app/blobs/uploads/?mount={digest}{from}")).await;
        assert_eq!((answer.status, answer.location()), (201, format!("/v2/app/blobs/{digest}").as_str()), "{from}");
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        assert_eq!(registry.ask("GET", answer.location()).await.body, Ok(content().elsewhere), "{from}");
    }
    let registry = Registry::filled(open()).await;
    let absent = sha256(b"never pushed");
    let answer = registry.ask("POST", &format!("/v2/app/blobs/uploads/?mount={absent}&from=app")).await;
    assert_eq!(answer.status, 202, "what cannot be mounted is uploaded");
    let path = format!("{}?digest={absent}", answer.location());
    let answer = registry.send("PUT", &path, &[], Body::from("never pushed"));
    assert_eq!(answer.await.status, 201);
}

#[tokio::test]
async fn a_blob_that_is_elsewhere_is_adopted_where_that_is_wanted() {
    let (digest, filled) = (sha256(&content().elsewhere), Registry::filled(open()).await);
    let path = format!("/v2/app/blobs/{digest}");
    for (access, adopt, status) in [(open(), false, 404), (read_only(), true, 404), (open(), true, 200)] {
        let registry = Registry::over(Arc::clone(&filled.objects), Arc::clone(&filled.objects) as _, access, adopt);
        let answer = registry.ask("HEAD", &path).await;
        assert_eq!(answer.status, status);
        assert_eq!(registry.ask("GET", &path).await.status, status, "what was answered for is there");
    }
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
    for failure in [Failure::Generic, Failure::PermissionDenied, Failure::Unauthenticated] {
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
            assert_eq!(answer.status, 500, "{method} {path}");
            if method != "HEAD" {
                let text = answer.json().to_string();
                assert!(text.contains("UNKNOWN") && !text.contains("made up for a test"), "{text}");
            }
            registry.journal.failed().await;
            assert!(registry.journal.failure().is_some());
        }
    }
}

#[tokio::test]
async fn a_damaged_blob_breaks_off_and_is_mended_by_the_next_push() {
    let Content { layer, layer_digest, .. } = content();
    let path = format!("/v2/app/blobs/{layer_digest}");
    let key = Key::BlobData(layer_digest.clone()).path();
    let mut flipped = layer.to_vec();
    flipped[1999] ^= 1;
    for (damaged, head) in [(Bytes::from(flipped), 200), (layer.slice(..1000), 404), (Bytes::new(), 404)] {
        let registry = Registry::filled(open()).await;
        registry.objects.put(&key, damaged.clone().into()).await.expect("memory takes everything");
        assert_eq!(registry.ask("HEAD", &path).await.status, head, "{} bytes", damaged.len());
        let answer = registry.ask("GET", &path).await;
        if answer.status == 200 {
            assert!(answer.body.is_err(), "damaged bytes came to their end");
            registry.journal.failed().await;
            assert!(registry.journal.failure().expect("it is noted").to_string().contains("damaged"));
        }
        let location = registry.begin("").await;
        let put = format!("{location}?digest={layer_digest}");
        let answer = registry.send("PUT", &put, &[], Body::from(layer.clone()));
        assert_eq!(answer.await.status, 201);
        assert_eq!(registry.ask("GET", &path).await.body, Ok(layer.clone()));
    }
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
