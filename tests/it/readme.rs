//! The command lines of the README, run as they are written there.

use std::process::Command;

use crate::daemons::write_context;
use crate::support::azure::Azure;
use crate::support::docker::{Docker, LoadedImage};
use crate::support::google;
use crate::support::run::{Ran, oci_store, run};
use crate::support::s3::S3;
use crate::support::sshd::Sshd;

/// Returns the lines of a section's examples that begin with `oci-store`, without their comments.
pub(crate) fn examples(section: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let (_, text) = readme.split_once(&format!("\n## {section}\n")).expect("the section is there");
    let text = text.split("\n## ").next().expect("a split has a first part");
    let in_fences = text.split("```").skip(1).step_by(2);
    let lines = in_fences.flat_map(str::lines).filter(|line| line.starts_with("oci-store "));
    let lines: Vec<_> = lines.map(|line| line.split(" #").next().unwrap_or_default().trim().to_owned()).collect();
    assert!(!lines.is_empty(), "{section}");
    lines
}

/// What stands for what the README writes.
type Instead<'a> = &'a [(&'a str, &'a str)];

/// Runs a line with the image, the bucket and the address of the test in place of those written.
fn run_example(line: &str, image: &LoadedImage, instead: Instead<'_>, configure: &dyn Fn(&mut Command)) -> Ran {
    let mut line = line.replace("app:", &format!("{}:", image.repository));
    for (written, meant) in instead {
        line = line.replace(written, meant);
    }
    let mut command = oci_store();
    configure(&mut command);
    let ran = run(command.args(line.split_whitespace().skip(1)));
    assert_eq!(ran.code, Some(0), "{line}: {ran:#?}");
    ran
}

/// Loads the images that the examples push.
fn images(docker: &Docker) -> LoadedImage {
    let image = LoadedImage::new(docker, &[1000]);
    docker.run(&["tag", &image.name(), &format!("registry.example/{}:latest", image.repository)]);
    image
}

#[test]
fn the_examples_for_s3_and_minio_work() {
    let (Some(docker), Some(s3)) = (Docker::get(), S3::get()) else { return };
    let image = images(&docker);
    let instead = [("images", s3.bucket.as_str()), ("http://127.0.0.1:9000", &s3.endpoint)];
    let configure = |command: &mut Command| {
        s3.configure(docker.configure(command));
    };
    for section in ["S3 and MinIO", "When it does not work"] {
        for line in examples(section) {
            run_example(&line, &image, &instead, &configure);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_for_google_work() {
    let Some(docker) = Docker::get() else { return };
    let url = google::start().await;
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let account = serde_json::json!({
        "type": "service_account", "client_email": "test@test", "private_key": key.serialize_pem(), "private_key_id": "1",
    });
    std::fs::write(folder.path().join("key.json"), account.to_string()).unwrap();
    let image = images(&docker);
    let configure = |command: &mut Command| {
        docker.configure(command).env("STORAGE_EMULATOR_HOST", &url).current_dir(folder.path());
    };
    for line in examples("Google Cloud Storage") {
        run_example(&line, &image, &[], &configure);
    }
}

#[test]
fn the_examples_for_azure_work() {
    let (Some(docker), Some(azure)) = (Docker::get(), Azure::get()) else { return };
    let image = images(&docker);
    let instead =
        [("images", azure.container.as_str()), ("https://acct.blob.core.chinacloudapi.cn", azure.endpoint.as_str())];
    let configure = |command: &mut Command| {
        azure.configure(docker.configure(command));
    };
    // Azurite takes logins by https only.
    for line in examples("Azure").iter().filter(|line| !line.contains("default_credentials")) {
        run_example(line, &image, &instead, &configure);
    }
}

#[test]
fn the_examples_for_a_remote_daemon_work() {
    let daemons = Docker::all();
    let daemon = |kind: &str| daemons.iter().find(|(found, _)| *found == kind).map(|(_, docker)| docker);
    let (Some(docker), Some(podman), Some(s3)) = (daemon("docker"), daemon("podman"), S3::get()) else { return };
    let Some(sshd) = Sshd::start(docker) else { return };
    let folder = tempfile::tempdir().unwrap();
    write_context(folder.path(), "build-machine", &docker.host);
    let image = images(docker);
    let pulled = LoadedImage::of(podman, &image.repository);
    // Whoever runs the tests is let in.
    let instead = [("images", s3.bucket.as_str()), ("me@", ""), ("unix:///run/podman/podman.sock", &podman.host)];
    let configure = |command: &mut Command| {
        s3.configure(command).env("DOCKER_CONFIG", folder.path()).env("PATH", sshd.path());
    };
    for line in examples("Which daemon") {
        run_example(&line, &image, &instead, &configure);
    }
    assert_eq!(pulled.id(), image.id());
}
