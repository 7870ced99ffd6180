//! Registries that tests start: ours by `serve`, and Docker's own.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::s3::S3;
use super::service;

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
        Self::dockers(&on_folder(folder), "", "")
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
        Self::dockers(&on_folder(folder), &format!("auth: {{{auth}}}\n"), &tls.unwrap_or_default())
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
        Self::dockers(&storage, "", "")
    }

    fn dockers(storage: &str, auth: &str, tls: &str) -> Option<Self> {
        let program = service("registry", "OCI_STORE_TEST_REGISTRY")?;
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
            let mut child = Command::new(&program)
                .arg("serve")
                .arg(file.path())
                .env_remove("AWS_CA_BUNDLE")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("Docker's registry starts");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(20) {
                if TcpStream::connect(&address).is_ok() {
                    return Some(Self { child, address });
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
