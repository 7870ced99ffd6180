//! The preflight and the credentials against a server that answers as Google does.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use object_store::{ObjectStore, ObjectStoreExt};

use super::environment::Identity;
use super::*;
use crate::backend::cloud::connect_within;
use crate::backend::test_server::{json, refusal, serve, silent, text};

const TOKEN: &str = r#"{"access_token": "hunter2", "expires_in": 3600, "token_type": "Bearer"}"#;

type Env<'a> = &'a [(&'a str, &'a str)];

fn listing() -> Response {
    "<ListBucketResult><Name>bucket</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
        .into_response()
}

fn is_list(request: &Request) -> bool {
    request.uri().query().is_some_and(|query| query.contains("list-type"))
}

fn is_signed(request: &Request) -> bool {
    request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer hunter2")
}

fn limits() -> Limits {
    Limits {
        total: Duration::from_secs(10),
        credentials: Duration::from_secs(2),
        request: Duration::from_secs(2),
        retries: 0,
    }
}

fn config(endpoint: &str) -> GcsConfig {
    GcsConfig { endpoint: Some(endpoint.to_owned()), ..GcsConfig::default() }
}

async fn connect_as(
    config: &GcsConfig,
    env: &[(&str, &str)],
    limits: &Limits,
    intent: Intent,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let settings = Settings::resolve(config, &lookup)?;
    Ok(connect_within(config, limits, &settings, "bucket", &Path::from("root"), intent).await?.store)
}

async fn connect(endpoint: &str, intent: Intent) -> Result<Arc<dyn ObjectStore>, Error> {
    connect_as(&config(endpoint), &[], &limits(), intent).await
}

fn keyfile(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[tokio::test]
async fn a_good_bucket_costs_one_request_and_an_emulator_gets_no_token() {
    let (url, requests) = serve(|request| {
        // What is written carries a word that is no token.
        let sent = request.headers().get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        match (request.method().as_str(), sent.as_deref()) {
            ("GET", None) => listing(),
            ("PUT", Some("Bearer anonymous")) => ([("etag", "\"1\""), ("x-goog-generation", "1")], "").into_response(),
            _ => refusal(400, "InvalidArgument", ""),
        }
    })
    .await;
    // The environment's credentials are for Google, not for whoever listens there.
    let env = [("STORAGE_EMULATOR_HOST", url.trim_start_matches("http://")), ("GOOGLE_APPLICATION_CREDENTIALS", "/no")];
    let store = connect_as(&GcsConfig::default(), &env, &limits(), Intent::Write).await.unwrap();
    let first = "GET /bucket?list-type=2&prefix=root%2Fdocker%2Fregistry%2Fv2%2F&max-keys=1";
    assert_eq!(*requests.lock().unwrap(), [first]);
    store.put(&Path::from("a"), "a".into()).await.unwrap();
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let cases = [
        (404, "NoSuchBucket", Kind::NotFound, "bucket \"bucket\" at http://127.0.0.1"),
        (401, "AuthenticationRequired", Kind::Credentials, "gcloud auth application-default login"),
        (403, "AccessDenied", Kind::Denied, "roles/storage.objectUser"),
        (403, "UserProjectAccessDenied", Kind::Denied, "serviceUsageConsumer"),
        (400, "UserProjectMissing", Kind::Denied, "--project-id"),
        (403, "AccountProblem", Kind::Denied, "billing"),
        (503, "ServiceUnavailable", Kind::Unavailable, "try again"),
        (418, "Teapot", Kind::Other, "418 Teapot: Because."),
    ];
    for (status, code, kind, expected) in cases {
        let (url, _) = serve(move |_| refusal(status, code, "")).await;
        let error = connect(&url, Intent::Write).await.unwrap_err();
        let text = text(&error);
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(expected) && text.contains(code), "{text}");
    }
    let (url, _) = serve(|_| Html("<html>Welcome</html>").into_response()).await;
    assert!(
        text(&connect(&url, Intent::Read).await.unwrap_err()).contains("did not answer as Google Cloud Storage does")
    );
}

