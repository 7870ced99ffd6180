//! Google's and Azure's stores, through the command line.

use std::path::Path;
use std::process::Command;

use futures::TryStreamExt;
use object_store::ObjectStore;

use crate::support::azure::Azure;
use crate::support::google;
use crate::support::image::docker_save;
use crate::support::run::{Ran, oci_store, run};
use crate::support::{service, unique};

/// Two layers, one of which travels in parts.
const LAYERS: [usize; 2] = [1000, 20_000_000];

/// Runs a command line, split at spaces, in a folder.
fn in_folder(folder: &Path, line: &str, change: impl FnOnce(&mut Command)) -> Ran {
    let mut command = oci_store();
    command.current_dir(folder).args(line.split(' '));
    change(&mut command);
    run(&mut command)
}

/// Pushes and pulls an image by both forms of the command line and with every way to write the root folder.
async fn round_trip(names: [&str; 2], bucket: &str, objects: &dyn ObjectStore, configure: &dyn Fn(&mut Command)) {
    let [backend, scheme] = names;
    let folder = tempfile::tempdir().expect("a folder can be made");
    let archive = docker_save("app:1", backend, &LAYERS);
    std::fs::write(folder.path().join("app.tar"), archive).expect("a file can be written");
    let root = unique("test");
    for (number, root_dir) in [format!("{root}/a"), format!("/{root}/a"), format!("/{root}/a/")].iter().enumerate() {
        let push =
            format!("{backend} push {bucket}/team/app:v{number} -i docker-archive:app.tar --root-dir {root_dir}");
        let pushed = in_folder(folder.path(), &push, configure);
        assert!(pushed.line().starts_with(&format!("{scheme}://{bucket}/team/app:v{number}@sha256:")), "{pushed:#?}");
        let again = in_folder(folder.path(), &format!("{push} --format json"), configure);
        let document: serde_json::Value = serde_json::from_str(again.line()).expect("it is JSON");
        assert_eq!(document["bytesSent"], 0, "{document}");
        let pull = format!("pull {scheme}://{bucket}/team/app:v{number} -i oci:o{number} --root-dir {root}/a");
        assert_eq!(in_folder(folder.path(), &pull, configure).digest(), pushed.digest());
    }
    let listed = objects.list(Some(&root.as_str().into())).map_ok(|meta| meta.location.to_string());
    let keys: Vec<_> = listed.try_collect().await.expect("the store lists");
    assert!(keys.iter().all(|key| key.starts_with(&format!("{root}/a/docker/registry/v2/"))), "{keys:?}");
    let missing = in_folder(folder.path(), &format!("{backend} pull {bucket}/team/app:v9 -i oci:missing"), configure);
    missing.failed(10, "v9");
}

#[tokio::test(flavor = "multi_thread")]
async fn google_takes_an_image_and_gives_it_back() {
    let url = google::start().await;
    let objects = google::store(&url);
    round_trip(["gcs", "gs"], google::BUCKET, &objects, &|command| {
        command.env("STORAGE_EMULATOR_HOST", &url);
    })
    .await;
}

/// fake-gcs-server takes no writes of ours, so what is read is put there by its JSON API.
#[test]
fn another_makers_google_gives_an_image_back() {
    let Some(url) = service("fake-gcs", "OCI_STORE_TEST_FAKE_GCS_ENDPOINT") else { return };
    let bucket = std::env::var("OCI_STORE_TEST_FAKE_GCS_BUCKET").expect("the bucket is set with the endpoint");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.tar"), docker_save("app:1", "google", &LAYERS)).unwrap();
    let pushed = in_folder(folder.path(), "fs push demo/app:v1 -i docker-archive:app.tar", |_| {});
    let root = unique("test");
    let mut folders = vec![folder.path().join("demo")];
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(&inner).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(folder.path().join("demo")).unwrap().display().to_string();
            let name = format!("{root}/{key}").replace('/', "%2F");
            let sent = Command::new("curl")
                .args(["-sS", "--fail", "--output", "/dev/null", "--data-binary"])
                .arg(format!("@{}", path.display()))
                .arg(format!("{url}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"))
                .status();
            assert!(sent.unwrap().success(), "{key}");
        }
    }
    let pulled =
        in_folder(folder.path(), &format!("pull gs://{bucket}/app:v1 -i oci:o --root-dir {root}"), |command| {
            command.env("STORAGE_EMULATOR_HOST", &url);
        });
    assert_eq!(pulled.digest(), pushed.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_takes_an_image_and_gives_it_back() {
    let Some(azure) = Azure::get() else { return };
    let objects = azure.objects();
    let by_key = |command: &mut Command| {
        azure.configure(command).env_remove("OCI_STORE_ROOT_DIR");
    };
    round_trip(["azure", "az"], &azure.container, objects.as_ref(), &by_key).await;
    let by_connection_string = |command: &mut Command| {
        let Azure { account, key, endpoint, .. } = &azure;
        let string = format!("AccountName={account};AccountKey={key};BlobEndpoint={endpoint};");
        command.env("AZURE_STORAGE_CONNECTION_STRING", string);
    };
    round_trip(["azure", "az"], &azure.container, objects.as_ref(), &by_connection_string).await;
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
