//! Finding the daemon, and each kind of daemon by each way to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use storage_layout::Algorithm;

use crate::support::docker::{Docker, LoadedImage};
use crate::support::fake_docker::{FakeDocker, Reply};
use crate::support::image::{docker_save, oci_index};
use crate::support::registry::signal;
use crate::support::run::{Ran, oci_store, run};
use crate::support::sshd::Sshd;

/// Writes a Docker context into a folder that is `DOCKER_CONFIG`.
pub(crate) fn write_context(config: &Path, name: &str, host: &str) {
    let meta = config.join("contexts/meta").join(Algorithm::Sha256.digest(name.as_bytes()).hex());
    fs::create_dir_all(&meta).expect("a folder can be made");
    let document = serde_json::json!({"Name": name, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}}});
    fs::write(meta.join("meta.json"), document.to_string()).expect("a file can be written");
}

#[test]
fn the_daemon_of_a_context_is_found() {
    let Some(docker) = Docker::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = LoadedImage::new(&docker, &[1000]);
    write_context(folder.path(), "here", &docker.host);
    write_context(folder.path(), "away", "unix:///nonexistent/docker.sock");
    let config = |current: &str| {
        fs::write(folder.path().join("config.json"), format!("{{\"currentContext\":\"{current}\"}}")).unwrap();
    };
    let push = |flags: &[&str], variables: &[(&str, &str)]| {
        let mut command = oci_store();
        command.env("DOCKER_CONFIG", folder.path()).args(["fs", "push", &format!("demo/{}", image.name()), "--dir"]);
        run(command.arg(folder.path()).args(flags).envs(variables.iter().copied()))
    };
    config("here");
    push(&[], &[]).line();
    config("away");
    push(&[], &[("DOCKER_CONTEXT", "here")]).line();
    push(&["--context", "here"], &[("DOCKER_HOST", "tcp://127.0.0.1:1")]).line();
    push(&[], &[("DOCKER_HOST", &docker.host)]).line();
    push(&["-H", &docker.host], &[("DOCKER_CONTEXT", "away")]).line();
    push(&[], &[]).failed(15, "unix:///nonexistent/docker.sock (Docker context \"away\")");
    let ran = push(&["--context", "nowhere"], &[]);
    ran.failed(2, "meta.json");
    assert!(ran.stderr.contains("\"nowhere\""), "{ran:#?}");
    assert_eq!(push(&["--context", "here", "-H", &docker.host], &[]).code, Some(2));
}

/// Puts a program called `ssh` into a folder for PATH: it writes down what it was called with, and becomes Docker's client on
/// this machine.
fn fake_ssh(folder: &Path, docker: &Docker) -> std::ffi::OsString {
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>'{}/ssh.log'\ncase $* in *refused*) echo 'Permission denied (publickey).' >&2; exit 255;; esac\nexec docker -H '{}' system dial-stdio\n",
        folder.display(),
        docker.host
    );
    let program = folder.join("ssh");
    fs::write(&program, script).expect("a file can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut path = folder.as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").expect("there is a PATH"));
    path
}

#[test]
fn a_daemon_is_reached_by_ssh() {
    let Some(docker) = Docker::get() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = fake_ssh(folder.path(), &docker);
    let image = LoadedImage::new(&docker, &[1000, 300_000]);
    let command = |verb: &str, host: &str| {
        let mut command = oci_store();
        command.env("PATH", &path).args(["fs", verb, &format!("demo/{}", image.name()), "-H", host, "--dir"]);
        run(command.arg(folder.path()))
    };
    let id = image.id();
    let digest = command("push", "ssh://me@box:2222").digest().to_owned();
    let said = fs::read_to_string(folder.path().join("ssh.log")).unwrap();
    assert!(said.lines().all(|line| line.ends_with("-T -l me -p 2222 -- box docker system dial-stdio")), "{said}");
    image.remove();
    assert_eq!(command("pull", "ssh://box").digest(), digest);
    assert_eq!(image.id(), id);
    assert_eq!(docker.temporary_names(&image.repository), [""; 0]);
    command("push", "ssh://refused").failed(15, "Permission denied (publickey)");
    command("push", "ssh://me:secret@box").failed(2, "takes no password");
}

