//! The requests of a copy, against a server that answers as S3 does; and copies in parts, on real ones.

use std::sync::Mutex;

use axum::extract::Request as Received;
use axum::response::{IntoResponse, Response};
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::{ObjectMeta, ObjectStoreExt, StaticCredentialProvider};
use storage_layout::ServerCopy;
use storage_layout::test_util::noise;

use super::*;
use crate::backend::http::Pace;
use crate::backend::s3::clients::Clients;
use crate::backend::s3::environment::Settings;
use crate::backend::server_copy::Copies;
use crate::backend::test_server::{self, Requests, refusal, serve};
use crate::backend::{Options, S3Config};

const GIB: u64 = 1024 * MIB;

#[test]
fn the_source_is_named_as_in_a_url() {
    for (key, expected) in [
        ("docker/registry/v2/blobs/sha256/2c/2cf2/data", "b-1/docker/registry/v2/blobs/sha256/2c/2cf2/data"),
        ("a b+c&d=e/ü~-._", "b-1/a%20b%2Bc%26d%3De/%C3%BC~-._"),
    ] {
        let from = SourceObject { bucket: "b-1", key: Path::parse(key).unwrap(), size: 1, e_tag: None };
        assert_eq!(source(&from).unwrap(), expected);
    }
}

#[test]
fn what_is_too_large_for_one_request_is_copied_in_equal_parts() {
    let portions = Portions { whole: 5 * GIB, part: GIB };
    for size in [0, 1, 5 * GIB] {
        assert!(portions.parts(size).is_empty(), "{size}");
    }
    assert_eq!(
        portions.parts(5 * GIB + 1),
        [0..GIB, GIB..2 * GIB, 2 * GIB..3 * GIB, 3 * GIB..4 * GIB, 4 * GIB..5 * GIB, 5 * GIB..5 * GIB + 1]
    );
    assert_eq!(portions.parts(6 * GIB).last(), Some(&(5 * GIB..6 * GIB)));
    let defaults = Portions::default();
    for size in [defaults.whole + 1, 100 * GIB, 5 * 1024 * GIB] {
        let parts = defaults.parts(size);
        assert!(parts.len() <= 10_000 && defaults.part <= 5 * GIB, "{size}: {}", parts.len());
        assert_eq!((parts[0].start, parts.last().unwrap().end), (0, size));
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start), "{size}");
        assert!(parts[1..].iter().rev().skip(1).all(|part| part.end - part.start == parts[0].end), "{size}");
    }
}

const COPIED: &str = "<CopyObjectResult><ETag>&quot;1&quot;</ETag></CopyObjectResult>";

fn config(endpoint: &str) -> S3Config {
    S3Config {
        endpoint: Some(endpoint.to_owned()),
        storage_class: Some("STANDARD_IA".to_owned()),
        sse_kms_key_id: Some("key".to_owned()),
        options: Options { retries: 1, ..Options::default() },
        ..S3Config::default()
    }
}

fn copier(config: &S3Config, bucket: &str, keys: [&str; 2], portions: Portions) -> S3Copier {
    let settings = Settings::resolve(config, &|_| None).unwrap();
    let clients = Clients::new(config, &settings, bucket).unwrap();
    let [key_id, secret_key] = keys.map(str::to_owned);
    let credential = AwsCredential { key_id, secret_key, token: None };
    let credentials: AwsCredentialProvider = Arc::new(StaticCredentialProvider::new(credential));
    let store = clients.build(Pace::Put, "us-east-1", Some(&credentials), None).unwrap();
    S3Copier { portions, ..clients.copier(Arc::new(store)) }
}

/// Copies an object of `size` bytes in parts of 10 at a server that answers so.
async fn copy(
    size: u64,
    stop: &CancellationToken,
    answer: impl Fn(&Received) -> Response + Clone + Send + Sync + 'static,
) -> (Result<bool>, Requests) {
    let (url, requests) = serve(answer).await;
    let target = copier(&config(&url), "bucket", ["AKIATEST", "hunter2"], Portions { whole: 20, part: 10 });
    let service = Copies::new(Arc::new(target), Path::from("to"), "other", Path::from("from +"));
    let from = ObjectMeta {
        location: Path::from("a"),
        last_modified: chrono::DateTime::UNIX_EPOCH,
        size,
        e_tag: Some("\"7\"".to_owned()),
        version: None,
    };
    (service.copy(&from, &Path::from("b"), stop).await, requests)
}

