//! Between two buckets of one service blobs are copied by the service: no byte of them comes through here.

use std::process::Command;

use axum::http::StatusCode;
use hyper::Request;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::HttpRequestBody;

use crate::support::azure::Azure;
use crate::support::google;
use crate::support::image::docker_save;
use crate::support::relay::Relay;
use crate::support::run::{Ran, oci_store, run};
use crate::support::s3::S3;
use crate::support::unique;

/// The layers' sizes: one of each kind of upload.
const LAYERS: [usize; 2] = [5000, 9_000_000];

/// A service with two buckets, behind a relay.
struct Service {
    relay: Relay,
    scheme: &'static str,
    buckets: [String; 2],
    configure: Box<dyn Fn(&mut Command)>,
    folder: tempfile::TempDir,
}

impl Service {
    fn new(relay: Relay, scheme: &'static str, buckets: [String; 2], configure: Box<dyn Fn(&mut Command)>) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let archive = docker_save("app:v1", &buckets[1], &LAYERS);
        std::fs::write(folder.path().join("app.tar"), archive).expect("a file can be written");
        Self { relay, scheme, buckets, configure, folder }
    }

    async fn s3(s3: Option<S3>, refused: Option<StatusCode>) -> Option<Self> {
        let s3 = s3?;
        let other = unique("other");
        s3.make_bucket(&other);
        let relay = Relay::start(&s3.endpoint, refused).await;
        let (buckets, url) = ([s3.bucket.clone(), other], relay.url.clone());
        let configure = move |command: &mut Command| {
            // What a URL or a header cannot hold as it is.
            let root = format!("{}/a +%ü", s3.root);
            s3.configure(command).env("AWS_ENDPOINT_URL", &url).env("OCI_STORE_ROOT_DIR", root);
        };
        Some(Self::new(relay, "s3", buckets, Box::new(configure)))
    }

    async fn azure() -> Option<Self> {
        let mut azure = Azure::get()?;
        let other = unique("other");
        make_container(&azure, &other).await;
        let account = format!("/{}", azure.account);
        let relay =
            Relay::start(azure.endpoint.strip_suffix(&account).expect("the account is in the path"), None).await;
        azure.endpoint = format!("{}{account}", relay.url);
        let buckets = [azure.container.clone(), other];
        let configure = move |command: &mut Command| {
            azure.configure(command);
        };
        Some(Self::new(relay, "az", buckets, Box::new(configure)))
    }

    async fn google() -> Self {
        let relay = Relay::start(&google::start().await, None).await;
        let url = relay.url.clone();
        let configure = move |command: &mut Command| {
            // The cache is for what comes here.
            command
                .env("STORAGE_EMULATOR_HOST", &url)
                .env("OCI_STORE_ROOT_DIR", "team")
                .env("OCI_STORE_CACHE", "cache");
        };
        Self::new(relay, "gs", [google::BUCKET, "other"].map(str::to_owned), Box::new(configure))
    }

    fn run(&self, line: &str) -> Ran {
        let mut command = oci_store();
        (self.configure)(&mut command);
        run(command.current_dir(self.folder.path()).args(line.split(' ')))
    }

    /// Fills the first bucket and returns the image in it, and its place in the other one.
    fn filled(&self) -> [String; 2] {
        let [source, target] = [0, 1].map(|side| format!("{}://{}/app:v1", self.scheme, self.buckets[side]));
        self.run(&format!("copy docker-archive:app.tar {source}")).line();
        self.relay.seen();
        [source, target]
    }

    fn statuses(&self, line: &str) -> (Vec<String>, u64) {
        let document: serde_json::Value = serde_json::from_str(self.run(line).line()).expect("one document");
        let blobs = document["blobs"].as_array().expect("an array");
        let status = |blob: &serde_json::Value| blob["status"].as_str().expect("a text").to_owned();
        (blobs.iter().map(status).collect(), document["bytesSent"].as_u64().expect("a number"))
    }
}

async fn make_container(azure: &Azure, name: &str) {
    let url = format!("{}/{name}?restype=container", azure.endpoint);
    let mut request = Request::put(&url).body(HttpRequestBody::empty()).expect("a request");
    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(&azure.key).expect("a key"));
    AzureAuthorizer::new(&credential, &azure.account).try_authorize(&mut request).expect("it can be signed");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be made");
    let made = client.put(url).headers(request.headers().clone()).header("Content-Length", 0).send().await;
    assert_eq!(made.expect("the server answers").status(), StatusCode::CREATED);
}

