//! Daemons that fail, lie or never answer.

use std::fs;
use std::path::Path;
use std::sync::Barrier;

use crate::support::fake_docker::{FakeDocker, Reply};
use crate::support::image::{config_digest, docker_save};
use crate::support::registry::signal;
use crate::support::run::{Ran, in_folder, oci_store, run};

/// Runs a command against a fake daemon, with a spool folder of its own that must be empty afterwards.
fn with_fake(docker: &FakeDocker, bucket: &Path, verb: &str, flags: &[&str]) -> Ran {
    let spool = tempfile::tempdir().expect("a folder can be made");
    let mut command = oci_store();
    command.args(["fs", verb, "demo/app:v1", "-H", &docker.host(), "--dir"]).arg(bucket).arg("--spool-dir");
    let ran = run(command.arg(spool.path()).args(flags));
    assert_eq!(fs::read_dir(spool.path()).expect("it is there").count(), 0, "something is left in the spool folder");
    ran
}

fn inspected(id: &str) -> Reply {
    Reply::json(200, &serde_json::json!({"Id": id, "RepoTags": ["app:v1"], "Os": "linux", "Architecture": "amd64"}))
}

fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.chunks(10_000).map(<[u8]>::to_vec).collect()
}

#[test]
fn what_a_daemon_saves_wrongly_is_not_pushed() {
    let image = docker_save("app:v1", "fake", &[100_000]);
    let id = config_digest(&image);
    let half = pieces(&image[..50_000]);
    let trailer = br#"{"errorDetail":{"message":"open layer.tar: input/output error"},"error":"open"}"#.to_vec();
    let with_trailer: Vec<_> = half.iter().cloned().chain([trailer]).collect();
    for (reply, code, says) in [
        (Reply::Cut(half.clone()), 15, "saving app:v1"),
        (Reply::Pieces(half), 13, "the archive of app:v1 from the Docker daemon"),
        (Reply::Pieces(with_trailer), 15, "open layer.tar: input/output error"),
        (Reply::json(500, &serde_json::json!({"message": "it is on fire"})), 15, "it is on fire"),
        (Reply::Pieces(Vec::new()), 13, "is empty"),
    ] {
        let (id, folder) = (id.clone(), tempfile::tempdir().unwrap());
        let docker = FakeDocker::new(move |_, path| match path {
            "/images/app:v1/json" => Some(inspected(&id)),
            "/images/app:v1/get" => Some(reply.clone()),
            _ => None,
        });
        with_fake(&docker, folder.path(), "push", &["--transport", "archive"]).failed(code, says);
        assert!(!folder.path().join("demo/docker/registry/v2/repositories/app/_manifests/tags").exists());
    }
}

#[test]
fn a_daemon_is_asked_everything_at_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.tar"), docker_save("app:v1", "fake", &[1000])).unwrap();
    in_folder(folder.path(), "fs push demo/app:v1 -i docker-archive:app.tar").line();
    let with_image = ["/_ping", "/version", "/info", "/images/app:v1/json"].as_slice();
    for (line, together, then) in [
        ("fs push demo/app:v1", with_image, "GET /images/demo/app:v1/json"),
        ("fs pull demo/app:v1 --transport archive", &with_image[..3], "POST /images/load"),
        ("copy docker-daemon:app:v1 oci:layout", with_image, "GET /images/app:v1/json"),
        ("copy docker-archive:app.tar docker-daemon:app:v1", &with_image[..3], "POST /images/load"),
        ("doctor", &with_image[..3], "GET /info"),
    ] {
        // None is answered before all came.
        let all = Barrier::new(together.len());
        let docker = FakeDocker::new(move |_, path| {
            if together.contains(&path) {
                all.wait();
            }
            None
        });
        let ran = in_folder(folder.path(), &format!("{line} -H {}", docker.host()));
        let requests = docker.requests();
        assert!(requests.iter().any(|request| request.starts_with(then)), "{line}: {requests:?} {ran:#?}");
    }
}

