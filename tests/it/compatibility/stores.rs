//! Each store by each operation.

use std::process::Command;

use super::store::{Clients, Store};
use super::table::{Cell, Column, Operation, Table};
use crate::support::azure::Azure;
use crate::support::image::oci_index;
use crate::support::registry::Registry;
use crate::support::run::oci_store;
use crate::support::s3::S3;
use crate::support::{google, service, unique};

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
