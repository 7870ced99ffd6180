//! Docker's registry, with passwords, certificates and tokens; and ours.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use oci_store::remote::{Credential, Error, Kind, Login, RemoteOptions, RemoteRepository};
use oci_store::transfer::Repository;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, SigningKey};
use serde_json::{Value, json};
use storage_layout::{Algorithm, Descriptor, Digest, Manifest, Reference, media_type};

use super::{PASSWORD, collect, descriptor, kind, noise, options, registry, repository, stream, with_password};
use crate::support::registry::Registry;
use crate::support::run::oci_store;
use crate::support::server::{Server, json as answer_json};

const MIB: usize = 1024 * 1024;

/// Makes a file that lets `me` in, and the user that Amazon's registry has.
pub(super) fn htpasswd(folder: &Path) -> String {
    let line = |name: &str, password: &str| {
        Command::new("htpasswd").args(["-nbB", name, password]).output().expect("htpasswd is there").stdout
    };
    let file = folder.join("htpasswd");
    fs::write(&file, [line("me", PASSWORD), line("AWS", "ecr-token")].concat()).expect("it can be written");
    format!("htpasswd: {{realm: test, path: {:?}}}", file.display().to_string())
}

/// A certificate for 127.0.0.1, with its issuer's and its key, as files.
pub(super) struct Tls {
    pub(super) ca: std::path::PathBuf,
    pub(super) certificate: std::path::PathBuf,
    pub(super) key: std::path::PathBuf,
}

impl Tls {
    pub(super) fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_key = KeyPair::generate().expect("a key can be made");
        let ca = params.self_signed(&ca_key).expect("it signs itself");
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().expect("a key can be made");
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).expect("the names are good");
        let certificate = params.signed_by(&key, &issuer).expect("it is signed");
        let files =
            Self { ca: folder.join("ca.pem"), certificate: folder.join("cert.pem"), key: folder.join("key.pem") };
        fs::write(&files.ca, ca.pem()).expect("it can be written");
        fs::write(&files.certificate, certificate.pem()).expect("it can be written");
        fs::write(&files.key, key.serialize_pem()).expect("it can be written");
        files
    }
}

fn image(config: &Descriptor, layers: &[Descriptor], subject: Option<&Manifest>) -> Manifest {
    let mut document = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": layers,
    });
    if let Some(subject) = subject {
        document["subject"] = json!(subject.descriptor());
        document["artifactType"] = json!("application/x-test");
    }
    Manifest::parse(document.to_string().into(), Algorithm::Sha256, None).expect("it is one")
}

/// Does all that a repository can.
#[expect(clippy::unwrap_used, reason = "it is what several tests do")]
async fn exercise(repository: &RemoteRepository) {
    let (config, layer) = (b"{}".to_vec(), noise(9 * MIB));
    for blob in [&config, &layer] {
        let descriptor = descriptor(blob);
        assert!(!repository.has_blob(&descriptor).await.unwrap());
        repository.put_blob(&descriptor, stream(blob)).await.unwrap();
        assert!(repository.has_blob(&descriptor).await.unwrap());
        assert!(!repository.has_blob(&Descriptor { size: 1, ..descriptor.clone() }).await.unwrap());
        assert_eq!(collect(repository.get_blob(&descriptor).await.unwrap()).await.unwrap(), *blob);
    }
    let manifest = image(&descriptor(&config), &[descriptor(&layer)], None);
    let tags = ["v1".parse().unwrap(), "latest".parse().unwrap()];
    repository.put_manifest(&manifest, &tags).await.unwrap();
    for reference in [Reference::Tag(tags[0].clone()), Reference::Digest(manifest.digest().clone())] {
        assert_eq!(repository.get_manifest(&reference).await.unwrap().bytes(), manifest.bytes());
    }
    assert_eq!(repository.tags().await.unwrap(), [tags[1].clone(), tags[0].clone()]);
    // Two things are attached, and one is taken away.
    let attached = [
        image(&descriptor(&config), &[], Some(&manifest)),
        image(&descriptor(&config), &[descriptor(&config)], Some(&manifest)),
    ];
    let referrers = async || -> Vec<Digest> {
        let found = repository.referrers(manifest.digest()).await.unwrap();
        assert!(found.iter().all(|found| found.artifact_type.as_deref() == Some("application/x-test")), "{found:?}");
        found.into_iter().map(|found| found.digest).collect()
    };
    assert!(referrers().await.is_empty());
    for attached in &attached {
        repository.put_manifest(attached, &[]).await.unwrap();
    }
    let mut both = referrers().await;
    both.sort();
    let mut expected: Vec<Digest> = attached.iter().map(|attached| attached.digest().clone()).collect();
    expected.sort();
    assert_eq!(both, expected);
    repository.delete_manifest(attached[0].digest()).await.unwrap();
    assert_eq!(referrers().await, [attached[1].digest().clone()]);
    assert!(repository.delete_manifest(attached[0].digest()).await.unwrap_err().is_not_found());
    // What is not there is told apart from what fails.
    let absent = Reference::Tag("absent".parse().unwrap());
    let error = repository.get_manifest(&absent).await.unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("MANIFEST_UNKNOWN"), "{error}");
    assert!(repository.get_blob(&descriptor(b"absent")).await.err().unwrap().is_not_found());
}

