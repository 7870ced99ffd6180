//! What the stores are told by flags, variables and files, through the command line.

use std::path::Path;
use std::process::Command;

use futures::TryStreamExt;
use object_store::ObjectStore;

use crate::support::azure::Azure;
use crate::support::google;
use crate::support::image::docker_save;
use crate::support::run::{Ran, oci_store, run};
use crate::support::s3::S3;
use crate::support::tls_proxy::TlsProxy;

/// Runs a command line, split at spaces, in a folder.
fn in_folder(folder: &Path, line: &str, change: impl FnOnce(&mut Command)) -> Ran {
    let mut command = oci_store();
    command.current_dir(folder).args(line.split(' '));
    change(&mut command);
    run(&mut command)
}

#[test]
fn azure_takes_a_connection_string() {
    let Some(azure) = Azure::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.tar"), docker_save("app:1", "azure", &[1000])).unwrap();
    let Azure { account, key, endpoint, container, root } = &azure;
    let with_string = |line: &str| {
        in_folder(folder.path(), line, |command| {
            let string = format!("AccountName={account};AccountKey={key};BlobEndpoint={endpoint};");
            command.env("AZURE_STORAGE_CONNECTION_STRING", string).env("OCI_STORE_ROOT_DIR", root);
        })
    };
    let pushed = with_string(&format!("azure push {container}/app:v1 -i docker-archive:app.tar"));
    assert_eq!(with_string(&format!("pull az://{container}/app:v1 -i oci:back")).digest(), pushed.digest());
}

#[test]
fn azure_tells_a_wrong_container_account_and_key_apart() {
    let Some(azure) = Azure::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pull = |container: &str, variables: &[(&str, &str)]| {
        in_folder(folder.path(), &format!("azure pull {container}/app:v1 -i oci:o"), |command| {
            azure.configure(command).envs(variables.iter().copied());
        })
    };
    let expired = "sv=2021-08-06&se=2020-01-01T00:00:00Z&sr=c&sp=rl&sig=aGVsbG8%3D";
    pull("no-such-container", &[]).failed(10, "container \"no-such-container\" at ");
    pull(&azure.container, &[("AZURE_STORAGE_KEY", "aGVsbG8=")]).failed(12, "AZURE_STORAGE_KEY");
    pull(&azure.container, &[("AZURE_STORAGE_KEY", "%")]).failed(12, "not base64");
    pull(&azure.container, &[("OCI_STORE_ACCOUNT_NAME", "other")]).failed(12, "hint:");
    pull(&azure.container, &[("OCI_STORE_SAS_TOKEN", expired)]).failed(12, "AZURE_STORAGE_SAS_TOKEN");
    // The proxy refuses.
    let azures = ("OCI_STORE_ENDPOINT", "https://acct.blob.core.windows.net");
    pull(&azure.container, &[azures, ("OCI_STORE_PROXY", "http://127.0.0.1:1")]).failed(14, "cannot be reached");
}

/// The folder comes before every key, whoever is the store.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_beside_the_root_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.tar"), docker_save("app:1", "root", &[1000])).unwrap();
    let url = google::start().await;
    let pushed = in_folder(folder.path(), "gcs push images/app:v1 -i docker-archive:app.tar", |command| {
        command.env("STORAGE_EMULATOR_HOST", &url).env("OCI_STORE_ROOT_DIR", "/team/images/");
    });
    pushed.line();
    let listed: Vec<_> = google::store(&url).list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    assert!(!listed.is_empty());
    assert!(listed.iter().all(|key| key.as_ref().starts_with("team/images/docker/registry/v2/")), "{listed:?}");
}