#[test]
fn a_daemon_is_reached_by_openssh() {
    let Some(docker) = Docker::get() else { return };
    let Some(sshd) = Sshd::start(&docker) else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = LoadedImage::new(&docker, &[1000, 300_000]);
    let command = |verb: &str, host: &str| {
        let mut command = oci_store();
        command.env("PATH", sshd.path()).args(["fs", verb, &format!("demo/{}", image.name()), "-H", host, "--dir"]);
        run(command.arg(folder.path()))
    };
    let id = image.id();
    let pushed = command("push", "ssh://build-machine");
    assert_eq!(pushed.code, Some(0), "{pushed:#?}\n{}", sshd.log());
    image.remove();
    assert_eq!(command("pull", "ssh://build-machine").digest(), pushed.digest());
    assert_eq!(image.id(), id);
    command("push", "ssh://nobody-of-that-name@build-machine").failed(15, "Permission denied (publickey)");
}

#[test]
fn a_connection_by_tls_fails_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let push = || {
        let mut command = oci_store();
        command.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", folder.path());
        run(command.args(["fs", "push", "demo/app:v1", "-H", "tcp://127.0.0.1:1", "--dir"]).arg(folder.path()))
    };
    push().failed(2, "ca.pem");
    for file in ["ca.pem", "cert.pem", "key.pem"] {
        fs::write(folder.path().join(file), "").unwrap();
    }
    push().failed(15, "tcp://127.0.0.1:1");
}

/// A folder as the bucket, for one daemon by one way.
pub(crate) struct Place<'a> {
    docker: &'a Docker,
    pub(crate) folder: tempfile::TempDir,
    transport: &'a str,
}

impl<'a> Place<'a> {
    pub(crate) fn new(docker: &'a Docker, transport: &'a str) -> Self {
        Self { docker, folder: tempfile::tempdir().expect("a folder can be made"), transport }
    }

    pub(crate) fn run(&self, verb: &str, reference: &str, flags: &[&str]) -> Ran {
        let mut command = oci_store();
        self.docker.configure(&mut command).args(["fs", verb, &format!("demo/{reference}"), "--dir"]);
        run(command.arg(self.folder.path()).args(["--transport", self.transport]).args(flags))
    }

    pub(crate) fn document(&self, verb: &str, reference: &str) -> serde_json::Value {
        serde_json::from_str(self.run(verb, reference, &["--format", "json"]).line()).expect("the result is JSON")
    }
}

#[test]
fn the_way_that_was_chosen_is_told_with_its_reason() {
    for (kind, docker) in Docker::all() {
        let image = LoadedImage::new(&docker, &[1000]);
        let ran = Place::new(&docker, "auto").run("push", &image.name(), &["-v"]);
        ran.line();
        let says = match kind {
            "podman" => "transport archive: Podman's API",
            "docker-far" => "transport archive: the daemon does not reach this process",
            _ => "transport registry: the daemon reaches this process",
        };
        assert!(ran.stderr.contains(says), "{kind}: {ran:#?}");
        let examined = run(docker.configure(&mut oci_store()).arg("doctor"));
        assert_eq!(examined.code, Some(0), "{kind}: {examined:#?}");
        assert!(examined.stdout.contains(says.strip_prefix("transport ").unwrap()), "{kind}: {examined:#?}");
        if kind == "podman" {
            Place::new(&docker, "registry").run("push", &image.name(), &[]).failed(2, "--transport archive");
        }
    }
}

#[test]
fn containerds_store_keeps_an_index_whole() {
    for (_, docker) in Docker::all().into_iter().filter(|(kind, _)| *kind == "docker-c8d") {
        for transport in ["registry", "archive"] {
            let place = Place::new(&docker, transport);
            let image = LoadedImage::expected(&docker);
            let made = oci_index(&image.name(), &image.repository, &["amd64", "arm64"]);
            docker.load(&made.archive);
            assert_eq!(image.id(), made.digest);
            // Whole, with its attestations.
            assert_eq!(place.run("push", &image.name(), &[]).digest(), made.digest, "{transport}");
            assert_eq!(place.run("push", &image.name(), &[]).digest(), made.digest, "{transport}");
            let copied = place.folder.path().join("layout");
            place.run("pull", &image.name(), &["-i", &format!("oci:{}", copied.display())]).line();
            assert_eq!(fs::read_dir(copied.join("blobs/sha256")).unwrap().count(), 1 + 2 * 3 + 2 * 3, "{transport}");
            // One platform of it.
            let one = format!("{}-one:v1", image.repository);
            let pushed = place.run("push", &one, &["-i", &image.name(), "--platform", "linux/arm64"]);
            assert_eq!(pushed.digest(), made.images[1], "{transport}");
            assert!(!pushed.stderr.contains("warning"), "{pushed:#?}");
            let ran = place.run("push", &one, &["-i", &image.name(), "--platform", "linux/s390x"]);
            assert!(matches!(ran.code, Some(10 | 15)) && ran.stderr.contains("s390x"), "{transport}: {ran:#?}");
            // And back: the index by the registry, the image for this machine by an archive.
            image.remove();
            assert_eq!(place.run("pull", &image.name(), &[]).digest(), made.digest);
            let id = if transport == "registry" { &made.digest } else { &made.images[0] };
            assert_eq!(image.id(), *id, "{transport}");
            assert_eq!(docker.temporary_names(&image.repository), [""; 0], "{transport}");
        }
    }
}

