//! Docker's own registry on the same bucket, both ways; and other people's clients on ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use crate::support::docker::{Docker, LoadedImage};
use crate::support::image::docker_save;
use crate::support::registry::Registry;
use crate::support::run::{in_folder, oci_store, run};
use crate::support::s3::S3;
use crate::support::service;

/// Returns every object below a prefix with its content, and the age-old upload folders left out.
async fn objects(store: &dyn object_store::ObjectStore) -> BTreeMap<String, Vec<u8>> {
    let listed: Vec<_> = store.list(None).try_collect().await.expect("the store lists");
    let mut found = BTreeMap::new();
    for meta in listed {
        let key = meta.location.to_string();
        if !key.contains("/_uploads/") {
            let bytes = store.get(&meta.location).await.expect("it was listed").bytes().await.expect("it is read");
            found.insert(key, bytes.to_vec());
        }
    }
    found
}

async fn folder_objects(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    objects(&object_store::local::LocalFileSystem::new_with_prefix(folder).expect("the folder is there")).await
}

/// Has the daemon push an image to a registry.
fn docker_push(docker: &Docker, image: &LoadedImage, registry: &Registry) -> String {
    let name = format!("{}/{}", registry.address, image.name());
    docker.run(&["tag", &image.name(), &name]);
    docker.run(&["push", &name]);
    docker.run(&["image", "rm", &name]);
    name
}

/// Has the daemon pull an image from a registry and returns its id.
fn docker_pull(docker: &Docker, image: &LoadedImage, registry: &Registry) -> Option<String> {
    let name = format!("{}/{}", registry.address, image.name());
    docker.run(&["pull", &name]);
    docker.id(&name)
}

