//! Each store by each operation.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use super::table::{Cell, Column, Operation, Table};
use crate::support::azure::Azure;
use crate::support::googleapis::GoogleApis;
use crate::support::image::{docker_save, oci_index};
use crate::support::registry::Registry;
use crate::support::run::{Ran, in_folder, oci_store, run};
use crate::support::s3::S3;
use crate::support::{google, service, unique};

/// The images' archives, with the sizes of their layers: 9 MB travel in parts.
const IMAGES: [(&str, &[usize]); 3] = [("app", &[1000, 300_000]), ("other", &[1000]), ("large", &[1000, 9_000_000])];

const CARRIED: &str = "oci-store wrote it to a folder; its objects were carried over by the JSON API.";
const NO_WRITES: &str = "fake-gcs-server takes no writes of Google's XML API.";

const OPERATIONS: &[Operation<Store>] = &[
    ("`push`", push),
    ("the same `push` again sends nothing", push_again),
    ("`push` over a tag moves it", move_tag),
    ("`pull`", pull),
    ("an index: `push` whole with its attestations, `pull` whole and of one platform", index),
    ("`--root-dir a/b`, `/a/b` and `/a/b/` are one place", root_dirs),
    ("`serve`: skopeo pushes to it, pulls from it and deletes", serve),
    ("`serve`: crane and oras push to it and pull from it", serve_others),
    ("Docker's registry reads what `push` wrote", dockers_reads),
    ("`pull` reads what Docker's registry wrote", dockers_wrote),
    ("`push` over a tag that Docker's registry wrote", over_dockers),
    ("a bucket that is not there: exit 10", no_bucket),
    ("wrong credentials: exit 12", wrong_credentials),
    ("`doctor` finds nothing that fails", doctor),
];

/// A part of a bucket that is this test's own.
struct Store {
    scheme: &'static str,
    bucket: String,
    /// Points a command at it.
    configure: Box<dyn Fn(&mut Command) + Send + Sync>,
    /// A variable, and a value of it that is a wrong secret.
    wrong: Option<(&'static str, &'static str)>,
    /// Starts Docker's registry on it.
    dockers: Box<dyn Fn() -> Result<Registry, &'static str> + Send + Sync>,
    registry: OnceLock<Result<Registry, &'static str>>,
    /// The URL of fake-gcs-server, and the folder in its bucket, where what is pushed has to be carried.
    carried: Option<(String, String)>,
    /// Where commands run, with the images' archives in it.
    folder: tempfile::TempDir,
    clients: Clients,
}

/// Other people's clients of registries: programs.
#[derive(Clone)]
struct Clients {
    skopeo: String,
    crane: String,
    oras: String,
}

