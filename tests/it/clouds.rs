//! Google's and Azure's stores, through the command line.

use std::path::Path;
use std::process::Command;

use crate::support::azure::Azure;
use crate::support::image::docker_save;
use crate::support::run::{Ran, oci_store, run};

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
