//! The preflight, the credentials and the writing against a server that answers as Azure does.

use std::sync::Mutex;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::{Html, IntoResponse, Response};
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use super::*;
use crate::backend::cloud::connect_within;
use crate::backend::test_server::{json, refusal, serve, silent, text};

fn listing() -> Response {
    "<EnumerationResults ContainerName=\"images\"><Blobs/><NextMarker/></EnumerationResults>".into_response()
}

fn is_list(request: &Request) -> bool {
    request.uri().query().is_some_and(|query| query.contains("comp=list"))
}

fn limits() -> Limits {
    Limits {
        total: Duration::from_secs(10),
        credentials: Duration::from_secs(2),
        request: Duration::from_secs(2),
        retries: 0,
    }
}

fn config(endpoint: &str) -> AzureConfig {
    AzureConfig {
        endpoint: Some(format!("{endpoint}/acct")),
        account_key: Some("aHVudGVyMg==".into()),
        ..AzureConfig::default()
    }
}

async fn connect_as(
    config: &AzureConfig,
    env: &[(&str, &str)],
    limits: &Limits,
    intent: Intent,
) -> Result<Arc<dyn ObjectStore>, Error> {
    let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let settings = Settings::resolve(config, &lookup)?;
    Ok(connect_within(config, limits, &settings, "images", &Path::from("root"), intent).await?.store)
}

async fn connect(endpoint: &str, intent: Intent) -> Result<Arc<dyn ObjectStore>, Error> {
    connect_as(&config(endpoint), &[], &limits(), intent).await
}

#[tokio::test]
async fn a_good_container_costs_one_request_and_signatures_are_sent() {
    let (url, requests) = serve(|request| {
        let key = request.headers().get(header::AUTHORIZATION);
        let key = key.is_some_and(|value| value.to_str().unwrap().starts_with("SharedKey acct:"));
        let sas = request.uri().query().is_some_and(|query| query.contains("sig=a%2Bb"));
        if key || sas { listing() } else { refusal(401, "NoAuthenticationInformation", "") }
    })
    .await;
    let store = connect(&url, Intent::Write).await.unwrap();
    assert!(!format!("{store:?}").contains("hunter2"));
    {
        let requests = requests.lock().unwrap();
        assert_eq!(requests.len(), 1);
        assert!(requests[0].starts_with("GET /acct/images?"), "{requests:?}");
        assert!(requests[0].contains("prefix=root%2Fdocker%2Fregistry%2Fv2%2F"), "{requests:?}");
    }
    for sas in ["?sv=2021-08-06&sig=a%2Bb", "sv=2021-08-06&sig=a%2Bb"] {
        let signed = AzureConfig { account_key: None, sas_token: Some(sas.into()), ..config(&url) };
        connect_as(&signed, &[], &limits(), Intent::Read).await.unwrap();
    }
    let nobody = AzureConfig { credential_type: Some(CredentialType::Anonymous), ..config(&url) };
    let error = connect_as(&nobody, &[], &limits(), Intent::Read).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials, "{}", text(&error));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let leak = "<AuthenticationErrorDetail>hunter2</AuthenticationErrorDetail>";
    let cases = [
        (404, "ContainerNotFound", Kind::NotFound, "container \"images\" at http://127.0.0.1"),
        (404, "ResourceNotFound", Kind::NotFound, "AZURE_STORAGE_ACCOUNT"),
        (403, "AuthenticationFailed", Kind::Credentials, "AZURE_STORAGE_KEY"),
        (401, "InvalidAuthenticationInfo", Kind::Credentials, "AZURE_TENANT_ID"),
        (401, "NoAuthenticationInformation", Kind::Credentials, "--credential-type"),
        (403, "AuthorizationPermissionMismatch", Kind::Denied, "Storage Blob Data Contributor"),
        (403, "AuthorizationFailure", Kind::Denied, "firewall"),
        (403, "KeyBasedAuthenticationNotPermitted", Kind::Denied, "takes no keys"),
        (403, "AuthorizationResourceTypeMismatch", Kind::Denied, "srt=co"),
        (409, "PublicAccessNotPermitted", Kind::Denied, "give credentials"),
        (403, "AccountIsDisabled", Kind::Denied, "is disabled"),
        (400, "InvalidResourceName", Kind::Usage, "check the name"),
        (503, "ServerBusy", Kind::Unavailable, "try again"),
        (418, "Teapot", Kind::Other, "418 Teapot: Because."),
    ];
    for (status, code, kind, expected) in cases {
        let (url, _) = serve(move |_| refusal(status, code, leak)).await;
        let error = connect(&url, Intent::Write).await.unwrap_err();
        let told = text(&error);
        assert_eq!(error.kind(), kind, "{told}");
        assert!(told.contains(expected) && told.contains(code), "{told}");
        assert!(!told.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let (url, _) = serve(|_| Html("<html>Welcome</html>").into_response()).await;
    assert_eq!(connect(&url, Intent::Read).await.unwrap_err().kind(), Kind::Other);
}

#[tokio::test]
async fn the_right_to_list_is_not_demanded_of_a_reader() {
    for ((status, code), read, write) in [
        ((404, "BlobNotFound"), None, None),
        ((403, "AuthorizationPermissionMismatch"), None, Some(Kind::Denied)),
        ((404, "ContainerNotFound"), Some(Kind::NotFound), Some(Kind::NotFound)),
    ] {
        let (url, _) = serve(move |request| {
            if is_list(request) {
                refusal(403, "AuthorizationPermissionMismatch", "")
            } else {
                refusal(status, code, "")
            }
        })
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
    let mut proxied = config("https://no-such-account.invalid");
    proxied.options.proxy = Some("http://u:hunter2@127.0.0.1:1".into());
    let error = connect_as(&proxied, &[], &limits(), Intent::Read).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{}", text(&error));
    assert!(!text(&error).contains("hunter2"), "{}", text(&error));
}

#[tokio::test]
async fn bad_keys_are_refused_without_being_shown() {
    let base = || AzureConfig { account_key: None, ..config("http://127.0.0.1:1") };
    for bad in [
        AzureConfig { account_key: Some("hunter2!".into()), ..base() },
        AzureConfig { sas_token: Some("hunter2".into()), ..base() },
        AzureConfig { sas_token: Some("a=hunter2".into()), ..base() },
        AzureConfig { connection_string: Some("hunter2".into()), ..base() },
        AzureConfig { connection_string: Some("AccountKey=hunter2".into()), ..base() },
    ] {
        let error = connect_as(&bad, &[], &limits(), Intent::Read).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Credentials, "{}", text(&error));
        assert!(!text(&error).contains("hunter2") && !format!("{error:?} {bad:?}").contains("hunter2"));
        assert!(!error.hints().is_empty());
    }
}

const LOGIN: [(&str, &str); 3] =
    [("AZURE_CLIENT_ID", "client"), ("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_SECRET", "hunter2-secret")];

/// A store that takes the token which the same server gives.
async fn with_login(token: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static) -> String {
    serve(move |request| {
        let bearer = request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == "Bearer hunter2");
        match request.uri().path() {
            path if path.starts_with("/acct") && bearer => listing(),
            path if path.starts_with("/acct") => refusal(401, "NoAuthenticationInformation", ""),
            _ => token(request),
        }
    })
    .await
    .0
}

