//! The distribution specification, call by call: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>.
//!
//! Most of it is a table: a bucket with one of everything, one request, and what has to come back. What takes several requests
//! is a test of its own. Here are the bucket and the table's rows; the tests are by subject.

mod blobs;
mod listing;
mod manifests;
mod refusals;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use oci_store::registry::{Access, Journal, RegistryOptions, router};
use serde_json::{Value, json};
use storage_layout::media_type::{OCI_INDEX, OCI_MANIFEST};
use storage_layout::test_util::{Image, image, noise};
use storage_layout::{Algorithm, Digest, Manifest, Store, StoreOptions, Tag};
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
        let (passes, reporter) = (oci_store::backend::passes, Arc::new(()));
        let options = RegistryOptions { access, adopt_blobs, passes, reporter, journal: Arc::clone(&journal) };
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