#[test]
fn a_load_that_fails_inside_a_reply_of_200_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("app.tar"), docker_save("app:v1", "fake", &[100_000])).unwrap();
    let archive = format!("docker-archive:{}", folder.path().join("app.tar").display());
    run(oci_store().args(["fs", "push", "demo/app:v1", "-i", &archive, "--dir"]).arg(folder.path())).line();
    let other = format!("sha256:{}", "2".repeat(64));
    let stream = |text: &str| Reply::json(200, &serde_json::json!({"stream": format!("{text}\n")}));
    let full =
        serde_json::json!({"errorDetail": {"message": "write /layer: no space left on device"}, "error": "write"});
    let nowhere = Reply::json(404, &serde_json::json!({"message": "No such image"}));
    for (load, inspect, code, says) in [
        (Reply::json(200, &full), nowhere.clone(), 16, "no space left on device"),
        (stream("Error unpacking image app:v1: content digest not found"), inspected(&other), 15, "Error unpacking"),
        (stream("Loaded image: app:v1"), nowhere.clone(), 15, "has no such image"),
        (stream("Loaded image: app:v1"), inspected(&other), 15, "after loading it"),
        (Reply::json(500, &serde_json::json!({"message": "it is on fire"})), nowhere, 15, "it is on fire"),
        (Reply::Cut(Vec::new()), inspected(&other), 15, "loading app:v1"),
    ] {
        let docker = FakeDocker::new(move |method, path| match (method, path.split('?').next()) {
            ("POST", Some("/images/load")) => Some(load.clone()),
            ("GET", Some("/images/app:v1/json")) => Some(inspect.clone()),
            _ => None,
        });
        let ran = with_fake(&docker, folder.path(), "pull", &["--transport", "archive"]);
        ran.failed(code, says);
        assert!(docker.requests().iter().any(|request| request.starts_with("POST /images/load")), "{ran:#?}");
    }
}

#[test]
fn a_foreign_program_on_the_registrys_port_is_not_trusted() {
    let image = docker_save("app:v1", "fake", &[1000]);
    let id = config_digest(&image);
    // Whatever the daemon claims to have found there, it was not us who was asked. The last one never answers.
    let found = serde_json::json!({"Descriptor": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": id, "size": 2}, "Platforms": []});
    for probe in [
        Reply::json(200, &found),
        Reply::json(401, &serde_json::json!({"message": "authentication required"})),
        Reply::json(404, &serde_json::json!({"message": "manifest unknown"})),
        Reply::json(500, &serde_json::json!({"message": "connect: connection refused"})),
        Reply::Hang,
    ] {
        let (id, image, folder) = (id.clone(), image.clone(), tempfile::tempdir().unwrap());
        let docker = FakeDocker::new(move |_, path| match path {
            "/images/app:v1/json" => Some(inspected(&id)),
            "/images/app:v1/get" => Some(Reply::Pieces(pieces(&image))),
            path if path.starts_with("/distribution/127.0.0.1:") => Some(probe.clone()),
            path if path.starts_with("/images/create?") => {
                Some(Reply::json(200, &serde_json::json!({"status": "done"})))
            }
            _ => None,
        });
        let ran = with_fake(&docker, folder.path(), "push", &["--format", "json", "-v"]);
        assert!(ran.line().contains("\"transport\":\"archive\""), "{ran:#?}");
        assert!(
            ran.stderr.contains("transport archive: the daemon did not reach") || ran.stderr.contains("does not reach")
        );
        let requests = docker.requests();
        assert!(!requests.iter().any(|request| request.contains("/push") || request.contains("/tag?")), "{requests:?}");
    }
}

#[test]
fn ctrl_c_while_the_daemon_saves_ends_it() {
    let id = format!("sha256:{}", "1".repeat(64));
    let docker = FakeDocker::new(move |_, path| match path {
        "/images/app:v1/json" => Some(inspected(&id)),
        "/images/app:v1/get" => Some(Reply::Hang),
        _ => None,
    });
    let (folder, spool) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = oci_store();
    command.args(["fs", "push", "demo/app:v1", "--transport", "archive", "-H", &docker.host(), "--dir"]);
    let child = command.arg(folder.path()).arg("--spool-dir").arg(spool.path()).spawn().unwrap();
    docker.wait_for("GET /images/app:v1/get");
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(fs::read_dir(spool.path()).unwrap().count(), 0);
}