#[tokio::test]
async fn every_login_gives_a_token_that_is_sent() {
    let url = with_login(|request| match request.uri().path() {
        "/tenant/oauth2/v2.0/token" => json(200, r#"{"access_token": "hunter2", "expires_in": 3600}"#),
        "/metadata/identity/oauth2/token" if request.headers().contains_key("metadata") => {
            json(200, r#"{"access_token": "hunter2", "expires_on": "4102444800"}"#)
        }
        _ => json(404, ""),
    })
    .await;
    let token = tempfile::NamedTempFile::new().unwrap();
    let file = token.path().display().to_string();
    let authority = ("AZURE_AUTHORITY_HOST", url.as_str());
    let metadata = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", url.as_str());
    let config = AzureConfig { account_key: None, ..config(&url) };
    let envs: [&[(&str, &str)]; 3] = [
        &[LOGIN[0], LOGIN[1], LOGIN[2], authority],
        &[LOGIN[0], LOGIN[1], ("AZURE_FEDERATED_TOKEN_FILE", &file), authority],
        &[LOGIN[0], metadata],
    ];
    for env in envs {
        if let Err(error) = connect_as(&config, env, &limits(), Intent::Write).await {
            panic!("{env:?}: {}", text(&error));
        }
    }
}

#[tokio::test]
async fn a_login_that_fails_is_told_with_what_was_tried() {
    let refused = with_login(|_| {
        json(
            401,
            r#"{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}"#,
        )
    })
    .await;
    let (hangs, _listener) = silent().await;
    let gone = "http://127.0.0.1:1".to_owned();
    let config = AzureConfig { account_key: None, ..config(&refused) };
    let short = Limits { credentials: Duration::from_millis(300), ..limits() };
    for (authority, kind, says) in [
        (&refused, Kind::Credentials, "the login service answered 401 invalid_client: AADSTS7000215"),
        (&hangs, Kind::Credentials, "no answer within"),
        (&gone, Kind::Unavailable, "refused"),
    ] {
        let env = [LOGIN[0], LOGIN[1], LOGIN[2], ("AZURE_AUTHORITY_HOST", authority.as_str())];
        let error = connect_as(&config, &env, &short, Intent::Read).await.unwrap_err();
        let told = text(&error);
        assert_eq!(error.kind(), kind, "{told}");
        assert!(
            told.contains(says) && told.contains("application client") && told.contains("AZURE_CLIENT_ID"),
            "{told}"
        );
        assert!(!told.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{told}");
    }
    let missing = [LOGIN[0], LOGIN[1], ("AZURE_FEDERATED_TOKEN_FILE", "/no/such/token")];
    let error = connect_as(&config, &missing, &short, Intent::Read).await.unwrap_err();
    assert!(error.kind() == Kind::Credentials && text(&error).contains("/no/such/token"), "{}", text(&error));

    // No machine of Azure's, and `az` is not there either or not logged in.
    let typed = AzureConfig { credential_type: Some(CredentialType::ManagedIdentity), ..config };
    for host in [&hangs, &gone, &refused] {
        let env = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", host.as_str())];
        let error = connect_as(&typed, &env, &short, Intent::Read).await.unwrap_err();
        let told = text(&error);
        assert!(told.contains("managed identity") && told.contains("AZURE_CLIENT_ID"), "{told}");
        assert!(matches!(error.kind(), Kind::Credentials | Kind::Unavailable), "{told}");
    }
}

/// A container with one append blob, which is refused for what block blobs are for until it is deleted.
async fn with_append_blob() -> (String, crate::backend::test_server::Requests) {
    let deleted = Arc::new(Mutex::new(false));
    serve(move |request| match *request.method() {
        Method::PUT if !*deleted.lock().unwrap() => refusal(409, "InvalidBlobType", ""),
        Method::PUT => (axum::http::StatusCode::CREATED, [(header::ETAG, "\"1\"")], "").into_response(),
        // A batch of deletions.
        Method::POST => {
            *deleted.lock().unwrap() = true;
            let answer = "--b\r\nContent-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\n\
                          x-ms-request-id: 1\r\n\r\n\r\n--b--\r\n";
            (axum::http::StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "multipart/mixed; boundary=b")], answer)
                .into_response()
        }
        _ => listing(),
    })
    .await
}

#[tokio::test]
async fn an_append_blob_is_replaced_where_overwriting_was_meant() {
    let (url, requests) = with_append_blob().await;
    let store = connect(&url, Intent::Write).await.unwrap();
    let path = Path::from("current/link");
    let error = store.put_opts(&path, "new".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
    store.put(&path, "new".into()).await.unwrap();
    let methods: Vec<_> =
        requests.lock().unwrap().iter().map(|request| request.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(methods, ["GET", "PUT", "PUT", "POST", "PUT"]);
}

#[tokio::test]
async fn an_append_blob_is_replaced_by_an_upload_in_blocks() {
    let (url, requests) = with_append_blob().await;
    let store = connect(&url, Intent::Write).await.unwrap();
    let mut upload = store.put_multipart(&Path::from("layer")).await.unwrap();
    upload.put_part("ab".into()).await.unwrap();
    upload.put_part("cd".into()).await.unwrap();
    upload.complete().await.unwrap();
    let requests = requests.lock().unwrap();
    let methods: Vec<_> = requests.iter().map(|request| request.split(' ').next().unwrap()).collect();
    assert_eq!(methods, ["GET", "PUT", "POST", "PUT", "PUT", "PUT"], "{requests:?}");
    assert!(requests[5].contains("comp=blocklist"), "{requests:?}");
}

#[tokio::test]
async fn of_two_uploads_of_one_blob_the_second_has_what_it_wanted() {
    for (size, good) in [("4", true), ("5", false)] {
        let (url, _) = serve(move |request| {
            let is_commit = request.uri().query().is_some_and(|query| query.contains("comp=blocklist"));
            match *request.method() {
                Method::PUT if is_commit => refusal(400, "InvalidBlockList", ""),
                Method::PUT => axum::http::StatusCode::CREATED.into_response(),
                Method::HEAD => {
                    let modified = (header::LAST_MODIFIED, "Mon, 01 Jan 2024 00:00:00 GMT");
                    ([(header::CONTENT_LENGTH, size), (header::ETAG, "\"1\""), modified], "").into_response()
                }
                _ => listing(),
            }
        })
        .await;
        let store = connect(&url, Intent::Write).await.unwrap();
        let mut upload = store.put_multipart(&Path::from("a")).await.unwrap();
        upload.put_part("ab".into()).await.unwrap();
        upload.put_part("cd".into()).await.unwrap();
        assert_eq!(upload.complete().await.is_ok(), good);
    }
}
