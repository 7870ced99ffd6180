//! The fastest way out of a daemon: what is compressed here, what is not sent, and what is not even asked for.

use std::fs;
use std::path::Path;

use storage_layout::Algorithm;

use crate::support::docker::{Docker, LoadedImage};
use crate::support::fake_docker::{FakeDocker, Reply};
use crate::support::image::{config_digest, docker_save};
use crate::support::registry::Registry;
use crate::support::run::{Ran, oci_store, run};

const GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

fn go(docker: &Docker, folder: &Path, verb: &str, reference: &str, flags: &[&str]) -> Ran {
    let mut command = oci_store();
    docker.configure(&mut command).args(["fs", verb, &format!("demo/{reference}"), "--dir"]).arg(folder);
    run(command.args(flags))
}

fn document(ran: &Ran) -> serde_json::Value {
    serde_json::from_str(ran.line()).expect("the result is JSON")
}

/// Returns the blobs with what became of them, the largest last.
fn statuses(document: &serde_json::Value) -> Vec<(u64, String)> {
    let blobs = document["blobs"].as_array().expect("there is a list");
    let status = |blob: &serde_json::Value| {
        (blob["size"].as_u64().expect("a number"), blob["status"].as_str().expect("a text").to_owned())
    };
    let mut statuses: Vec<_> = blobs.iter().map(status).collect();
    statuses.sort();
    statuses
}

#[test]
fn every_daemon_pulls_what_was_compressed_here() {
    for (kind, docker) in Docker::all().into_iter().filter(|(kind, _)| *kind != "docker-c8d") {
        let folder = tempfile::tempdir().unwrap();
        // Of several pieces, of one, and of nothing but the tar's own.
        let image = LoadedImage::new(&docker, &[3_500_000, 1000, 0]);
        let id = image.id();
        let flags = ["--compression", "gzip", "--compression-level", "1", "--format", "json"];
        let pushed = document(&go(&docker, folder.path(), "push", &image.name(), &flags));
        assert_eq!(pushed["transport"], "archive", "{kind}");
        assert!(pushed["blobs"].as_array().unwrap()[1..].iter().all(|blob| blob["mediaType"] == GZIP), "{pushed}");
        image.remove();
        assert_eq!(go(&docker, folder.path(), "pull", &image.name(), &[]).digest(), pushed["digest"]);
        assert_eq!(image.id(), id, "{kind}");
    }
}

#[test]
fn dockers_registry_serves_what_was_compressed_here() {
    let (Some(docker), folder) = (Docker::get(), tempfile::tempdir().unwrap()) else { return };
    let image = LoadedImage::new(&docker, &[3_500_000, 1000]);
    let id = image.id();
    go(&docker, folder.path(), "push", &image.name(), &["--transport", "archive"]).line();
    image.remove();
    let Some(registry) = Registry::dockers_on_folder(&folder.path().join("demo")) else { return };
    let theirs = format!("{}/{}", registry.address, image.name());
    docker.run(&["pull", &theirs]);
    assert_eq!(docker.id(&theirs).unwrap(), id);
}

