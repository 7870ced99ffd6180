//! Every kind of place holds artifacts, with equal digests.

use super::*;
use crate::support::docker::Docker;
use crate::support::registry::Registry;
use crate::support::s3::S3;
use crate::support::service;

const CREATED: &str = "--annotation org.opencontainers.image.created=2026-01-01T00:00:00Z";

/// Runs a command line where `PLACE` stands for a place.
type Runner<'a> = &'a dyn Fn(&str) -> Ran;

/// Pushes, pulls, attaches and discovers at a place. Returns the digest of the artifact.
fn whole_life(folder: &Path, run: Runner<'_>) -> String {
    make_tree(folder);
    let pushed = run(&format!("push PLACE:v1 tree single.txt:text/plain --artifact-type acme/rocket {CREATED}"));
    let digest = pushed.digest().to_owned();
    // People know a file by its name.
    for line in ["tree ", "single.txt 8 B done"] {
        assert!(pushed.stderr.lines().any(|said| said.starts_with(line)), "{line}: {pushed:#?}");
    }
    let again =
        run(&format!("--format json push PLACE:v1 tree single.txt:text/plain --artifact-type acme/rocket {CREATED}"));
    let again: serde_json::Value = serde_json::from_str(again.line()).expect("it is JSON");
    assert_eq!((again["digest"].as_str(), again["bytesSent"].as_u64()), (Some(digest.as_str()), Some(0)));

    let pulled = run("pull PLACE:v1 -o out");
    assert_eq!(pulled.digest(), digest);
    assert!(pulled.stderr.contains("single.txt 8 B done\n"), "{pulled:#?}");
    let output = folder.join("out");
    let original = contents(folder);
    for (path, what) in contents(&output) {
        assert_eq!(original[&path], what, "{path}");
    }
    assert_eq!(
        contents(&output).len(),
        original.keys().filter(|path| path.starts_with("tree") || *path == "single.txt").count()
    );
    let before = contents(&output);
    run("pull PLACE:v1 -o out --keep-old-files").failed(11, "single.txt");
    assert_eq!(contents(&output), before);
    let pulled = run(&format!("--format json pull PLACE@{digest} -o out"));
    let pulled: serde_json::Value = serde_json::from_str(pulled.line()).expect("it is JSON");
    let paths: Vec<_> = pulled["files"]
        .as_array()
        .expect("it is there")
        .iter()
        .map(|file| file["path"].as_str().expect("it is there"))
        .collect();
    assert_eq!(paths, ["tree", "single.txt"]);

    let sbom = run("attach PLACE:v1 single.txt --artifact-type acme/sbom").digest().to_owned();
    let signature =
        run(&format!("attach PLACE@{sbom} --artifact-type acme/signature --annotation by=me")).digest().to_owned();
    let found = run("discover PLACE:v1");
    let lines: Vec<&str> = found.stdout.lines().collect();
    assert!(lines[0].ends_with(&format!("@{digest}")), "{found:?}");
    assert_eq!(lines[1..], [format!("└── acme/sbom {sbom}"), format!("    └── acme/signature {signature}")]);
    let found = run("--format json discover PLACE:v1 --artifact-type acme/sbom");
    let found: serde_json::Value = serde_json::from_str(found.line()).expect("it is JSON");
    assert_eq!(found["referrers"][0]["digest"], sbom.as_str());
    assert_eq!(found["referrers"][0]["referrers"], serde_json::json!([]), "a signature is none");
    run("pull PLACE:v2 -o other").failed(10, "v2");
    assert!(!folder.join("other").exists());
    digest
}

#[test]
fn a_folder_a_bucket_and_a_registry_hold_the_same_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let digest =
        whole_life(folder.path(), &|line| artifact(folder.path(), &line.replace("PLACE", "fs://bucket/files/tool")));
    if let Some(s3) = S3::get() {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("s3://{}/files/tool", s3.bucket);
        let in_s3 = whole_life(folder.path(), &|line| {
            let mut command = oci_store();
            command.current_dir(folder.path()).arg("artifact").args(line.replace("PLACE", &place).split(' '));
            run(s3.configure(&mut command))
        });
        assert_eq!(in_s3, digest);
    }
    let storage = tempfile::tempdir().unwrap();
    if let Some(registry) = Registry::dockers_on_folder(storage.path()) {
        let folder = tempfile::tempdir().unwrap();
        let place = format!("docker://{}/files/tool", registry.address);
        let in_registry = whole_life(folder.path(), &|line| {
            artifact(folder.path(), &format!("{} --plain-http", line.replace("PLACE", &place)))
        });
        assert_eq!(in_registry, digest);
    }
}

