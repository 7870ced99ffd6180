//! The preflight against a server that answers as S3 does.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::net::TcpListener;

use super::*;
use crate::backend::Kind;
use crate::backend::cloud::connect_within;
use crate::backend::test_server::{refusal, serve, text};

fn listing() -> Response {
    "<ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
        .into_response()
}

fn is_list(request: &Request) -> bool {
    request.uri().query().is_some_and(|query| query.contains("list-type"))
}

fn config(endpoint: &str) -> S3Config {
    S3Config {
        endpoint: Some(endpoint.to_owned()),
        access_key: Some("AKIATEST".to_owned()),
        secret_key: Some("hunter2".into()),
        session_token: Some("hunter2-token".into()),
        ..S3Config::default()
    }
}

async fn connect_as(config: &S3Config, bucket: &str, intent: Intent) -> Result<Arc<dyn ObjectStore>, Error> {
    let limits = Limits {
        total: Duration::from_secs(10),
        credentials: Duration::from_millis(200),
        request: Duration::from_secs(2),
        retries: 1,
    };
    let settings = Settings::resolve(config, &|_| None)?;
    let opened = connect_within(config, &limits, &settings, bucket, &Path::from("root"), intent).await?;
    Ok(opened.store)
}

async fn connect(endpoint: &str, intent: Intent) -> Result<Arc<dyn ObjectStore>, Error> {
    connect_as(&config(endpoint), "bucket", intent).await
}

#[tokio::test]
async fn a_good_bucket_costs_one_request() {
    let (url, requests) = serve(|_| listing()).await;
    let store = connect(&url, Intent::Write).await.unwrap();
    assert_eq!(format!("{store:?}"), "RoutedStore(AmazonS3(bucket))");
    let requests = requests.lock().unwrap();
    assert_eq!(*requests, ["GET /bucket?list-type=2&prefix=root%2Fdocker%2Fregistry%2Fv2%2F&max-keys=1"]);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let leak = "<StringToSign>hunter2-token</StringToSign>";
    let malformed = "<Region>eu-west-1</Region>";
    let cases = [
        (404, "NoSuchBucket", "", Kind::NotFound, "bucket \"bucket\" at http://127.0.0.1"),
        (403, "InvalidAccessKeyId", "", Kind::Credentials, "AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", leak, Kind::Credentials, "AWS_SECRET_ACCESS_KEY"),
        (400, "ExpiredToken", "", Kind::Credentials, "log in again"),
        (403, "RequestTimeTooSkewed", "", Kind::Credentials, "clock"),
        (400, "AuthorizationHeaderMalformed", malformed, Kind::Usage, "is in region eu-west-1, not in us-east-1"),
        (400, "AuthorizationHeaderMalformed", "", Kind::Credentials, "check AWS_ACCESS_KEY_ID"),
        (400, "InvalidBucketName", "", Kind::Usage, "cannot be the name of a bucket"),
        (503, "SlowDown", "", Kind::Unavailable, "try again"),
        (507, "XMinioStorageFull", "", Kind::NoSpace, "is full"),
        (418, "Teapot", "", Kind::Other, "418 Teapot: Because."),
    ];
    for (status, code, more, kind, expected) in cases {
        let (url, _) = serve(move |_| refusal(status, code, more)).await;
        let error = connect(&url, Intent::Read).await.unwrap_err();
        let text = text(&error);
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(expected), "{text}");
        assert!(text.contains(code), "{text}");
        assert!(!text.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
        assert!(!error.hints().is_empty(), "{text}");
    }
}

#[tokio::test]
async fn a_redirect_names_the_right_region() {
    let answers = [
        (Some("eu-central-1"), "is in region eu-central-1, not in us-east-1", "pass --region eu-central-1"),
        (None, "is somewhere else", "pass the bucket's own region"),
    ];
    for (region, message, hint) in answers {
        let (url, _) = serve(move |_| {
            let mut response = refusal(301, "PermanentRedirect", "");
            if let Some(region) = region {
                response.headers_mut().insert("x-amz-bucket-region", region.parse().unwrap());
            }
            response
        })
        .await;
        let error = connect(&url, Intent::Read).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hints()[0].starts_with(hint), "{:?}", error.hints());
    }
}