fn value<'a>(request: &'a Received, name: &str) -> Option<&'a str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Returns a parameter of the address, as it is written there.
fn parameter<'a>(request: &'a Received, name: &str) -> Option<&'a str> {
    let parameters = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    parameters.into_iter().find(|(found, _)| *found == name).map(|(_, value)| value)
}

#[tokio::test]
async fn a_copy_says_where_from_and_how_to_keep_it_and_signs_that() {
    let (copied, requests) = copy(20, &CancellationToken::new(), |request| {
        let signed = parameter(request, "X-Amz-SignedHeaders").unwrap();
        let headers = [
            ("x-amz-copy-source", "other/from%20%2B/a"),
            ("x-amz-storage-class", "STANDARD_IA"),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "key"),
        ];
        let good =
            headers.iter().all(|(name, expected)| value(request, name) == Some(expected) && signed.contains(name));
        if good { COPIED.into_response() } else { refusal(500, "BadHeaders", "") }
    })
    .await;
    assert!(copied.unwrap());
    let requests = requests.lock().unwrap();
    assert!(requests.len() == 1 && requests[0].starts_with("PUT /bucket/to/b?"), "{requests:?}");
}

#[tokio::test]
async fn a_success_that_holds_an_error_is_a_failure() {
    for (code, asked) in [("InternalError", 2), ("Whatever", 1)] {
        let (copied, requests) = copy(20, &CancellationToken::new(), move |_| refusal(200, code, "")).await;
        let error = crate::backend::describe(&copied.unwrap_err());
        assert_eq!(error, format!("the store answered 200 {code}: Because."));
        assert_eq!(requests.lock().unwrap().len(), asked, "{code}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_from_a_failure() {
    for (status, code, expected) in [
        (403, "AccessDenied", Some(1)),
        (501, "NotImplemented", Some(1)),
        (400, "InvalidRequest", Some(1)),
        (404, "NoSuchKey", Some(1)),
        (412, "PreconditionFailed", Some(1)),
        (503, "SlowDown", None),
        (507, "XMinioStorageFull", None),
    ] {
        let (copied, requests) = copy(20, &CancellationToken::new(), move |_| refusal(status, code, "")).await;
        match expected {
            Some(asked) => {
                assert!(!copied.unwrap(), "{code}");
                assert_eq!(requests.lock().unwrap().len(), asked, "{code}");
            }
            None => assert!(crate::backend::describe(&copied.unwrap_err()).contains(code)),
        }
    }
}

/// Answers to an upload in parts, and notes the ranges that are copied.
fn in_parts(request: &Received, ranges: &Mutex<Vec<String>>) -> Response {
    match (request.method().as_str(), parameter(request, "partNumber")) {
        ("POST", _) if request.uri().query().is_some_and(|query| query.starts_with("uploads")) => {
            assert_eq!(value(request, "x-amz-storage-class"), Some("STANDARD_IA"));
            assert_eq!(value(request, "x-amz-server-side-encryption"), Some("aws:kms"));
            "<InitiateMultipartUploadResult><Bucket/><Key/><UploadId>up/1</UploadId></InitiateMultipartUploadResult>"
                .into_response()
        }
        ("PUT", Some(number)) => {
            assert_eq!(value(request, "x-amz-copy-source"), Some("other/from%20%2B/a"));
            assert_eq!(value(request, "x-amz-copy-source-if-match"), Some("\"7\""));
            ranges.lock().unwrap().push(format!("{number} {}", value(request, "x-amz-copy-source-range").unwrap()));
            "<CopyPartResult><ETag>&quot;1&quot;</ETag></CopyPartResult>".into_response()
        }
        ("POST", None) => {
            "<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>".into_response()
        }
        ("DELETE", None) => "".into_response(),
        _ => refusal(500, "Unexpected", ""),
    }
}

/// Returns the methods of the requests, each once.
fn methods(requests: &Requests) -> Vec<String> {
    let requests = requests.lock().unwrap();
    let mut methods: Vec<String> = requests.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    methods.dedup();
    methods
}

#[tokio::test]
async fn a_large_object_is_copied_in_parts_of_one_version() {
    let ranges = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ranges);
    let (copied, requests) = copy(25, &CancellationToken::new(), move |request| in_parts(request, &seen)).await;
    assert!(copied.unwrap());
    ranges.lock().unwrap().sort();
    assert_eq!(*ranges.lock().unwrap(), ["1 bytes=0-9", "2 bytes=10-19", "3 bytes=20-24"]);
    assert_eq!(methods(&requests), ["POST", "PUT", "POST"]);
}

#[tokio::test]
async fn an_upload_that_is_not_completed_is_aborted() {
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let (failed, requests) = copy(25, &CancellationToken::new(), |request| match parameter(request, "partNumber") {
        Some("2") => refusal(418, "Teapot", ""),
        _ => in_parts(request, &Mutex::default()),
    })
    .await;
    assert!(crate::backend::describe(&failed.unwrap_err()).contains("418 Teapot"));
    assert_eq!(methods(&requests), ["POST", "PUT", "DELETE"]);

    let (stopped, requests) = copy(25, &stop, move |request| {
        if request.method() == Method::PUT {
            stopping.cancel();
        }
        in_parts(request, &Mutex::default())
    })
    .await;
    assert!(stopped.is_err());
    assert_eq!(methods(&requests), ["POST", "PUT", "DELETE"]);
    assert!(requests.lock().unwrap().last().unwrap().contains("uploadId=up%2F1"), "{requests:?}");
}

async fn parts_are_put_together_on(kind: &str) {
    const PART: usize = 5 * 1024 * 1024;
    let names = ["ENDPOINT", "BUCKET", "ACCESS_KEY", "SECRET_KEY"];
    let Some([endpoint, bucket, key_id, secret_key]) = test_server::service(kind, names) else { return };
    let config = S3Config { endpoint: Some(endpoint), ..S3Config::default() };
    let portions = Portions { whole: PART as u64, part: PART as u64 };
    let target = copier(&config, &bucket, [&key_id, &secret_key], portions);
    let store = Arc::clone(&target.store);
    let name = uuid::Uuid::new_v4().simple().to_string();
    let content = noise(1, 2 * PART + 1);
    let from = Path::from(format!("copy/{name} +/from"));
    let to = Path::from(format!("copy/{name} +/to"));
    store.put(&from, content.clone().into()).await.unwrap();
    let meta = store.head(&from).await.unwrap();
    let service = Copies::new(Arc::new(target), Path::default(), &bucket, Path::default());
    let stop = CancellationToken::new();

    // Another version of the object is not copied in its place, and nothing is left of the attempt.
    let other = ObjectMeta { e_tag: Some("\"0123456789abcdef0123456789abcdef\"".to_owned()), ..meta.clone() };
    assert!(!service.copy(&other, &to, &stop).await.unwrap());
    assert!(matches!(store.head(&to).await, Err(object_store::Error::NotFound { .. })));
    let query = SignedUrlOptions::default().with_query([("uploads", "")]);
    let listing = store.signed_url_opts(Method::GET, &Path::default(), SIGNATURE, &query).await.unwrap();
    let listed = reqwest::Client::builder().no_proxy().build().unwrap().get(listing).send().await.unwrap();
    let listed = listed.text().await.unwrap();
    assert!(listed.contains("<ListMultipartUploadsResult") && !listed.contains(&name), "{listed}");

    assert!(service.copy(&meta, &to, &stop).await.unwrap());
    assert!(store.get(&to).await.unwrap().bytes().await.unwrap() == content, "other bytes");
    for path in [&from, &to] {
        store.delete(path).await.unwrap();
    }
}

#[tokio::test]
async fn parts_are_put_together_on_minio() {
    parts_are_put_together_on("S3").await;
}

#[tokio::test]
async fn parts_are_put_together_on_versitygw() {
    parts_are_put_together_on("VERSITY").await;
}