#[test]
fn what_cannot_be_pushed_is_told_of_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let refused = |line: &str, code: i32, says: &str| {
        artifact(folder.path(), line).failed(code, says);
        assert!(!folder.path().join("bucket").exists(), "{line}");
    };
    refused("push fs://bucket/a file missing", 10, "missing");
    refused("push fs://bucket/a /etc/hostname", 2, "absolute");
    refused("push fs://bucket/a ../file", 2, "outside of this folder");
    refused("push fs://bucket/a file ./file", 2, "two files have the title file");
    refused("push fs://bucket/a file:text", 2, "media type");
    refused("push fs://bucket/a file --annotation key", 2, "key=value");
    refused("push fs://bucket/a file --annotation k=1 --annotation k=2", 2, "twice");
    refused("push fs://bucket/a file --artifact-type rocket", 2, "media type");
    refused("push fs://bucket/a file --as-image --artifact-type a/b", 2, "cannot be used with");
    refused(&format!("push fs://bucket/a@sha256:{} file", "0".repeat(64)), 2, "names a digest");
    refused("attach fs://bucket/a --artifact-type a/b", 2, "nothing to attach");
    fs::write(folder.path().join("notes.json"), "[]").unwrap();
    refused("push fs://bucket/a file --annotation-file notes.json", 2, "notes.json");
}

#[test]
fn a_cache_answers_for_a_registry_that_is_gone() {
    let storage = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::dockers_on_folder(storage.path()) else { return };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "kept").unwrap();
    let place = format!("{}/tool", registry.address);
    let digest = artifact(folder.path(), &format!("push --plain-http {place}:v1 file")).digest().to_owned();
    let pull = |flags: &str, variable: Option<&str>| {
        let mut command = oci_store();
        command.current_dir(folder.path()).args(["artifact", "pull", "--plain-http", "--retries=0", "-o", "out"]);
        if let Some(variable) = variable {
            command.env(variable, folder.path().join("cache"));
        }
        run(command.arg(format!("{place}@{digest}")).args(flags.split_whitespace()))
    };
    pull("--cache cache", None).line();
    drop(registry);
    assert_ne!(pull("", None).code, Some(0), "nobody else has it");
    for (flags, variable) in [("--cache cache", None), ("", Some("ORAS_CACHE")), ("", Some("OCI_STORE_CACHE"))] {
        drop(fs::remove_dir_all(folder.path().join("out")));
        pull(flags, variable).line();
        assert_eq!(fs::read(folder.path().join("out/file")).unwrap(), b"kept");
    }
}

#[test]
fn docker_pulls_an_image_of_files() {
    let storage = tempfile::tempdir().unwrap();
    let (Some(docker), Some(registry)) = (Docker::get(), Registry::dockers_on_folder(storage.path())) else { return };
    let folder = tempfile::tempdir().unwrap();
    make_tree(folder.path());
    let place = format!("{}/image:v1", registry.address);
    let pushed = artifact(folder.path(), &format!("push --plain-http --as-image {place} tree single.txt"));
    docker.run(&["pull", &place]);
    docker.run(&["create", "--name", &crate::support::unique("files"), &place, "none"]);
    let config: serde_json::Value =
        serde_json::from_str(&docker.run(&["image", "inspect", &place, "--format", "{{json .RepoDigests}}"])).unwrap();
    assert!(config.to_string().contains(pushed.digest()), "{config}");
    artifact(folder.path(), &format!("pull --plain-http {place} -o out")).line();
    assert_eq!(contents(&folder.path().join("out/tree")), contents(&folder.path().join("tree")));
    if let Some(skopeo) = service("skopeo", "OCI_STORE_TEST_SKOPEO") {
        let mut command = std::process::Command::new(skopeo);
        let ran = run(command.args(["inspect", "--tls-verify=false", &format!("docker://{place}")]));
        assert!(ran.stdout.contains(pushed.digest()), "{ran:?}");
    }
}