/// Tries everything, if all stores are there.
pub(super) async fn table() -> Option<Table> {
    let (minio, versity, azure) = (S3::get(), S3::versity(), Azure::get());
    let fake = service("fake-gcs", "OCI_STORE_TEST_FAKE_GCS_ENDPOINT");
    let skopeo = service("skopeo", "OCI_STORE_TEST_SKOPEO");
    let (crane, oras) = (service("crane", "OCI_STORE_TEST_CRANE"), service("oras", "OCI_STORE_TEST_ORAS"));
    service("registry", "OCI_STORE_TEST_REGISTRY")?;
    service("registry3", "OCI_STORE_TEST_REGISTRY3")?;
    let (minio, versity, azure, fake) = (minio?, versity?, azure?, fake?);
    let clients = Clients { skopeo: skopeo?, crane: crane?, oras: oras? };
    let url = google::start().await;
    let column = |name: &'static str, place: Store| Column { name, place, closed: None };
    let columns = [
        column("folder", Store::folder(&clients)),
        column("MinIO", Store::s3(minio, &clients)),
        column("versitygw", Store::s3(versity, &clients)),
        column("Azurite", Store::azure(azure, &clients)),
        column("Google, XML", Store::google(url, &clients)),
        column("fake-gcs-server", Store::fake_google(fake, &clients)),
    ];
    Some(tokio::task::block_in_place(|| Table::of(&columns, OPERATIONS)))
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

    fn folder(clients: &Clients) -> Self {
        let outside = tempfile::tempdir().expect("a folder can be made");
        let bucket = outside.path().join("demo/root");
        let configure = move |command: &mut Command| {
            command.env("OCI_STORE_DIR", outside.path()).env("OCI_STORE_ROOT_DIR", "root");
        };
        Self::new(("fs", "demo".to_owned()), configure, move || Registry::dockers_on_folder(&bucket), clients)
    }

    fn s3(s3: S3, clients: &Clients) -> Self {
        let (bucket, same) = (s3.bucket.clone(), s3.clone());
        let configure = move |command: &mut Command| {
            same.configure(command);
        };
        let dockers = move || Registry::dockers_on_s3(&s3);
        let wrong = Some(("AWS_SECRET_ACCESS_KEY", "wrong"));
        Self { wrong, ..Self::new(("s3", bucket), configure, dockers, clients) }
    }

    fn azure(azure: Azure, clients: &Clients) -> Self {
        let (container, same) = (azure.container.clone(), azure.clone());
        let configure = move |command: &mut Command| {
            same.configure(command);
        };
        let dockers = move || Registry::dockers_on_azure(&azure);
        let wrong = Some(("AZURE_STORAGE_KEY", "aGVsbG8="));
        Self { wrong, ..Self::new(("az", container), configure, dockers, clients) }
    }

    fn google(url: String, clients: &Clients) -> Self {
        let configure = move |command: &mut Command| {
            command.env("STORAGE_EMULATOR_HOST", &url).env("OCI_STORE_ROOT_DIR", "root");
        };
        let dockers =
            || Err("Docker's registry speaks the JSON API, which this server does not have; see fake-gcs-server.");
        Self { dockers: Box::new(dockers), ..Self::new(("gs", google::BUCKET.to_owned()), configure, || None, clients) }
    }

    fn fake_google(url: String, clients: &Clients) -> Self {
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
    fn reference(&self, image: &str) -> String {
        format!("{}://{}/{image}", self.scheme, self.bucket)
    }

    /// Runs a command line, split at spaces.
    fn run(&self, line: &str) -> Ran {
        self.run_with(line, |_| {})
    }

    fn run_with(&self, line: &str, change: impl FnOnce(&mut Command)) -> Ran {
        let mut command = oci_store();
        (self.configure)(&mut command);
        command.current_dir(self.folder.path()).args(line.split(' '));
        change(&mut command);
        run(&mut command)
    }

    /// Has an image there, and returns its digest and what is to be known of how.
    fn put(&self, image: &str, archive: &str) -> (String, Cell) {
        let Some((url, root)) = &self.carried else {
            let ran = self.run(&format!("push {} -i {archive}", self.reference(image)));
            return (ran.digest().to_owned(), Cell::Pass);
        };
        let local = unique("carried");
        let ran = in_folder(self.folder.path(), &format!("fs push {local}/{image} -i {archive}"));
        carry(&self.folder.path().join(local), &format!("{url}/upload/storage/v1/b/{}/o", self.bucket), root);
        (ran.digest().to_owned(), Cell::PassBut(CARRIED.to_owned()))
    }

    fn pull(&self, image: &str, flags: &str) -> String {
        let ran = self.run(&format!("pull {} -i oci:{}{flags}", self.reference(image), unique("layout")));
        ran.digest().to_owned()
    }

    /// Returns Docker's registry on this store, which all operations share.
    fn dockers(&self) -> Result<&Registry, Cell> {
        self.registry.get_or_init(|| (self.dockers)()).as_ref().map_err(|reason| Cell::no(*reason))
    }

    /// Runs another program and returns what it prints.
    fn client(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        let ran = run(command.args(arguments).current_dir(self.folder.path()).env("HOME", self.folder.path()));
        assert_eq!(ran.code, Some(0), "{program} {arguments:?}: {ran:#?}");
        ran.stdout.trim().to_owned()
    }

    fn skopeo(&self, arguments: &[&str]) -> String {
        self.client(&self.clients.skopeo, &[&["--insecure-policy"], arguments].concat())
    }

    /// Has skopeo push an archive to a registry and returns the digest.
    fn skopeo_push(&self, archive: &str, registry: &Registry, image: &str) -> String {
        let place = format!("docker://{}/{image}", registry.address);
        self.skopeo(&["copy", "--dest-tls-verify=false", archive, &place]);
        self.skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &place])
    }

    /// Has skopeo pull an image from a registry, every blob of it, and returns the digest.
    fn skopeo_pull(&self, registry: &Registry, image: &str) -> String {
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

/// The reason why a store takes no writes, after it was seen to refuse one.
fn without_writes(store: &Store) -> Option<Cell> {
    store.carried.as_ref()?;
    let ran = store.run(&format!("push {} -i docker-archive:app.tar", store.reference("refused:v1")));
    assert!(ran.code == Some(1) && ran.stderr.contains("invalid uploadType"), "{ran:#?}");
    Some(Cell::no(NO_WRITES))
}

fn push(store: &Store) -> Cell {
    without_writes(store).unwrap_or_else(|| store.put("push:v1", "docker-archive:large.tar").1)
}

fn push_again(store: &Store) -> Cell {
    without_writes(store).unwrap_or_else(|| {
        let (digest, cell) = store.put("again:v1", "docker-archive:app.tar");
        for name in ["again:v1", "team/again:v2"] {
            let ran = store.run(&format!("push {} -i docker-archive:app.tar --format json", store.reference(name)));
            let document: serde_json::Value = serde_json::from_str(ran.line()).expect("the result is JSON");
            assert_eq!((&document["digest"], &document["bytesSent"]), (&digest.as_str().into(), &0.into()), "{ran:#?}");
        }
        cell
    })
}

fn move_tag(store: &Store) -> Cell {
    without_writes(store).unwrap_or_else(|| {
        let (old, _) = store.put("moved:v1", "docker-archive:app.tar");
        let (new, cell) = store.put("moved:v1", "docker-archive:other.tar");
        assert_ne!(old, new);
        assert_eq!(store.pull("moved:v1", ""), new);
        cell
    })
}

fn pull(store: &Store) -> Cell {
    let (digest, cell) = store.put("team/pulled:v1", "docker-archive:large.tar");
    assert_eq!(store.pull("team/pulled:v1", ""), digest);
    store.run(&format!("pull {} -i oci:none", store.reference("team/pulled:v9"))).failed(10, "v9");
    cell
}

fn index(store: &Store) -> Cell {
    let made = oci_index("index:v1", &unique("index"), &["amd64", "arm64"]);
    std::fs::write(store.folder.path().join("index.tar"), &made.archive).expect("a file can be written");
    let (digest, cell) = store.put("index:v1", "oci-archive:index.tar");
    assert_eq!(digest, made.digest);
    assert_eq!(store.pull("index:v1", ""), made.digest);
    assert_eq!(store.pull("index:v1", " --platform linux/arm64"), made.images[1]);
    cell
}

fn root_dirs(store: &Store) -> Cell {
    without_writes(store).unwrap_or_else(|| {
        let root = unique("root");
        let spellings = [format!("{root}/b"), format!("/{root}/b"), format!("/{root}/b/")];
        let push = |spelling: &str| {
            let place = store.reference("team/app:v1");
            let ran = store.run(&format!("push {place} -i docker-archive:app.tar --root-dir {spelling} --format json"));
            serde_json::from_str::<serde_json::Value>(ran.line()).expect("the result is JSON")
        };
        let first = push(&spellings[0]);
        assert_ne!(first["bytesSent"], 0);
        for spelling in &spellings {
            let again = push(spelling);
            assert_eq!((&again["digest"], &again["bytesSent"]), (&first["digest"], &0.into()), "{spelling}");
            let pulled = store.pull("team/app:v1", &format!(" --root-dir {spelling}"));
            assert_eq!(first["digest"], pulled.as_str(), "{spelling}");
        }
        Cell::Pass
    })
}

fn serve(store: &Store) -> Cell {
    without_writes(store).unwrap_or_else(|| {
        let mut command = oci_store();
        (store.configure)(&mut command);
        let registry = Registry::ours(command.args(["serve", &format!("{}://{}", store.scheme, store.bucket)]));
        let digest = store.skopeo_push("docker-archive:app.tar", &registry, "team/served:v1");
        assert_eq!(store.skopeo_pull(&registry, "team/served:v1"), digest);
        assert_eq!(store.pull("team/served:v1", ""), digest);
        let place = format!("docker://{}/team/served:v1", registry.address);
        store.skopeo(&["delete", "--tls-verify=false", &place]);
        store.run(&format!("pull {} -i oci:none", store.reference("team/served:v1"))).failed(10, "v1");
        assert_eq!(registry.interrupt(), Some(0));
        Cell::Pass
    })
}

/// crane sends a layer in pieces and then its digest, oras the digest first.
fn serve_others(store: &Store) -> Cell {
    without_writes(store).unwrap_or_else(|| {
        let mut command = oci_store();
        (store.configure)(&mut command);
        let registry = Registry::ours(command.args(["serve", &format!("{}://{}", store.scheme, store.bucket)]));
        let Clients { crane, oras, .. } = &store.clients;
        let place = |name: &str| format!("{}/team/{name}:v1", registry.address);
        store.client(crane, &["push", "--insecure", "large.tar", &place("crane")]);
        let digest = store.client(crane, &["digest", "--insecure", &place("crane")]);
        assert_eq!(store.pull("team/crane:v1", ""), digest);
        store.client(crane, &["pull", "--insecure", &place("crane"), "crane.tar"]);
        let digest = store.put("team/source:v1", "docker-archive:other.tar").0;
        store.run(&format!("pull {} -i oci:source:v1", store.reference("team/source:v1"))).line();
        store.client(oras, &["cp", "--from-oci-layout", "source:v1", "--to-plain-http", &place("oras")]);
        assert_eq!(store.pull("team/oras:v1", ""), digest);
        store.client(oras, &["cp", "--from-plain-http", &place("oras"), "--to-oci-layout", "back:v1"]);
        assert_eq!(registry.interrupt(), Some(0));
        Cell::Pass
    })
}

fn dockers_reads(store: &Store) -> Cell {
    let registry = match store.dockers() {
        Ok(registry) => registry,
        Err(reason) => return reason,
    };
    let (digest, cell) = store.put("team/ours:v1", "docker-archive:large.tar");
    assert_eq!(store.skopeo_pull(registry, "team/ours:v1"), digest);
    cell
}

fn dockers_wrote(store: &Store) -> Cell {
    let registry = match store.dockers() {
        Ok(registry) => registry,
        Err(reason) => return reason,
    };
    let digest = store.skopeo_push("docker-archive:large.tar", registry, "team/theirs:v1");
    assert_eq!(store.pull("team/theirs:v1", ""), digest);
    Cell::Pass
}

fn over_dockers(store: &Store) -> Cell {
    let registry = match store.dockers() {
        Ok(registry) => registry,
        Err(reason) => return reason,
    };
    without_writes(store).unwrap_or_else(|| {
        let theirs = store.skopeo_push("docker-archive:app.tar", registry, "team/over:v1");
        let (ours, cell) = store.put("team/over:v1", "docker-archive:other.tar");
        assert_ne!(theirs, ours);
        assert_eq!(store.pull("team/over:v1", ""), ours);
        assert_eq!(store.skopeo_pull(registry, "team/over:v1"), ours);
        cell
    })
}

fn no_bucket(store: &Store) -> Cell {
    let ran = store.run(&format!("pull {}://no-such-bucket/app:v1 -i oci:none", store.scheme));
    if store.carried.is_some() {
        ran.failed(14, "the store answered 500");
        return Cell::no("fake-gcs-server answers 500, as no store that works does: exit 14.");
    }
    ran.failed(10, "no-such-bucket");
    Cell::Pass
}

fn wrong_credentials(store: &Store) -> Cell {
    let Some((variable, value)) = store.wrong else { return Cell::no("It asks for no credentials.") };
    let pull = format!("pull {} -i oci:none", store.reference("app:v1"));
    let wrong = |command: &mut Command| {
        command.env(variable, value);
    };
    store.run_with(&pull, wrong).failed(12, variable);
    Cell::Pass
}

fn doctor(store: &Store) -> Cell {
    without_writes(store).unwrap_or_else(|| {
        let line =
            format!("doctor {}://{} --format json -H unix:///nonexistent/docker.sock", store.scheme, store.bucket);
        let ran = store.run(&line);
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:#?}"));
        let findings = document["findings"].as_array().expect("a list");
        let of_store: Vec<_> = findings.iter().filter(|finding| finding["check"] != "docker").collect();
        assert!(!of_store.is_empty() && of_store.iter().all(|finding| finding["status"] != "failed"), "{ran:#?}");
        Cell::Pass
    })
}