#[tokio::test(flavor = "multi_thread")]
async fn we_write_what_dockers_registry_writes_key_for_key() {
    let (Some(docker), theirs) = (Docker::get(), tempfile::tempdir().unwrap()) else { return };
    let Some(registry) = Registry::dockers_on_folder(theirs.path()) else { return };
    let image = LoadedImage::new(&docker, &[1000, 300_000]);
    docker_push(&docker, &image, &registry);
    let ours = tempfile::tempdir().unwrap();
    let mut command = oci_store();
    docker.configure(&mut command);
    run(command.args(["fs", "push", &format!("demo/{}", image.name()), "--dir"]).arg(ours.path())).line();
    let (theirs, ours) = (folder_objects(theirs.path()).await, folder_objects(&ours.path().join("demo")).await);
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    assert_eq!(ours, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn dockers_registry_serves_what_we_wrote_and_we_read_what_it_wrote() {
    let Some(docker) = Docker::get() else { return };
    // In a folder.
    let folder = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::dockers_on_folder(&folder.path().join("demo")) else { return };
    let command = |verb: &str, image: &LoadedImage| {
        let mut command = oci_store();
        docker.configure(&mut command);
        run(command.args(["fs", verb, &format!("demo/{}", image.name()), "--dir"]).arg(folder.path())).line().to_owned()
    };
    both_ways(&docker, &registry, &command);
    // In S3.
    let Some(s3) = S3::get() else { return };
    let Some(registry) = Registry::dockers_on_s3(&s3) else { return };
    let command = |verb: &str, image: &LoadedImage| {
        let mut command = oci_store();
        s3.configure(docker.configure(&mut command));
        run(command.args(["s3", verb, &format!("{}/{}", s3.bucket, image.name())])).line().to_owned()
    };
    both_ways(&docker, &registry, &command);
    let keys = objects(s3.objects().as_ref()).await;
    assert!(keys.keys().all(|key| key.starts_with("docker/registry/v2/")), "{:?}", keys.keys());
}

fn both_ways(docker: &Docker, registry: &Registry, ours: &dyn Fn(&str, &LoadedImage) -> String) {
    let image = LoadedImage::new(docker, &[1000, 300_000]);
    let id = image.id();
    ours("push", &image);
    image.remove();
    assert_eq!(docker_pull(docker, &image, registry), Some(id));

    let image = LoadedImage::new(docker, &[1000, 300_000]);
    let id = image.id();
    docker_push(docker, &image, registry);
    image.remove();
    ours("pull", &image);
    assert_eq!(image.id(), id);
}

#[test]
fn dockers_garbage_collection_keeps_what_we_wrote() {
    let Some(program) = service("registry", "OCI_STORE_TEST_REGISTRY") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.tar"), docker_save("app:1", "gc", &[1000, 300_000])).unwrap();
    let digest = in_folder(folder.path(), "fs push demo/app:1 -i docker-archive:app.tar").digest().to_owned();
    let config = folder.path().join("registry.yml");
    let storage = folder.path().join("demo").display().to_string();
    std::fs::write(&config, format!("version: 0.1\nstorage: {{filesystem: {{rootdirectory: {storage:?}}}}}\n"))
        .unwrap();
    let collected =
        Command::new(program).arg("garbage-collect").arg("--delete-untagged").arg(&config).output().unwrap();
    assert!(collected.status.success(), "{collected:?}");
    assert_eq!(in_folder(folder.path(), "fs pull demo/app:1 -i oci:o").digest(), digest);
}

#[test]
fn skopeo_pushes_to_and_pulls_from_serve() {
    let Some(skopeo) = service("skopeo", "OCI_STORE_TEST_SKOPEO") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.tar"), docker_save("app:1", "skopeo", &[1000, 10_000_000])).unwrap();
    let mut commands = vec![{
        let mut command = oci_store();
        std::fs::create_dir(folder.path().join("demo")).unwrap();
        command.args(["fs", "serve", "demo", "--dir"]).arg(folder.path());
        command
    }];
    commands.extend(S3::get().map(|s3| {
        let mut command = oci_store();
        s3.configure(&mut command).args(["s3", "serve", &s3.bucket]);
        command
    }));
    for mut command in commands {
        let registry = Registry::ours(&mut command);
        let run = |arguments: &[&str]| {
            let output = Command::new(&skopeo)
                .args(arguments)
                .current_dir(folder.path())
                .env("HOME", folder.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let place = format!("docker://{}/team/app:1", registry.address);
        run(&["--insecure-policy", "copy", "--dest-tls-verify=false", "docker-archive:app.tar", &place]);
        let digest = run(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &place]);
        let listed = run(&["list-tags", "--tls-verify=false", &format!("docker://{}/team/app", registry.address)]);
        assert!(listed.contains("\"1\""), "{listed}");
        run(&["--insecure-policy", "copy", "--src-tls-verify=false", &place, "dir:back"]);
        let manifest = std::fs::read(folder.path().join("back/manifest.json")).unwrap();
        assert_eq!(storage_layout::Algorithm::Sha256.digest(&manifest).to_string(), digest.trim());
        // A copy to another name mounts what is there.
        run(&[
            "--insecure-policy",
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &place,
            &format!("docker://{}/copy:2", registry.address),
        ]);
        run(&["delete", "--tls-verify=false", &place]);
        assert_eq!(registry.interrupt(), Some(0));
        std::fs::remove_dir_all(folder.path().join("back")).unwrap();
    }
}

#[test]
fn serve_read_only_lets_nothing_in() {
    let Some(skopeo) = service("skopeo", "OCI_STORE_TEST_SKOPEO") else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.tar"), docker_save("app:1", "read-only", &[1000])).unwrap();
    in_folder(folder.path(), "fs push demo/app:1 -i docker-archive:app.tar").line();
    let mut command = oci_store();
    let registry = Registry::ours(command.args(["fs", "serve", "demo", "--read-only", "--dir"]).arg(folder.path()));
    let run = |arguments: &[&str]| {
        Command::new(&skopeo)
            .args(arguments)
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .output()
            .unwrap()
            .status
            .success()
    };
    let place = |name: &str| format!("docker://{}/{name}", registry.address);
    assert!(run(&["inspect", "--tls-verify=false", &place("app:1")]));
    assert!(!run(&["--insecure-policy", "copy", "--dest-tls-verify=false", "docker-archive:app.tar", &place("app:2")]));
    assert!(!run(&["delete", "--tls-verify=false", &place("app:1")]));
    assert!(run(&["inspect", "--tls-verify=false", &place("app:1")]));
}
