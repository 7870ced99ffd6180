//! Who is told the password, and who is asked at all.

use std::sync::atomic::{AtomicUsize, Ordering};

use oci_store::remote::{Credential, Error, Kind, Login, RemoteOptions};
use oci_store::transfer::Repository;

use super::{
    PASSWORD, collect, descriptor, kind, noise, options, registry, remote_error, repository, stream, with_password,
};
use crate::support::server::{Seen, Server, answer, json};

/// `me:canary-password`
const BASIC: &str = "Basic bWU6Y2FuYXJ5LXBhc3N3b3Jk";
const TAGS: &str = r#"{"name":"team/app","tags":["v1"]}"#;

/// Demands that nobody told a server who asks.
fn knows_nothing(server: &Server) {
    for seen in server.seen() {
        assert_eq!(seen.header("authorization"), None, "{seen:?}");
        let told = format!("{} {:?}", seen.line(), seen.body);
        assert!(!told.contains(PASSWORD) && !told.contains("secret-token"), "{told}");
    }
}

fn challenge(realm: &str) -> axum::response::Response {
    let bearer = format!(r#"Bearer realm="{realm}",service="the registry",scope="repository:team/app:pull""#);
    answer(401, &[("www-authenticate", &bearer)], r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#)
}

/// A registry that takes the tokens that its server hands out, `each` times.
async fn with_tokens(each: usize, expires_in: u64) -> Server {
    let (issued, used) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Server::start(move |seen, own| {
        if seen.uri.path() == "/token" {
            let token = issued.fetch_add(1, Ordering::SeqCst) + 1;
            used.store(0, Ordering::SeqCst);
            return json(200, format!(r#"{{"token":"secret-token-{token}","expires_in":{expires_in}}}"#));
        }
        let good = format!("Bearer secret-token-{}", issued.load(Ordering::SeqCst));
        if seen.header("authorization") != Some(&good) || used.fetch_add(1, Ordering::SeqCst) >= each {
            return challenge(&format!("http://{own}/token"));
        }
        json(200, TAGS)
    })
    .await
}

fn tokens_asked(server: &Server) -> Vec<Seen> {
    server.seen().into_iter().filter(|seen| seen.uri.path() == "/token").collect()
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_the_password_goes_with_that_alone() {
    let server = with_tokens(usize::MAX, 300).await;
    let repository = repository(&server.address, &with_password());
    for _ in 0..3 {
        assert_eq!(repository.tags().await.unwrap().len(), 1);
    }
    let asked = tokens_asked(&server);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), Some(BASIC));
    let query = asked[0].uri.query().unwrap();
    for part in ["service=the+registry", "scope=repository%3Ateam%2Fapp%3Apull", "account=me", "client_id=oci-store"] {
        assert!(query.contains(part), "{query}");
    }
    let elsewhere = server.seen().into_iter().filter(|seen| seen.uri.path() != "/token");
    assert!(
        elsewhere
            .filter_map(|seen| seen.header("authorization").map(str::to_owned))
            .all(|sent| sent.starts_with("Bearer "))
    );
}

#[tokio::test]
async fn a_token_is_renewed_when_it_expires_and_when_it_is_refused() {
    for (uses, expires_in, least) in [(usize::MAX, 0, 3), (1, 300, 3)] {
        let server = with_tokens(uses, expires_in).await;
        let repository = repository(&server.address, &options());
        for _ in 0..3 {
            repository.tags().await.unwrap();
        }
        assert!(tokens_asked(&server).len() >= least, "{:?}", server.lines());
    }
}

#[tokio::test]
async fn a_registry_that_is_never_content_is_not_asked_for_ever() {
    let server = with_tokens(0, 300).await;
    let error = repository(&server.address, &with_password()).tags().await.unwrap_err();
    assert_eq!(kind(&error), Kind::Credentials);
    assert_eq!(server.seen().len(), 3, "{:?}", server.lines());
}

#[tokio::test]
async fn an_identity_token_is_exchanged_and_not_sent_in_an_address() {
    let server = Server::start(|seen, own| match (seen.uri.path(), seen.header("authorization")) {
        ("/token", None) => json(200, r#"{"access_token":"good","expires_in":60}"#),
        (_, Some("Bearer good")) => json(200, TAGS),
        _ => challenge(&format!("http://{own}/token")),
    })
    .await;
    let login = Login::As(Credential::IdentityToken("secret-token&x=y".into()));
    let options = RemoteOptions { login, ..options() };
    repository(&server.address, &options).tags().await.unwrap();
    let asked = tokens_asked(&server);
    assert_eq!(asked[0].line(), "POST /token");
    let form = String::from_utf8(asked[0].body.to_vec()).unwrap();
    assert!(
        form.starts_with("grant_type=refresh_token&refresh_token=secret-token%26x%3Dy&service=the+registry&"),
        "{form}"
    );
}

#[tokio::test]
async fn a_password_goes_where_basic_is_asked_for_and_once() {
    for good in [true, false] {
        let server = Server::start(move |seen, _| match seen.header("authorization") {
            Some(BASIC) if good => json(200, TAGS),
            _ => answer(
                401,
                &[("www-authenticate", r#"Basic realm="r""#)],
                r#"{"errors":[{"code":"DENIED","message":"no"}]}"#,
            ),
        })
        .await;
        let tags = repository(&server.address, &with_password()).tags().await;
        assert_eq!(tags.is_ok(), good);
        assert_eq!(server.seen().len(), 2);
        assert_eq!(server.seen()[0].header("authorization"), None);
        let nobody = repository(&server.address, &options()).tags().await.unwrap_err();
        assert!(nobody.to_string().contains("DENIED: no"), "{nobody}");
        assert_eq!(server.seen().len(), 3);
    }
}

/// A registry on the internet, as far as can be told: the proxy resolves its name, and is the registry itself.
fn public(server: &Server, options: RemoteOptions) -> RemoteOptions {
    RemoteOptions { proxy: Some(format!("http://{}", server.address).into()), ..options }
}

#[tokio::test]
async fn a_token_server_that_is_not_the_registrys_is_told_nothing() {
    let canary = Server::canary().await;
    let port = canary.address.split_once(':').unwrap().1.to_owned();
    for (realm, says) in [
        (format!("http://{}/token", canary.address), "token server without TLS"),
        (format!("http://localhost:{port}/token"), "token server without TLS"),
        ("http://auth.example.com/token".to_owned(), "token server without TLS"),
        ("https://auth.evil.net/token".to_owned(), "outside the registry's domain"),
        (format!("https://{}/token", canary.address), "outside the registry's domain"),
        ("https://me:you@auth.example.com/token".to_owned(), "holds credentials"),
        ("ftp://registry.example.com/token".to_owned(), "no address of a server"),
    ] {
        let named = realm.clone();
        let server = Server::start(move |seen, _| match seen.uri.host() {
            Some("registry.example.com") => challenge(&named),
            _ => json(200, r#"{"token":"t"}"#),
        })
        .await;
        let error = repository("registry.example.com", &public(&server, with_password())).tags().await.unwrap_err();
        assert_eq!(kind(&error), Kind::Credentials);
        assert!(error.to_string().contains(says), "{realm}: {error}");
        assert_eq!(server.seen().len(), 1, "{:?}", server.lines());
        knows_nothing(&server);
    }
    assert_eq!(canary.seen().len(), 0);
}

#[tokio::test]
async fn a_token_server_inside_our_network_is_not_asked_even_for_nobody() {
    let canary = Server::canary().await;
    let port = canary.address.split_once(':').unwrap().1.to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "0.0.0.0",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00::1]",
    ] {
        let realm = format!("https://{host}:{port}/token");
        let server = Server::start(move |_, _| challenge(&realm)).await;
        let error = repository("registry.example.com", &public(&server, options())).tags().await.unwrap_err();
        assert!(error.to_string().contains("it is at an address"), "{host}: {error}");
        assert_eq!(server.seen().len(), 1);
    }
    assert_eq!(canary.seen().len(), 0);
}

#[tokio::test]
async fn a_token_server_elsewhere_is_asked_when_the_user_names_it() {
    let tokens = Server::start(|_, _| json(200, r#"{"token":"good"}"#)).await;
    let (_, port) = tokens.address.split_once(':').unwrap();
    // Of the same host is enough for one that is spoken to without TLS.
    let realm = format!("http://localhost:{port}/token");
    let server = Server::start(move |seen, _| match seen.header("authorization") {
        Some("Bearer good") => json(200, TAGS),
        _ => challenge(&realm),
    })
    .await;
    repository(&server.address, &with_password()).tags().await.unwrap();
    assert_eq!(tokens.seen()[0].header("authorization"), Some(BASIC));

    let server = Server::start(|seen, _| match (seen.uri.host(), seen.header("authorization")) {
        (Some("auth.other.example.net"), Some(BASIC)) => json(200, r#"{"token":"good"}"#),
        (_, Some("Bearer good")) => json(200, TAGS),
        _ => challenge("http://auth.other.example.net/token"),
    })
    .await;
    let named = RemoteOptions { token_hosts: vec!["auth.other.example.net".to_owned()], ..with_password() };
    let error = repository("registry.example.com", &public(&server, named)).tags().await.unwrap_err();
    // To name it does not do without TLS.
    assert!(error.to_string().contains("without TLS"), "{error}");
    knows_nothing(&server);
}

#[tokio::test]
async fn a_redirect_elsewhere_carries_no_credentials() {
    let blob = noise(1000);
    let bytes = blob.clone();
    let store = Server::start(move |_, _| answer(200, &[], bytes.clone())).await;
    let location = format!("http://{}/signed?secret=1", store.address);
    let server = Server::start(move |seen, _| match seen.header("authorization") {
        Some(BASIC) => answer(307, &[("location", &location)], ""),
        _ => answer(401, &[("www-authenticate", "Basic realm=r")], ""),
    })
    .await;
    let found = repository(&server.address, &with_password()).get_blob(&descriptor(&blob)).await.unwrap();
    assert_eq!(collect(found).await.unwrap(), blob);
    assert_eq!(store.lines(), ["GET /signed?secret=1"]);
    knows_nothing(&store);
}

#[tokio::test]
async fn a_redirect_into_our_network_is_not_followed() {
    let canary = Server::canary().await;
    for target in ["127.0.0.1", "localhost", "169.254.169.254", "10.1.2.3"] {
        let location = format!("http://{target}:{}/latest/meta-data", canary.address.split_once(':').unwrap().1);
        let server = Server::start(move |_, _| answer(302, &[("location", &location)], "")).await;
        let options = public(&server, with_password());
        let error = repository("registry.example.com", &options).tags().await.unwrap_err();
        assert!(matches!(remote_error(&error), Error::Untrusted { .. }), "{error:?}");
        assert!(!error.to_string().contains("meta-data"), "{error}");
    }
    assert_eq!(canary.seen().len(), 0);
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|seen, _| answer(307, &[("location", &format!("/again/{}", seen.before))], "")).await;
    let error = repository(&server.address, &options()).tags().await.unwrap_err();
    assert!(error.to_string().contains("redirects more than 5 times"), "{error}");
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn an_upload_elsewhere_is_told_nothing() {
    let store = Server::start(|_, _| answer(201, &[], "")).await;
    let location = format!("http://{}/upload?state=1", store.address);
    let server = Server::start(move |seen, _| match seen.header("authorization") {
        Some(BASIC) => answer(202, &[("location", &location)], ""),
        _ => answer(401, &[("www-authenticate", "Basic realm=r")], ""),
    })
    .await;
    let blob = noise(5 * 1024 * 1024);
    let target = repository(&server.address, &with_password());
    target.put_blob(&descriptor(&blob), stream(&blob)).await.unwrap();
    assert_eq!(store.seen()[0].body.len(), blob.len());
    assert!(store.lines()[0].starts_with("PUT /upload?state=1&digest=sha256%3A"), "{:?}", store.lines());
    knows_nothing(&store);

    let canary = Server::canary().await;
    let location = format!("http://{}/upload", canary.address);
    let server = Server::start(move |_, _| answer(202, &[("location", &location)], "")).await;
    let options = public(&server, with_password());
    let error = repository("registry.example.com", &options).put_blob(&descriptor(b"x"), stream(b"x")).await;
    assert!(error.unwrap_err().to_string().contains("address of this machine"));
    assert_eq!(canary.seen().len(), 0);
}

#[tokio::test]
async fn a_login_is_checked_and_says_whether_it_was() {
    let open = Server::start(|_, _| json(200, "{}")).await;
    assert!(!registry(&open.address, &with_password()).ping().await.unwrap());
    let server = with_tokens(usize::MAX, 300).await;
    assert!(registry(&server.address, &with_password()).ping().await.unwrap());
    let refusing = Server::start(|seen, own| match seen.uri.path() {
        "/token" => json(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"bad password"}]}"#),
        _ => challenge(&format!("http://{own}/token")),
    })
    .await;
    let error = registry(&refusing.address, &with_password()).ping().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Credentials);
    assert!(error.to_string().contains("bad password"), "{error}");
    assert!(!format!("{error} {error:?}").contains(PASSWORD));
}
