//! Finding the daemon, and each kind of daemon by each way to it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use storage_layout::Algorithm;

use crate::support::docker::{Docker, LoadedImage};
use crate::support::run::{Ran, oci_store, run};

/// Writes a Docker context into a folder that is `DOCKER_CONFIG`.
fn write_context(config: &Path, name: &str, host: &str) {
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
struct Place<'a> {
    docker: &'a Docker,
    folder: tempfile::TempDir,
    transport: &'a str,
}

impl<'a> Place<'a> {
    fn new(docker: &'a Docker, transport: &'a str) -> Self {
        Self { docker, folder: tempfile::tempdir().expect("a folder can be made"), transport }
    }

    fn run(&self, verb: &str, reference: &str, flags: &[&str]) -> Ran {
        let mut command = oci_store();
        self.docker.configure(&mut command).args(["fs", verb, &format!("demo/{reference}"), "--dir"]);
        run(command.arg(self.folder.path()).args(["--transport", self.transport]).args(flags))
    }

    fn document(&self, verb: &str, reference: &str) -> serde_json::Value {
        serde_json::from_str(self.run(verb, reference, &["--format", "json"]).line()).expect("the result is JSON")
    }
}

#[test]
fn each_daemon_by_each_way() {
    for (kind, docker) in Docker::all() {
        for transport in ["auto", "registry", "archive"] {
            if transport == "registry" && matches!(kind, "podman" | "docker-far") {
                continue;
            }
            let place = Place::new(&docker, transport);
            let image = LoadedImage::new(&docker, &[1000, 0, 300_000]);
            let (id, name) = (image.id(), image.name());
            let first = place.document("push", &name);
            let taken = match (kind, transport) {
                (_, "archive") | ("podman" | "docker-far", _) => "archive",
                _ => "registry",
            };
            assert_eq!(first["transport"], taken, "{kind} by {transport}");
            if kind == "docker-c8d" {
                assert_eq!(first["digest"], id, "the digest that the daemon knows is that of the bucket");
            }
            let again = place.document("push", &name);
            assert_eq!((&again["digest"], &again["bytesSent"]), (&first["digest"], &0.into()), "{kind} by {transport}");
            image.remove();
            let back = place.document("pull", &name);
            assert_eq!(
                (&back["digest"], &back["transport"]),
                (&first["digest"], &taken.into()),
                "{kind} by {transport}"
            );
            assert_eq!(image.id(), id, "{kind} by {transport}");
            assert_eq!(docker.temporary_names(&image.repository), [""; 0], "{kind} by {transport}");
            // What it has already comes under another name too.
            place.run("pull", &name, &["-i", &format!("{}-other:v2", image.repository)]).line();
            assert_eq!(docker.id(&format!("{}-other:v2", image.repository)).unwrap(), id, "{kind} by {transport}");
            assert_eq!(docker.temporary_names(&image.repository), [""; 0], "{kind} by {transport}");
        }
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
        if kind == "podman" {
            Place::new(&docker, "registry").run("push", &image.name(), &[]).failed(2, "--transport archive");
        }
    }
}