#[test]
fn a_push_of_less_than_the_index_is_told_of() {
    for (_, docker) in Docker::all().into_iter().filter(|(kind, _)| *kind == "docker-c8d") {
        for transport in ["registry", "archive"] {
            let place = Place::new(&docker, "registry");
            let image = LoadedImage::expected(&docker);
            let made = oci_index(&image.name(), &image.repository, &["amd64", "arm64"]);
            fs::write(place.folder.path().join("i.tar"), &made.archive).unwrap();
            let archive = format!("oci-archive:{}", place.folder.path().join("i.tar").display());
            place.run("push", &image.name(), &["-i", &archive]).line();
            // Only what is for this machine comes along.
            place.run("pull", &image.name(), &[]).line();
            assert_eq!(image.id(), made.digest);
            let place = Place { transport, ..place };
            for _ in 0..2 {
                let pushed = place.run("push", &format!("{}-less:v1", image.repository), &["-i", &image.name()]);
                assert_eq!(pushed.digest(), made.images[0], "{transport}");
                let warning = pushed.stderr.lines().find(|line| line.starts_with("warning: ")).unwrap_or_default();
                assert!(
                    warning.contains(&made.images[0]) && warning.contains(&made.digest),
                    "{transport}: {pushed:#?}"
                );
            }
        }
    }
}

#[test]
fn an_index_becomes_the_image_for_the_daemons_platform_or_the_one_asked_for() {
    for (kind, docker) in Docker::all() {
        for transport in ["auto", "archive"] {
            let place = Place::new(&docker, transport);
            let image = LoadedImage::expected(&docker);
            let made = oci_index(&image.name(), &image.repository, &["arm64", "amd64"]);
            fs::write(place.folder.path().join("i.tar"), &made.archive).unwrap();
            let archive = format!("oci-archive:{}", place.folder.path().join("i.tar").display());
            place.run("push", &image.name(), &["-i", &archive]).line();
            let architecture = || docker.run(&["image", "inspect", "--format", "{{.Architecture}}", &image.name()]);
            assert_eq!(place.run("pull", &image.name(), &[]).digest(), made.digest, "{kind} by {transport}");
            assert_eq!(architecture(), "amd64", "{kind} by {transport}");
            if kind != "docker-c8d" {
                assert_eq!(image.id(), made.configs[1], "{kind} by {transport}");
            }
            image.remove();
            let pulled = place.run("pull", &image.name(), &["--platform", "linux/arm64"]);
            assert_eq!(pulled.digest(), made.images[0], "{kind} by {transport}");
            assert_eq!(architecture(), "arm64", "{kind} by {transport}");
            place.run("pull", &image.name(), &["--platform", "linux/s390x"]).failed(10, "linux/arm64, linux/amd64");
            assert_eq!(docker.temporary_names(&image.repository), [""; 0], "{kind} by {transport}");
        }
    }
}

#[test]
fn another_platform_than_the_images_own_is_not_pushed() {
    for (kind, docker) in Docker::all().into_iter().filter(|(kind, _)| *kind != "docker-c8d") {
        let place = Place::new(&docker, "auto");
        let image = LoadedImage::new(&docker, &[1000]);
        place.run("push", &image.name(), &["--platform", "linux/amd64"]).line();
        place.run("push", &image.name(), &["--platform", "linux/arm64"]).failed(10, "it is there for linux/amd64");
        let two = ["--platform", "linux/amd64,linux/arm64"];
        assert_eq!(place.run("push", &image.name(), &two).code, Some(2), "{kind}");
    }
}

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
    let id = format!("sha256:{}", "1".repeat(64));
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
    let id = format!("sha256:{}", "1".repeat(64));
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