#[tokio::test]
async fn dockers_registry_does_all_with_a_password_and_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::new(folder.path());
    let auth = htpasswd(folder.path());
    let Some(server) = Registry::dockers_guarded(folder.path(), &auth, Some((&tls.certificate, &tls.key))) else {
        return;
    };
    // On this machine TLS is tried first, so nothing has to be said.
    let options = RemoteOptions { plain_http: false, ca_file: Some(tls.ca.clone()), ..with_password() };
    let target = repository(&server.address, &options);
    exercise(&target).await;
    let names = target.registry().repositories().await.unwrap();
    assert_eq!(names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["team/app"]);
    let other = registry(&server.address, &options).repository(&"other/app".parse().unwrap());
    assert!(!other.has_blob(&descriptor(b"{}")).await.unwrap());
    assert!(other.clone().mounting_from("team/app".parse().unwrap()).has_blob(&descriptor(b"{}")).await.unwrap());
    assert!(other.has_blob(&descriptor(b"{}")).await.unwrap());

    let nobody = RemoteOptions { login: Login::Anonymous, ..options.clone() };
    let error = repository(&server.address, &nobody).tags().await.unwrap_err();
    assert_eq!(kind(&error), Kind::Credentials);
    assert!(error.to_string().contains("UNAUTHORIZED: authentication required"), "{error}");
    let wrong = Credential::Password { username: "me".to_owned(), password: "wrong".into() };
    let wrong = RemoteOptions { login: Login::As(wrong), ..options.clone() };
    assert_eq!(registry(&server.address, &wrong).ping().await.unwrap_err().kind(), Kind::Credentials);

    let untrusting = RemoteOptions { ca_file: None, ..options.clone() };
    let error = registry(&server.address, &untrusting).ping().await.unwrap_err();
    assert!(matches!(error, Error::Certificate { .. }), "{error:?}");
    let trusting = RemoteOptions { insecure: true, ..untrusting };
    assert!(registry(&server.address, &trusting).ping().await.unwrap());
}

#[tokio::test]
async fn dockers_registry_does_all_with_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = TokenIssuer::new();
    let bundle = folder.path().join("bundle.pem");
    fs::write(&bundle, issuer.certificate.pem()).unwrap();
    let tokens = Server::start(move |seen, _| {
        if seen.header("authorization") != Some("Basic bWU6Y2FuYXJ5LXBhc3N3b3Jk") {
            return answer_json(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}"#);
        }
        answer_json(200, json!({ "token": issuer.token(seen.uri.query().unwrap_or_default()) }).to_string())
    })
    .await;
    let auth = format!(
        "token: {{realm: \"http://{}/token\", service: test, issuer: tests, rootcertbundle: {:?}}}",
        tokens.address,
        bundle.display().to_string()
    );
    let Some(server) = Registry::dockers_guarded(folder.path(), &auth, None) else { return };
    let target = repository(&server.address, &with_password());
    exercise(&target).await;
    // One for reading, one for writing, one for deleting.
    assert_eq!(tokens.seen().len(), 3, "{:?}", tokens.lines());
    assert_eq!(target.registry().repositories().await.unwrap().len(), 1);
    let other = registry(&server.address, &with_password()).repository(&"other/app".parse().unwrap());
    assert!(other.mounting_from("team/app".parse().unwrap()).has_blob(&descriptor(b"{}")).await.unwrap());
    let error = repository(&server.address, &options()).tags().await.unwrap_err();
    assert_eq!(kind(&error), Kind::Credentials);
    assert!(error.to_string().contains("who are you?"), "{error}");
}

#[tokio::test]
async fn our_registry_does_all() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("bucket")).unwrap();
    let server = Registry::ours(oci_store().current_dir(folder.path()).args(["fs", "serve", "bucket"]));
    // On this machine plain HTTP is found without being named.
    exercise(&repository(&server.address, &RemoteOptions { plain_http: false, ..options() })).await;
    let lines = repository(&server.address, &options()).tags().await.unwrap();
    assert_eq!(lines.len(), 2, "referrers need no tag where the registry keeps them");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unavailable() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [free.to_string(), "registry.invalid".to_owned()] {
        let error = registry(&address, &options()).ping().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    }
}

/// What signs tokens that Docker's registry takes.
struct TokenIssuer {
    key: KeyPair,
    certificate: Certificate,
}

impl TokenIssuer {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new(["tests".to_owned()]).expect("the name is good");
        let certificate = params.self_signed(&key).expect("it signs itself");
        Self { key, certificate }
    }

    /// Makes a token for the scopes that a query asks for: <https://distribution.github.io/distribution/spec/auth/jwt/>.
    fn token(&self, query: &str) -> String {
        let url: reqwest::Url = format!("http://h/?{query}").parse().expect("it is a query");
        let scopes = url.query_pairs().filter(|(key, _)| key == "scope").map(|(_, scope)| scope.into_owned());
        let access: Vec<Value> = scopes
            .filter_map(|scope| {
                let (rest, actions) = scope.rsplit_once(':')?;
                let (kind, name) = rest.split_once(':')?;
                Some(json!({ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }))
            })
            .collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [BASE64_STANDARD.encode(self.certificate.der())] });
        let claims = json!({
            "iss": "tests", "sub": "me", "aud": "test", "jti": "1", "access": access,
            "nbf": now.as_secs() - 60, "iat": now.as_secs(), "exp": now.as_secs() + 300,
        });
        let encode = |document: &Value| BASE64_URL_SAFE_NO_PAD.encode(document.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.key.sign(signed.as_bytes()).expect("it signs");
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(raw_signature(&signature)))
    }
}

/// Makes of the two numbers of a signature in DER the 64 bytes that tokens have.
fn raw_signature(der: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut rest = &der[2..];
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let digits = number.strip_prefix(&[0]).unwrap_or(number);
        raw.extend(std::iter::repeat_n(0, 32 - digits.len()));
        raw.extend_from_slice(digits);
        rest = &rest[2 + length..];
    }
    raw
}