#[test]
fn zstd_is_warned_of_and_pulled_by_whoever_can() {
    let (Some(docker), folder) = (Docker::get(), tempfile::tempdir().unwrap()) else { return };
    let image = LoadedImage::new(&docker, &[3_500_000, 1000]);
    let (id, flags) = (image.id(), ["--compression", "zstd", "--format", "json"]);
    let ran = go(&docker, folder.path(), "push", &image.name(), &flags);
    assert!(ran.stderr.contains("Docker before 23.0 cannot pull"), "{ran:#?}");
    let pushed = document(&ran);
    assert_eq!(pushed["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert!(pushed["blobs"].as_array().unwrap()[1..].iter().all(|blob| blob["mediaType"] == ZSTD), "{pushed}");
    assert_eq!(pushed["blobs"][0]["digest"], id);
    // What is there in another format is not what was asked for.
    let gzip =
        document(&go(&docker, folder.path(), "push", &image.name(), &["--compression", "gzip", "--format", "json"]));
    assert_eq!((&gzip["blobs"][0]["digest"], &gzip["blobs"][0]["status"]), (&id.clone().into(), &"exists".into()));
    assert!(gzip["blobs"].as_array().unwrap()[1..].iter().all(|blob| blob["status"] == "sent"), "{gzip}");
    let again = document(&go(&docker, folder.path(), "push", &image.name(), &flags));
    assert_eq!((&again["digest"], &again["bytesSent"]), (&pushed["digest"], &0.into()));
    for (_, modern) in Docker::all().into_iter().filter(|(kind, _)| *kind == "docker-c8d") {
        let pulled = LoadedImage::expected(&modern);
        go(&modern, folder.path(), "pull", &image.name(), &["-i", &pulled.name()]).line();
        assert_eq!(pulled.id(), pushed["digest"]);
        let layers = |docker: &Docker, name: &str| docker.run(&["inspect", "--format", "{{.RootFS.Layers}}", name]);
        assert_eq!(layers(&modern, &pulled.name()), layers(&docker, &image.name()));
    }
}

#[test]
fn a_layer_that_the_bucket_has_is_read_past() {
    for (kind, docker) in Docker::all().into_iter().filter(|(kind, _)| *kind != "docker-c8d") {
        let folder = tempfile::tempdir().unwrap();
        let base = LoadedImage::new(&docker, &[300_000, 200_000]);
        let first = document(&go(
            &docker,
            folder.path(),
            "push",
            &base.name(),
            &["--transport", "archive", "--format", "json"],
        ));
        // The same two, and one more.
        let more = LoadedImage::expected(&docker);
        docker.load(&docker_save(&more.name(), &base.repository, &[300_000, 200_000, 100_000]));
        let flags = ["--transport", "archive", "--format", "json", "-vv"];
        let tag = format!("{}:v2", base.repository);
        let ran = go(&docker, folder.path(), "push", &tag, &[&["-i", &more.name()], &flags[..]].concat());
        let pushed = document(&ran);
        let sent: Vec<String> = statuses(&pushed).into_iter().map(|(_, status)| status).collect();
        assert_eq!(sent, ["sent", "sent", "exists", "exists"], "{kind}: config, new layer, old layers: {pushed}");
        assert!(pushed["bytesSent"].as_u64().unwrap() < first["bytesSent"].as_u64().unwrap());
        // They were known by their names: nothing was compressed in vain.
        assert_eq!(ran.stderr.matches("is read past").count(), 2, "{kind}: {ran:#?}");
        assert_eq!(ran.stderr.matches("a layer is compressed").count(), 1, "{kind}: {ran:#?}");
        let id = more.id();
        more.remove();
        base.remove();
        go(&docker, folder.path(), "pull", &tag, &["-i", &more.name()]).line();
        assert_eq!(more.id(), id, "{kind}");
    }
}

#[test]
fn a_daemon_that_does_not_know_what_the_bucket_has_is_stopped() {
    let (Some(docker), folder) = (Docker::get(), tempfile::tempdir().unwrap()) else { return };
    let base = LoadedImage::new(&docker, &[150_000_000]);
    let push = |image: &LoadedImage, transport: &str| {
        let tag = format!("{}:{}", base.repository, image.repository);
        go(
            &docker,
            folder.path(),
            "push",
            &tag,
            &["-i", &image.name(), "--transport", transport, "--format", "json", "-v"],
        )
    };
    // The daemon learns nothing of digests by this.
    push(&base, "archive").line();
    let more = LoadedImage::expected(&docker);
    docker.load(&docker_save(&more.name(), &base.repository, &[150_000_000, 1000]));
    let ran = push(&more, "auto");
    assert!(ran.stderr.contains("transport registry") && ran.stderr.contains("transport archive"), "{ran:#?}");
    let pushed = document(&ran);
    assert_eq!(pushed["transport"], "archive");
    assert_eq!(statuses(&pushed).last().unwrap().1, "exists");
    assert_eq!(docker.temporary_names(&base.repository), [""; 0]);
    // Once it has pushed by itself, it knows, and sends what is new.
    let other = LoadedImage::expected(&docker);
    docker.load(&docker_save(&other.name(), &base.repository, &[150_000_000, 2000]));
    drop(fs::remove_dir_all(folder.path().join("demo")));
    push(&base, "registry").line();
    let pushed = document(&push(&other, "auto"));
    assert_eq!(
        (&pushed["transport"], &statuses(&pushed).last().unwrap().1),
        (&"registry".into(), &"exists".to_owned())
    );
}

#[test]
fn a_large_image_goes_by_archive_and_what_is_there_by_no_way_at_all() {
    let (Some(docker), folder) = (Docker::get(), tempfile::tempdir().unwrap()) else { return };
    let image = LoadedImage::new(&docker, &[150_000_000]);
    let ran = go(&docker, folder.path(), "push", &image.name(), &["-v", "--format", "json"]);
    assert!(ran.stderr.contains("transport archive: compressing what is missing on all cores"), "{ran:#?}");
    let first = document(&ran);
    let again = document(&go(
        &docker,
        folder.path(),
        "push",
        &format!("{}:v2", image.repository),
        &["-i", &image.name(), "--format", "json"],
    ));
    assert_eq!((&again["digest"], &again["transport"]), (&first["digest"], &serde_json::Value::Null));
}

#[test]
fn wishes_that_exclude_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let push = |flags: &[&str]| {
        let mut command = oci_store();
        command.args(["fs", "push", "demo/app:v1", "-H", "unix:///nonexistent/docker.sock", "--dir"]);
        run(command.arg(folder.path()).args(flags))
    };
    push(&["--compression", "gzip", "--transport", "registry"]).failed(2, "hint: leave one of the two away");
    push(&["--compression", "gzip", "--compression-level", "13"]).failed(2, "gzip has the levels 1 to 12");
    push(&["--compression-level", "0"]).failed(2, "gzip has the levels 1 to 12");
    assert_eq!(push(&["--compression", "xz"]).code, Some(2));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A daemon that has one image, and saves `archive` as that.
fn daemon_with(id: &str, diff_ids: &[String], archive: Vec<u8>) -> FakeDocker {
    let inspected = serde_json::json!({
        "Id": id, "RepoTags": ["app:v1"], "Os": "linux", "Architecture": "amd64", "Size": archive.len(),
        "RootFS": {"Type": "layers", "Layers": diff_ids},
    });
    FakeDocker::new(move |_, path| match path {
        "/images/app:v1/json" => Some(Reply::json(200, &inspected)),
        "/images/app:v1/get" => Some(Reply::Pieces(archive.chunks(100_000).map(<[u8]>::to_vec).collect())),
        _ => None,
    })
}

fn push_by_archive(docker: &FakeDocker, bucket: &Path) -> Ran {
    let spool = tempfile::tempdir().expect("a folder can be made");
    let mut command = oci_store();
    command.args(["fs", "push", "demo/app:v1", "--transport", "archive", "-H", &docker.host(), "--dir"]);
    let ran = run(command.arg(bucket).arg("--spool-dir").arg(spool.path()));
    assert_eq!(fs::read_dir(spool.path()).expect("it is there").count(), 0, "something is left in the spool folder");
    ran
}

fn tags(bucket: &Path) -> bool {
    bucket.join("demo/docker/registry/v2/repositories/app/_manifests/tags").exists()
}

#[test]
fn what_is_saved_must_be_the_image_that_was_asked_for() {
    let right = docker_save("app:v1", "right", &[2_000_000]);
    let (wrong, id) = (docker_save("app:v1", "wrong", &[2_000_000]), config_digest(&right));
    let folder = tempfile::tempdir().unwrap();
    let ran = push_by_archive(&daemon_with(&id, &[], wrong.clone()), folder.path());
    ran.failed(13, &format!("and saved {}", config_digest(&wrong)));
    // One byte of a layer.
    let mut damaged = right.clone();
    damaged[1_000_000] ^= 1;
    push_by_archive(&daemon_with(&id, &[], damaged), folder.path()).failed(13, "no layer in it has the digest sha256:");
    assert!(!tags(folder.path()));
    push_by_archive(&daemon_with(&id, &[], right), folder.path()).line();
    assert!(tags(folder.path()));
}

#[test]
fn an_image_that_is_there_is_not_asked_for() {
    let image = docker_save("app:v1", "there", &[1000, 2000]);
    let docker = daemon_with(&config_digest(&image), &[], image);
    let folder = tempfile::tempdir().unwrap();
    let first = push_by_archive(&docker, folder.path()).digest().to_owned();
    let asked = |docker: &FakeDocker| docker.requests().iter().filter(|request| request.contains("/get")).count();
    assert_eq!(asked(&docker), 1);
    assert_eq!(push_by_archive(&docker, folder.path()).digest(), first);
    assert_eq!(asked(&docker), 1, "{:?}", docker.requests());
    // A layer that was cut is sent again.
    let blobs = folder.path().join("demo/docker/registry/v2/blobs");
    let largest = crate::places::walk(&blobs).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    fs::OpenOptions::new().write(true).open(&largest).unwrap().set_len(5).unwrap();
    assert_eq!(push_by_archive(&docker, folder.path()).digest(), first);
    assert_eq!(asked(&docker), 2);
    let bytes = fs::read(&largest).unwrap();
    assert!(largest.to_string_lossy().contains(Algorithm::Sha256.digest(&bytes).hex()));
}

#[test]
fn layers_that_the_daemon_has_are_left_out_of_what_it_loads() {
    for (kind, docker) in Docker::all().into_iter().filter(|(kind, _)| matches!(*kind, "docker" | "docker-far")) {
        let folder = tempfile::tempdir().unwrap();
        let base = LoadedImage::new(&docker, &[300_000, 1000]);
        let more = LoadedImage::expected(&docker);
        docker.load(&docker_save(&more.name(), &base.repository, &[300_000, 1000, 2000]));
        go(&docker, folder.path(), "push", &more.name(), &[]).line();
        let id = more.id();
        more.remove();
        let flags = ["--transport", "archive", "--format", "json"];
        let pulled = document(&go(&docker, folder.path(), "pull", &more.name(), &flags));
        assert_eq!(more.id(), id, "{kind}");
        let statuses: Vec<String> = statuses(&pulled).into_iter().map(|(_, status)| status).collect();
        assert_eq!(statuses, ["sent", "exists", "sent", "exists"], "{kind}: config, base, new, base: {pulled}");
    }
}

#[test]
fn an_image_that_the_daemon_has_is_not_sent_to_it() {
    let image = docker_save("app:v1", "here", &[1000]);
    let docker = daemon_with(&config_digest(&image), &[], image.clone());
    let folder = tempfile::tempdir().unwrap();
    push_by_archive(&docker, folder.path()).line();
    let id = config_digest(&image);
    let found = serde_json::json!({"Id": id, "RepoTags": ["other:v1"], "Os": "linux", "Architecture": "amd64"});
    let by_id = format!("/images/{id}/json");
    let docker = FakeDocker::new(move |method, path| match (method, path) {
        ("GET", path) if path == by_id => Some(Reply::json(200, &found)),
        ("POST", path) if path.contains("/tag?") => Some(Reply::json(201, &serde_json::json!({}))),
        _ => None,
    });
    let mut command = oci_store();
    command.args(["fs", "pull", "demo/app:v1", "--format", "json", "-H", &docker.host(), "--dir"]);
    let pulled = document(&run(command.arg(folder.path())));
    assert_eq!((&pulled["transport"], &pulled["bytesSent"]), (&serde_json::Value::Null, &0.into()));
    let posts: Vec<String> = docker.requests().into_iter().filter(|request| request.starts_with("POST")).collect();
    assert!(posts.len() == 1 && posts[0].contains(&id), "{posts:?}");
}
