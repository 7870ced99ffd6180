//! One store: how it is reached, and what tests do there.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::table::Cell;
use crate::support::azure::Azure;
use crate::support::googleapis::GoogleApis;
use crate::support::image::docker_save;
use crate::support::registry::Registry;
use crate::support::run::{Ran, in_folder, oci_store, run};
use crate::support::s3::S3;
use crate::support::{google, unique};

/// The images' archives, with the sizes of their layers: 9 MB travel in parts.
const IMAGES: [(&str, &[usize]); 3] = [("app", &[1000, 300_000]), ("other", &[1000]), ("large", &[1000, 9_000_000])];

const CARRIED: &str = "oci-store wrote it to a folder; its objects were carried over by the JSON API.";

/// A part of a bucket that is this test's own.
pub(super) struct Store {
    pub(super) scheme: &'static str,
    pub(super) bucket: String,
    /// Points a command at it.
    pub(super) configure: Box<dyn Fn(&mut Command) + Send + Sync>,
    /// A variable, and a value of it that is a wrong secret.
    pub(super) wrong: Option<(&'static str, &'static str)>,
    /// Starts Docker's registry on it.
    dockers: Box<dyn Fn() -> Result<Registry, &'static str> + Send + Sync>,
    registry: OnceLock<Result<Registry, &'static str>>,
    /// The URL of fake-gcs-server, and the folder in its bucket, where what is pushed has to be carried.
    pub(super) carried: Option<(String, String)>,
    /// Where commands run, with the images' archives in it.
    pub(super) folder: tempfile::TempDir,
    pub(super) clients: Clients,
}

/// Other people's clients of registries: programs.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) skopeo: String,
    pub(super) crane: String,
    pub(super) oras: String,
}