#[test]
fn a_profile_names_the_endpoint() {
    let Some(s3) = S3::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.tar"), docker_save("app:1", "profile", &[1000])).unwrap();
    let S3 { endpoint, bucket, access_key, secret_key, root } = &s3;
    let keys = format!("aws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}");
    let config = format!(
        "[profile plain]\nendpoint_url = {endpoint}\n{keys}\n[profile services]\nendpoint_url = http://127.0.0.1:1\n\
         services = here\n{keys}\n[services here]\ns3 =\n  endpoint_url = {endpoint}\n\
         [profile away]\nendpoint_url = http://127.0.0.1:1\n{keys}\n"
    );
    std::fs::write(folder.path().join("config"), config).unwrap();
    let push = |profile: &str, flags: &str, variables: &[(&str, &str)]| {
        let line = format!("s3 push {bucket}/app:v1 -i docker-archive:app.tar --retries 0{flags}");
        in_folder(folder.path(), &line, |command| {
            command.env("AWS_CONFIG_FILE", "config").env("AWS_PROFILE", profile).env("OCI_STORE_ROOT_DIR", root);
            command.envs(variables.iter().copied());
        })
    };
    push("plain", "", &[]).line();
    push("services", "", &[]).line();
    push("away", "", &[]).failed(14, "at http://127.0.0.1:1 ");
    push("away", "", &[("AWS_ENDPOINT_URL", endpoint)]).line();
    push("away", &format!(" --endpoint {endpoint}"), &[]).line();
    push(
        "plain",
        " -r us-east-1",
        &[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"), ("OCI_STORE_PROXY", "http://127.0.0.1:1")],
    )
    .failed(14, "at Amazon S3 (region us-east-1) cannot be reached");
}

/// The address of the login service leads nowhere but by the proxy, and its certificate is that of a file.
#[test]
fn the_login_goes_by_the_proxy_and_trusts_the_ca_file() {
    let answer = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
                  <AccessKeyId>ASIALOGIN</AccessKeyId><SecretAccessKey>canary</SecretAccessKey>\
                  <SessionToken>canary</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
                  </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";
    let proxy =
        TlsProxy::new("login.invalid", move |_| ("200 OK\r\nContent-Type: text/xml".to_owned(), answer.to_owned()));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "token").unwrap();
    let doctor = |login: &str, flags: &str| {
        let line = format!("s3 doctor b --endpoint http://127.0.0.1:1 --retries 0 --format json{flags}");
        in_folder(folder.path(), &line, |command| {
            command
                .env("AWS_ENDPOINT_URL_STS", login)
                .env("AWS_ROLE_ARN", "arn:aws:iam::1:role/test")
                .env("AWS_WEB_IDENTITY_TOKEN_FILE", "token");
        })
    };
    let by_proxy = format!(" --proxy http://{}", proxy.address);
    let trusting = format!("{by_proxy} --ca-file {}", proxy.certificate().display());
    for (login, flags, found) in [
        ("http://login.invalid", by_proxy.as_str(), true),
        ("https://login.invalid", &trusting, true),
        ("https://login.invalid", &by_proxy, false),
        ("http://login.invalid", "", false),
    ] {
        let ran = doctor(login, flags);
        assert_eq!(ran.stdout.contains("access key ASIALOGIN from a web identity"), found, "{login}{flags}: {ran:#?}");
        assert!(!ran.stdout.contains("canary"), "{ran:#?}");
    }
}

/// Nothing of the machine and nothing of a login is there.
#[test]
fn without_credentials_what_was_tried_is_told_soon() {
    let folder = tempfile::tempdir().unwrap();
    // Takes connections and says nothing, as a metadata service behind a firewall.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    for (line, tried) in [
        ("gcs pull b/app:v1 -i oci:o", "looked at, in this order: --keyfile, GOOGLE_APPLICATION_CREDENTIALS"),
        ("azure pull b/app:v1 -i oci:o -a acct", "looked at, in this order: --connection-string"),
    ] {
        for metadata in [silent.as_str(), "127.0.0.1:1"] {
            let ran = in_folder(folder.path(), line, |command| {
                command
                    .env("GCE_METADATA_HOST", metadata)
                    .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("http://{metadata}"))
                    .env("PATH", "/nonexistent")
                    // The service of the machine is not behind the proxy.
                    .env("HTTP_PROXY", "http://127.0.0.1:1");
            });
            assert!(matches!(ran.code, Some(12 | 14)), "{ran:#?}");
            assert!(ran.stderr.contains(tried) && ran.stderr.contains(metadata), "{ran:#?}");
        }
    }
}
