//! Registries that tests start: ours by `serve`, and Docker's own.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::azure::Azure;
use super::googleapis::GoogleApis;
use super::s3::S3;
use super::service;

/// Debian's, of version 2: without drivers for Azure and Google.
const DEBIANS: &str = "OCI_STORE_TEST_REGISTRY";
/// Version 3.
const THREE: &str = "OCI_STORE_TEST_REGISTRY3";

/// A registry process, ended with the test.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
}

impl Registry {
    /// Starts `oci-store … serve` with `command`, whose arguments but `--listen` are set.
    pub(crate) fn ours(command: &mut Command) -> Self {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut url = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut url).expect("it prints a line");
        let Some(address) = url.trim().strip_prefix("http://") else {
            let mut said = String::new();
            child.stderr.take().expect("it is piped").read_to_string(&mut said).expect("it says why");
            panic!("serve did not start: {said}");
        };
        Self { address: address.to_owned(), child }
    }

    /// Starts Docker's registry on a folder.
    pub(crate) fn dockers_on_folder(folder: &Path) -> Option<Self> {
        Some(Self::dockers(&service("registry", DEBIANS)?, &on_folder(folder), &[]))
    }

    /// Starts Docker's registry on a folder, where not everybody may do everything: `auth` is that part of its configuration, and
    /// `tls` the files of its certificate and key.
    pub(crate) fn dockers_guarded(folder: &Path, auth: &str, tls: Option<(&Path, &Path)>) -> Option<Self> {
        let tls = tls.map(|(certificate, key)| {
            format!(
                ", tls: {{certificate: {:?}, key: {:?}}}",
                certificate.display().to_string(),
                key.display().to_string()
            )
        });
        let (auth, tls) = (format!("auth: {{{auth}}}\n"), tls.unwrap_or_default());
        Some(Self::start(&service("registry", DEBIANS)?, &on_folder(folder), &auth, &tls, &[]))
    }

    /// Starts Docker's registry on a part of the test bucket.
    pub(crate) fn dockers_on_s3(s3: &S3) -> Option<Self> {
        let storage = format!(
            "s3: {{regionendpoint: {:?}, region: us-east-1, bucket: {:?}, accesskey: {:?}, secretkey: {:?}, secure: false, rootdirectory: {:?}}}",
            s3.endpoint,
            s3.bucket,
            s3.access_key,
            s3.secret_key,
            format!("/{}", s3.root)
        );
        Some(Self::dockers(&service("registry", DEBIANS)?, &storage, &[]))
    }

    /// Starts Docker's registry on a part of the test container. This version writes append blobs.
    pub(crate) fn dockers_on_azure(azure: &Azure) -> Option<Self> {
        let storage = format!(
            "azure: {{accountname: {:?}, accountkey: {:?}, credentials: {{type: shared_key}}, container: {:?}, serviceurl: {:?}, rootdirectory: {:?}}}",
            azure.account,
            azure.key,
            azure.container,
            azure.endpoint,
            format!("/{}/", azure.root)
        );
        Some(Self::dockers(&service("registry3", THREE)?, &storage, &[]))
    }

    /// Starts Docker's registry on a folder of a bucket of fake-gcs-server.
    pub(crate) fn dockers_on_google(apis: &GoogleApis, bucket: &str, root: &str) -> Option<Self> {
        let storage = format!("gcs: {{bucket: {bucket:?}, rootdirectory: {:?}}}", format!("/{root}/"));
        Some(Self::dockers(&service("registry3", THREE)?, &storage, &apis.variables()))
    }

    fn dockers(program: &str, storage: &str, variables: &[(&str, String)]) -> Self {
        Self::start(program, storage, "", "", variables)
    }

    fn start(program: &str, storage: &str, auth: &str, tls: &str, variables: &[(&str, String)]) -> Self {
        // Taken and given back: the registry cannot tell which port it took. Another process may take it in between; then the
        // registry does not start and the next one is tried.
        for _ in 0..5 {
            let port =
                TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound").port();
            let address = format!("127.0.0.1:{port}");
            let config = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{{storage}, delete: {{enabled: true}}, redirect: {{disable: true}}, maintenance: {{uploadpurging: {{enabled: false}}}}}}\n{auth}http: {{addr: {address:?}{tls}}}\n"
            );
            let file = tempfile::NamedTempFile::new().expect("a file can be made");
            std::fs::write(file.path(), config).expect("a file can be written");
            let mut child = Command::new(program)
                .arg("serve")
                .arg(file.path())
                .env_remove("AWS_CA_BUNDLE")
                .env("OTEL_TRACES_EXPORTER", "none")
                .envs(variables.iter().map(|(name, value)| (name, value)))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("Docker's registry starts");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(20) {
                if TcpStream::connect(&address).is_ok() {
                    return Self { child, address };
                }
                if child.try_wait().expect("it can be asked").is_some() {
                    break;
                }
                std::thread::yield_now();
            }
            drop(child.kill());
            drop(child.wait());
        }
        panic!("Docker's registry did not start");
    }

    /// Ends the process as Ctrl-C does and returns its exit code.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        signal(&self.child, "INT");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn on_folder(folder: &Path) -> String {
    format!("filesystem: {{rootdirectory: {:?}}}", folder.display().to_string())
}

/// Sends a signal to a child.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent =
        Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
}