#[tokio::test]
async fn the_right_to_list_is_not_demanded_of_a_reader() {
    let probes = [
        ("may read", (404, "NoSuchKey"), None, None),
        ("may perhaps read", (403, "AccessDenied"), None, Some(Kind::Denied)),
        ("no bucket", (404, "NoSuchBucket"), Some(Kind::NotFound), Some(Kind::NotFound)),
        ("ended", (403, "ExpiredToken"), Some(Kind::Credentials), Some(Kind::Credentials)),
    ];
    for (name, (status, code), read, write) in probes {
        let (url, requests) =
            serve(
                move |request| {
                    if is_list(request) { refusal(403, "AccessDenied", "") } else { refusal(status, code, "") }
                },
            )
            .await;
        let kind = |result: Result<_, Error>| result.err().map(|error| error.kind());
        assert_eq!(kind(connect(&url, Intent::Read).await), read, "{name}");
        assert_eq!(requests.lock().unwrap().len(), 2, "{name}");
        let written = connect(&url, Intent::Write).await;
        if let Err(error) = &written
            && error.kind() == Kind::Denied
        {
            assert!(text(error).contains("s3:ListBucket"), "{}", text(error));
        }
        assert_eq!(kind(written), write, "{name}");
    }
}

#[tokio::test]
async fn what_does_not_answer_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = connect(&format!("http://{closed}"), Intent::Read).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(text(&error).contains("refused") && text(&error).contains(&closed.to_string()), "{}", text(&error));

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let limits = Limits { request: Duration::from_millis(50), retries: 0, ..Limits::default() };
    let config = config(&url);
    let settings = || Settings::resolve(&config, &|_| None).unwrap();
    let root = Path::default();
    let error = connect_within(&config, &limits, &settings(), "bucket", &root, Intent::Read).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", text(&error));
    let limits = Limits { total: Duration::from_millis(50), ..Limits::default() };
    let error = connect_within(&config, &limits, &settings(), "bucket", &root, Intent::Read).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", text(&error));

    // TLS to a server that has none.
    let (url, _) = serve(|_| listing()).await;
    let error = connect(&url.replace("http:", "https:"), Intent::Read).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", text(&error));

    let error = connect("http://no-such-host.invalid", Intent::Read).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", text(&error));
}

#[tokio::test]
async fn what_is_not_s3_is_named_as_such() {
    for (status, page) in [(200, "<html>Welcome</html>"), (200, "<html><br>Welcome</html>"), (400, "<html>")] {
        let status = StatusCode::from_u16(status).unwrap();
        let (url, _) = serve(move |_| (status, Html(page)).into_response()).await;
        let error = connect(&url, Intent::Read).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Other);
        assert!(error.hints()[0].contains("--endpoint"), "{}", text(&error));
    }
}