#[tokio::test]
async fn the_right_to_list_is_not_demanded_of_a_reader() {
    for ((status, code), read, write) in [
        ((404, "NoSuchKey"), None, None),
        ((403, "AccessDenied"), None, Some(Kind::Denied)),
        ((404, "NoSuchBucket"), Some(Kind::NotFound), Some(Kind::NotFound)),
    ] {
        let (url, _) =
            serve(
                move |request| {
                    if is_list(request) { refusal(403, "AccessDenied", "") } else { refusal(status, code, "") }
                },
            )
            .await;
        let kind = |result: Result<_, Error>| result.err().map(|error| error.kind());
        assert_eq!(kind(connect(&url, Intent::Read).await), read, "{code}");
        assert_eq!(kind(connect(&url, Intent::Write).await), write, "{code}");
    }
}

#[tokio::test]
async fn what_does_not_answer_is_unavailable() {
    let (url, _listener) = silent().await;
    for limits in [
        Limits { request: Duration::from_millis(50), ..limits() },
        Limits { total: Duration::from_millis(50), ..limits() },
    ] {
        let error = connect_as(&config(&url), &[], &limits, Intent::Read).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{}", text(&error));
    }
}

#[tokio::test]
async fn the_project_is_billed_when_asked_for_and_else_only_where_it_must_be() {
    let (url, requests) = serve(|request| {
        let project = request.headers().get(QUOTA_PROJECT).map(|value| value.to_str().unwrap());
        if project == Some("mine") { listing() } else { refusal(400, "UserProjectMissing", "") }
    })
    .await;
    let asked = GcsConfig { project_id: Some("mine".to_owned()), ..config(&url) };
    connect_as(&asked, &[], &limits(), Intent::Read).await.unwrap();
    assert_eq!(requests.lock().unwrap().len(), 1);
    connect_as(&config(&url), &[("GOOGLE_CLOUD_PROJECT", "mine")], &limits(), Intent::Read).await.unwrap();
    assert_eq!(requests.lock().unwrap().len(), 3);
    let error = connect_as(&config(&url), &[("GOOGLE_CLOUD_PROJECT", "other")], &limits(), Intent::Read).await;
    assert_eq!(error.unwrap_err().kind(), Kind::Denied);
    let bad = GcsConfig { project_id: Some("a\nb".to_owned()), ..config(&url) };
    assert_eq!(connect_as(&bad, &[], &limits(), Intent::Read).await.unwrap_err().kind(), Kind::Usage);
}