impl Store {
    fn new(
        place: (&'static str, String),
        configure: impl Fn(&mut Command) + Send + Sync + 'static,
        dockers: impl Fn() -> Option<Registry> + Send + Sync + 'static,
        clients: &Clients,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for (name, layers) in IMAGES {
            let archive = docker_save("app:1", &unique(name), layers);
            std::fs::write(folder.path().join(format!("{name}.tar")), archive).expect("a file can be written");
        }
        Self {
            scheme: place.0,
            bucket: place.1,
            configure: Box::new(configure),
            wrong: None,
            dockers: Box::new(move || Ok(dockers().expect("the program is there"))),
            registry: OnceLock::new(),
            carried: None,
            folder,
            clients: clients.clone(),
        }
    }

    pub(super) fn folder(clients: &Clients) -> Self {
        let outside = tempfile::tempdir().expect("a folder can be made");
        let bucket = outside.path().join("demo/root");
        let configure = move |command: &mut Command| {
            command.env("OCI_STORE_DIR", outside.path()).env("OCI_STORE_ROOT_DIR", "root");
        };
        Self::new(("fs", "demo".to_owned()), configure, move || Registry::dockers_on_folder(&bucket), clients)
    }

    pub(super) fn s3(s3: S3, clients: &Clients) -> Self {
        let (bucket, same) = (s3.bucket.clone(), s3.clone());
        let configure = move |command: &mut Command| {
            same.configure(command);
        };
        let dockers = move || Registry::dockers_on_s3(&s3);
        let wrong = Some(("AWS_SECRET_ACCESS_KEY", "wrong"));
        Self { wrong, ..Self::new(("s3", bucket), configure, dockers, clients) }
    }

    pub(super) fn azure(azure: Azure, clients: &Clients) -> Self {
        let (container, same) = (azure.container.clone(), azure.clone());
        let configure = move |command: &mut Command| {
            same.configure(command);
        };
        let dockers = move || Registry::dockers_on_azure(&azure);
        let wrong = Some(("AZURE_STORAGE_KEY", "aGVsbG8="));
        Self { wrong, ..Self::new(("az", container), configure, dockers, clients) }
    }

    pub(super) fn google(url: String, clients: &Clients) -> Self {
        let configure = move |command: &mut Command| {
            command.env("STORAGE_EMULATOR_HOST", &url).env("OCI_STORE_ROOT_DIR", "root");
        };
        let dockers =
            || Err("Docker's registry speaks the JSON API, which this server does not have; see fake-gcs-server.");
        Self { dockers: Box::new(dockers), ..Self::new(("gs", google::BUCKET.to_owned()), configure, || None, clients) }
    }

    pub(super) fn fake_google(url: String, clients: &Clients) -> Self {
        let bucket = std::env::var("OCI_STORE_TEST_FAKE_GCS_BUCKET").expect("the bucket is set with the endpoint");
        let root = unique("test");
        let apis = GoogleApis::new(&url);
        let dockers = {
            let (bucket, root) = (bucket.clone(), root.clone());
            move || Registry::dockers_on_google(&apis, &bucket, &root)
        };
        let configure = {
            let (url, root) = (url.clone(), root.clone());
            move |command: &mut Command| {
                command.env("STORAGE_EMULATOR_HOST", &url).env("OCI_STORE_ROOT_DIR", &root);
            }
        };
        Self { carried: Some((url, root)), ..Self::new(("gs", bucket), configure, dockers, clients) }
    }

    /// Returns the reference of an image, such as `app:v1`.
    pub(super) fn reference(&self, image: &str) -> String {
        format!("{}://{}/{image}", self.scheme, self.bucket)
    }

    /// Runs a command line, split at spaces.
    pub(super) fn run(&self, line: &str) -> Ran {
        self.run_with(line, |_| {})
    }

    pub(super) fn run_with(&self, line: &str, change: impl FnOnce(&mut Command)) -> Ran {
        let mut command = oci_store();
        (self.configure)(&mut command);
        command.current_dir(self.folder.path()).args(line.split(' '));
        change(&mut command);
        run(&mut command)
    }

    /// Has an image there, and returns its digest and what is to be known of how.
    pub(super) fn put(&self, image: &str, archive: &str) -> (String, Cell) {
        let Some((url, root)) = &self.carried else {
            let ran = self.run(&format!("push {} -i {archive}", self.reference(image)));
            return (ran.digest().to_owned(), Cell::Pass);
        };
        let local = unique("carried");
        let ran = in_folder(self.folder.path(), &format!("fs push {local}/{image} -i {archive}"));
        carry(&self.folder.path().join(local), &format!("{url}/upload/storage/v1/b/{}/o", self.bucket), root);
        (ran.digest().to_owned(), Cell::PassBut(CARRIED.to_owned()))
    }

    pub(super) fn pull(&self, image: &str, flags: &str) -> String {
        let ran = self.run(&format!("pull {} -i oci:{}{flags}", self.reference(image), unique("layout")));
        ran.digest().to_owned()
    }

    /// Returns Docker's registry on this store, which all operations share.
    pub(super) fn dockers(&self) -> Result<&Registry, Cell> {
        self.registry.get_or_init(|| (self.dockers)()).as_ref().map_err(|reason| Cell::no(*reason))
    }

    /// Runs another program and returns what it prints.
    pub(super) fn client(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        let ran = run(command.args(arguments).current_dir(self.folder.path()).env("HOME", self.folder.path()));
        assert_eq!(ran.code, Some(0), "{program} {arguments:?}: {ran:#?}");
        ran.stdout.trim().to_owned()
    }

    pub(super) fn skopeo(&self, arguments: &[&str]) -> String {
        self.client(&self.clients.skopeo, &[&["--insecure-policy"], arguments].concat())
    }

    /// Has skopeo push an archive to a registry and returns the digest.
    pub(super) fn skopeo_push(&self, archive: &str, registry: &Registry, image: &str) -> String {
        let place = format!("docker://{}/{image}", registry.address);
        self.skopeo(&["copy", "--dest-tls-verify=false", archive, &place]);
        self.skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &place])
    }

    /// Has skopeo pull an image from a registry, every blob of it, and returns the digest.
    pub(super) fn skopeo_pull(&self, registry: &Registry, image: &str) -> String {
        let place = format!("docker://{}/{image}", registry.address);
        self.skopeo(&["copy", "--src-tls-verify=false", &place, &format!("dir:{}", unique("back"))]);
        self.skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &place])
    }
}

/// Puts every object of a folder into a bucket of fake-gcs-server, by its JSON API.
fn carry(from: &Path, upload: &str, root: &str) {
    for path in crate::places::walk(from) {
        let key = path.strip_prefix(from).expect("it is in there").display().to_string();
        let name = format!("{root}/{key}").replace('/', "%2F");
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail", "--output", "/dev/null", "--data-binary", &format!("@{}", path.display())]);
        let sent = run(curl.arg(format!("{upload}?uploadType=media&name={name}")));
        assert_eq!(sent.code, Some(0), "{key}: {sent:#?}");
    }
}