#[tokio::test]
async fn names_that_are_no_bucket_are_refused_before_any_request() {
    let (url, requests) = serve(|_| listing()).await;
    for bucket in ["", "..", "a..b", "a/b", "a b", "a\u{7}", "ü"] {
        let error = connect_as(&config(&url), bucket, Intent::Read).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage, "{bucket:?}");
    }
    assert!(requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn requests_are_signed_unless_told_otherwise() {
    let (url, _) = serve(|request| {
        let signed = request.headers().contains_key(header::AUTHORIZATION);
        let agent = request.headers().get(header::USER_AGENT).unwrap().to_str().unwrap();
        if signed && agent.starts_with("oci-store/") { listing() } else { refusal(403, "InvalidAccessKeyId", "") }
    })
    .await;
    connect(&url, Intent::Read).await.unwrap();
    let anonymous = S3Config { no_sign_request: true, ..config(&url) };
    assert_eq!(connect_as(&anonymous, "bucket", Intent::Read).await.unwrap_err().kind(), Kind::Credentials);
}

#[tokio::test]
async fn a_bad_ca_file_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for path in ["/no/such/file".into(), file.path().to_owned()] {
        let mut config = config("https://localhost");
        config.options.ca_file = Some(path.clone());
        let error = connect_as(&config, "bucket", Intent::Read).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_write_carries_the_storage_class_and_the_encryption() {
    let (url, _) = serve(|request| {
        if request.method() != Method::PUT {
            return listing();
        }
        let value = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let good = value("x-amz-storage-class") == Some("STANDARD_IA")
            && value("x-amz-server-side-encryption") == Some("aws:kms")
            && value("x-amz-server-side-encryption-aws-kms-key-id") == Some("key");
        if good { ([(header::ETAG, "\"1\"")], "").into_response() } else { refusal(400, "BadHeaders", "") }
    })
    .await;
    let config = S3Config {
        storage_class: Some("STANDARD_IA".to_owned()),
        sse_kms_key_id: Some("key".to_owned()),
        ..config(&url)
    };
    let store = connect_as(&config, "bucket", Intent::Write).await.unwrap();
    store.put(&Path::from("a"), "a".into()).await.unwrap();
}

#[tokio::test]
async fn whoever_asks_pays_only_if_told_to() {
    for requester_pays in [false, true] {
        let (url, requests) = serve(move |request| {
            let payer = request.headers().get("x-amz-request-payer").map(|value| value.to_str().unwrap());
            if payer == requester_pays.then_some("requester") { listing() } else { refusal(403, "AccessDenied", "") }
        })
        .await;
        let config = S3Config { requester_pays, ..config(&url) };
        let store = connect_as(&config, "bucket", Intent::Write).await.unwrap();
        // One object is deleted by the one request that every store has.
        store.delete(&Path::from("a")).await.unwrap();
        assert_eq!(requests.lock().unwrap()[1], "DELETE /bucket/a");
    }
}

#[tokio::test]
async fn the_rules_about_unfinished_uploads_are_asked_for() {
    let rule = "<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status><AbortIncompleteMultipartUpload>\
                <DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
                </LifecycleConfiguration>";
    let removed = Leftovers::Removed("a lifecycle rule removes them after 7 days".to_owned());
    for (status, code, expected) in [
        (200, rule, Some(removed)),
        (404, "NoSuchLifecycleConfiguration", None),
        (403, "AccessDenied", Some(Leftovers::Unknown("the store answered 403 AccessDenied: Because.".to_owned()))),
    ] {
        let (url, requests) =
            serve(move |_| if status == 200 { code.into_response() } else { refusal(status, code, "") }).await;
        let config = config(&url);
        let settings = Settings::resolve(&config, &|_| None).unwrap();
        let limits = Limits { retries: 0, ..Limits::default() };
        let found = config.leftovers(&limits, &settings, "bucket", &Path::from("root")).await.unwrap();
        match expected {
            Some(expected) => assert_eq!(found, expected),
            None => assert!(matches!(found, Leftovers::Kept { .. }), "{found:?}"),
        }
        let requests = requests.lock().unwrap();
        let [request] = &requests[..] else { panic!("{requests:?}") };
        assert!(request.starts_with("GET /bucket/?") && request.contains("X-Amz-Signature="), "{request}");
        assert!(request.contains("lifecycle=") && !request.contains("hunter2&"), "{request}");
    }
    let anonymous = S3Config { no_sign_request: true, ..config("http://127.0.0.1:1") };
    let settings = Settings::resolve(&anonymous, &|_| None).unwrap();
    let found = anonymous.leftovers(&Limits::default(), &settings, "bucket", &Path::default()).await.unwrap();
    assert!(matches!(found, Leftovers::Unknown(_)), "{found:?}");
}