#[tokio::test]
async fn credentials_are_looked_for_in_order() {
    let file = keyfile(r#"{"type": "authorized_user", "quota_project_id": "billed"}"#);
    let path = file.path().display().to_string();
    let home = tempfile::tempdir().unwrap();
    let gcloud = home.path().join(".config/gcloud");
    std::fs::create_dir_all(&gcloud).unwrap();
    let well_known = gcloud.join("application_default_credentials.json");
    std::fs::write(&well_known, r#"{"type": "external_account"}"#).unwrap();
    let (home, gcloud) = (home.path().display().to_string(), gcloud.display().to_string());
    let flag = GcsConfig { keyfile: Some(file.path().to_owned()), ..GcsConfig::default() };
    let none = GcsConfig::default();
    let cases: [(&GcsConfig, Env<'_>, &str); 8] = [
        (&flag, &[("GOOGLE_APPLICATION_CREDENTIALS", "/no"), ("HOME", &home)], "authorized_user"),
        (&none, &[("GOOGLE_APPLICATION_CREDENTIALS", &path), ("HOME", &home)], "authorized_user"),
        // As the Go tool has it.
        (&none, &[("GOOGLE_CLOUD_PROJECT", &path), ("HOME", &home)], "authorized_user"),
        (&none, &[("HOME", &home), ("GOOGLE_CLOUD_PROJECT", "project")], "external_account"),
        (&none, &[("HOME", "/nonexistent"), ("CLOUDSDK_CONFIG", &gcloud)], "external_account"),
        (&none, &[("HOME", "/nonexistent")], "169.254.169.254"),
        (&none, &[("GCE_METADATA_HOST", "here")], "here"),
        (&none, &[("GCE_METADATA_HOST", "here"), ("NO_GCE_CHECK", "true")], "off"),
    ];
    for (config, env, expected) in cases {
        let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let settings = Settings::resolve(config, &lookup).unwrap();
        let found = match &settings.identity {
            Identity::Anonymous => "anonymous",
            Identity::File { kind, .. } => kind,
            Identity::Metadata { host } => host.as_deref().unwrap_or("off"),
        };
        assert_eq!(found, expected, "{env:?}");
        assert_eq!(settings.project.as_deref(), (expected == "authorized_user").then_some("billed"));
    }
}

#[tokio::test]
async fn a_key_file_that_cannot_be_used_is_named_and_not_quoted() {
    for (content, says) in [
        ("hunter2", "is no JSON"),
        ("{\"private_key\": \"hunter2\"}", "does not say what type"),
        ("{\"type\": \"nonsense\", \"private_key\": \"hunter2\"}", "is of type \"nonsense\""),
        ("{\"type\": \"service_account\", \"private_key\": \"hunter2\"}", "cannot be used"),
        (
            "{\"type\": \"service_account\", \"private_key\": \"hunter2\", \"private_key_id\": \"1\", \"client_email\": \"a\"}",
            "cannot be used",
        ),
        ("{\"type\": \"authorized_user\", \"client_secret\": \"hunter2\"}", "cannot be used"),
        ("{\"type\": \"external_account\"}", "cannot be used"),
        ("{\"type\": \"impersonated_service_account\"}", "cannot be used"),
    ] {
        let file = keyfile(content);
        let config = GcsConfig { keyfile: Some(file.path().to_owned()), ..GcsConfig::default() };
        let error = connect_as(&config, &[], &limits(), Intent::Read).await.unwrap_err();
        let told = text(&error);
        assert_eq!(error.kind(), Kind::Credentials, "{told}");
        assert!(told.contains(says) && told.contains(&file.path().display().to_string()), "{told}");
        assert!(!told.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{told}");
        assert!(told.contains("gcloud auth application-default login"), "{told}");
    }
}

/// The store, and the services that give tokens for it.
async fn google(token: impl Fn() -> Response + Clone + Send + Sync + 'static) -> String {
    serve(move |request| match request.uri().path() {
        path if path.starts_with("/bucket") && is_signed(request) => listing(),
        path if path.starts_with("/bucket") => refusal(401, "AuthenticationRequired", ""),
        path if path.ends_with(":generateAccessToken") && is_signed(request) => {
            json(200, r#"{"accessToken": "hunter2", "expireTime": "2099-01-01T00:00:00Z"}"#)
        }
        _ => token(),
    })
    .await
    .0
}

fn files(url: &str, subject: &std::path::Path) -> [(&'static str, String); 3] {
    let user = serde_json::json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "hunter2-secret",
        "refresh_token": "hunter2-refresh", "token_uri": format!("{url}/token"),
    });
    let external = serde_json::json!({
        "type": "external_account",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": format!("{url}/sts"),
        "credential_source": {"file": subject},
    });
    let impersonated = serde_json::json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url": format!("{url}/v1/projects/-/serviceAccounts/a@b:generateAccessToken"),
        "source_credentials": user,
    });
    [
        ("authorized_user", user.to_string()),
        ("external_account", external.to_string()),
        ("impersonated_service_account", impersonated.to_string()),
    ]
}

#[tokio::test]
async fn every_type_of_login_works() {
    let url = google(|| {
        json(
            200,
            r#"{"access_token": "hunter2", "expires_in": 3600, "token_type": "Bearer",
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}"#,
        )
    })
    .await;
    let subject = keyfile("subject");
    for (kind, content) in files(&url, subject.path()) {
        let file = keyfile(&content);
        let config = GcsConfig { keyfile: Some(file.path().to_owned()), ..config(&url) };
        if let Err(error) = connect_as(&config, &[], &limits(), Intent::Read).await {
            panic!("{kind}: {}", text(&error));
        }
    }
}

#[tokio::test]
async fn a_login_that_has_ended_or_hangs_is_told() {
    let ended =
        google(|| json(400, r#"{"error": "invalid_grant", "error_description": "Token has been revoked."}"#)).await;
    let (hangs, _listener) = silent().await;
    let subject = keyfile("subject");
    for (url, says) in [(&ended, "invalid_grant"), (&hangs, "no answer within")] {
        for (kind, content) in files(url, subject.path()) {
            let file = keyfile(&content);
            let config = GcsConfig { keyfile: Some(file.path().to_owned()), ..config(&ended) };
            let limits = Limits { credentials: Duration::from_millis(300), ..limits() };
            let error = connect_as(&config, &[], &limits, Intent::Read).await.unwrap_err();
            let told = text(&error);
            assert_eq!(error.kind(), Kind::Credentials, "{kind}: {told}");
            assert!(told.contains(says) && told.contains(kind), "{told}");
            assert!(!told.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{told}");
        }
    }
}

/// Connects with the token of a metadata server. Plain HTTP gets no token on its own, so the identity is put in.
async fn by_metadata(host: &str, url: &str) -> Result<Arc<dyn ObjectStore>, Error> {
    let lookup = |name: &str| (name == "GCE_METADATA_HOST").then(|| host.trim_start_matches("http://").to_owned());
    let mut settings = Settings::resolve(&GcsConfig::default(), &lookup)?;
    settings.endpoint = Some(url.to_owned());
    let limits = Limits { credentials: Duration::from_millis(500), ..limits() };
    Ok(connect_within(&config(url), &limits, &settings, "bucket", &Path::default(), Intent::Read).await?.store)
}

#[tokio::test]
async fn the_metadata_server_gives_tokens_or_is_told_of() {
    let store = google(|| json(500, "")).await;
    let (good, requests) = serve(|request| {
        let asked = request.headers().get("metadata-flavor").is_some_and(|value| value == "Google");
        if asked { json(200, TOKEN) } else { json(403, "") }
    })
    .await;
    let opened = by_metadata(&good, &store).await.unwrap();
    drop(opened.list_with_delimiter(None).await);
    assert_eq!(*requests.lock().unwrap(), ["GET /computeMetadata/v1/instance/service-accounts/default/token"]);

    let (without, _) = serve(|_| json(404, "")).await;
    let (odd, _) = serve(|_| json(200, "{}")).await;
    let (hangs, _listener) = silent().await;
    for (host, says) in [
        (without.as_str(), "it answered 404"),
        (&odd, "did not answer with a token"),
        (&hangs, "no answer within"),
        ("127.0.0.1:1", "refused"),
    ] {
        let error = by_metadata(host, &store).await.unwrap_err();
        let told = text(&error);
        assert!(told.contains(says), "{told}");
        assert!(told.contains("looked at, in this order: --keyfile"), "{told}");
        assert!(matches!(error.kind(), Kind::Credentials | Kind::Unavailable), "{told}");
    }
}

#[tokio::test]
async fn the_rules_about_unfinished_uploads_are_asked_for() {
    let rules = "<LifecycleConfiguration><Rule><Action><AbortIncompleteMultipartUpload/></Action>\
                 <Condition><Age>7</Age></Condition></Rule></LifecycleConfiguration>";
    for (allowed, body, expected) in [
        (true, rules, Some(Leftovers::Removed("a lifecycle rule removes them after 7 days".to_owned()))),
        (true, "<LifecycleConfiguration/>", None),
        (false, "", Some(Leftovers::Unknown("the store answered 403 AccessDenied: Because.".to_owned()))),
    ] {
        let (url, requests) =
            serve(move |_| if allowed { body.into_response() } else { refusal(403, "AccessDenied", "") }).await;
        let settings = Settings::resolve(&config(&url), &|_| None).unwrap();
        let found = config(&url).leftovers(&limits(), &settings, "bucket", &Path::from("root")).await.unwrap();
        match expected {
            Some(expected) => assert_eq!(found, expected),
            None => assert!(matches!(found, Leftovers::Kept { .. }), "{found:?}"),
        }
        assert_eq!(*requests.lock().unwrap(), ["GET /bucket?lifecycle"]);
    }
}
