//! Finding the daemon, and each kind of daemon by each way to it.

use std::fs;
use std::path::Path;

use storage_layout::Algorithm;

use crate::support::docker::{Docker, LoadedImage};
use crate::support::executable;
use crate::support::image::oci_index;
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
    executable(&program, &script);
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
            ran.failed(10, "it is there for linux/amd64, linux/arm64");
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
            // One platform by its name is all that was asked for, and what is not there is told of.
            let one = format!("{}-one:v1", image.repository);
            let asked = |platform| place.run("push", &one, &["-i", &image.name(), "--platform", platform]);
            let pushed = asked("linux/amd64");
            assert_eq!(pushed.digest(), made.images[0], "{transport}");
            assert!(!pushed.stderr.contains("warning"), "{pushed:#?}");
            asked("linux/arm64").failed(10, "it is there for linux/amd64");
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