fn nothing_travels(service: Option<Service>) {
    let Some(service) = service else { return };
    let [source, target] = service.filled();
    let copy = format!("copy {source} {target} --format json");
    let expected = ["sent", "copied", "copied"];
    let (told, would_send) = service.statuses(&format!("{copy} --dry-run"));
    assert_eq!(told, expected);
    assert!(service.relay.seen().iter().all(|seen| seen.line.starts_with("GET ") || seen.line.starts_with("HEAD ")));

    let (statuses, sent) = service.statuses(&copy);
    assert_eq!((statuses, sent), (told, would_send));
    let seen = service.relay.seen();
    assert!(seen.iter().filter(|seen| seen.is_copy).count() >= LAYERS.len(), "{seen:#?}");
    let bytes: usize = seen.iter().map(|seen| seen.bytes).sum();
    assert!(bytes < 100_000, "{bytes} bytes travelled for {LAYERS:?}: {seen:#?}");
    assert!((1..10_000).contains(&sent), "{sent}");

    // Reading it verifies every digest.
    let read = service.run(&format!("copy {target} oci:back"));
    assert_eq!(read.digest(), service.run(&format!("copy {source} oci:same")).digest());
    let (again, sent) = service.statuses(&copy);
    assert_eq!((again, sent), (vec!["exists".to_owned(); 3], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_buckets_of_minio_nothing_travels() {
    nothing_travels(Service::s3(S3::get(), None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_buckets_of_versitygw_nothing_travels() {
    nothing_travels(Service::s3(S3::versity(), None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_containers_of_an_azure_account_nothing_travels() {
    nothing_travels(Service::azure().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn between_two_buckets_of_googles_nothing_travels() {
    nothing_travels(Some(Service::google().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_copy_is_asked_once_and_has_the_blobs_sent() {
    for refused in [StatusCode::NOT_IMPLEMENTED, StatusCode::FORBIDDEN] {
        let Some(service) = Service::s3(S3::get(), Some(refused)).await else { return };
        let [source, target] = service.filled();
        let second = docker_save("app:v2", "second", &LAYERS);
        std::fs::write(service.folder.path().join("second.tar"), second).unwrap();
        let [all, all_there] = [&source, &target].map(|place| place.trim_end_matches(":v1"));
        service.run(&format!("copy docker-archive:second.tar {all}:v2")).line();
        service.relay.seen();
        let copied = service.run(&format!("copy --all-tags {all} {all_there} -j 1 -v"));
        assert!(copied.stderr.contains("the store does not copy between its buckets"), "{copied:#?}");
        assert!(!copied.stderr.contains("copied by the store"), "{copied:#?}");
        let seen = service.relay.seen();
        assert_eq!(seen.iter().filter(|seen| seen.is_copy).count(), 1, "{seen:#?}");
        for tag in ["v1", "v2"] {
            let [read, whole] = [all_there, all].map(|place| service.run(&format!("copy {place}:{tag} oci:{tag}")));
            assert_eq!(read.digest(), whole.digest());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_is_told_and_leaves_nothing_to_be_seen() {
    let Some(service) = Service::s3(S3::get(), Some(StatusCode::SERVICE_UNAVAILABLE)).await else { return };
    let [source, target] = service.filled();
    let failed = service.run(&format!("copy {source} {target} --retries 1"));
    failed.failed(14, "the store answered 503 Refused: No.");
    let copies = service.relay.seen().iter().filter(|seen| seen.is_copy).count();
    assert!((2..=4).contains(&copies), "{copies} copies for two layers that are tried twice");
    service.run(&format!("manifest {target}")).failed(10, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_not_there_is_missed_in_the_source() {
    let service = Service::google().await;
    let [source, target] = service.filled();
    let manifest: serde_json::Value = serde_json::from_str(&service.run(&format!("manifest {source}")).stdout).unwrap();
    let digest = manifest["layers"][1]["digest"].as_str().unwrap();
    let hex = digest.strip_prefix("sha256:").unwrap();
    let key = format!("team/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    let store = google::store(&service.relay.url);
    object_store::ObjectStoreExt::delete(&store, &key.as_str().into()).await.unwrap();
    let failed = service.run(&format!("copy {source} {target}"));
    failed.failed(13, &format!("the image is not whole: it names {digest}"));
    service.run(&format!("manifest {target}")).failed(10, "");
}
