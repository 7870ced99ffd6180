//! The Docker daemon of the tests, by Docker's own client.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{service, unique};

/// A daemon.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    pub(crate) host: String,
}

impl Docker {
    /// Returns the test daemon, if there is one.
    pub(crate) fn get() -> Option<Self> {
        service("docker", "OCI_STORE_TEST_DOCKER_HOST").map(|host| Self { host })
    }

    /// Returns all daemons that there are, each with its kind: Docker with its own image store, the same where it cannot reach
    /// us, Docker with containerd's, Podman.
    pub(crate) fn all() -> Vec<(&'static str, Self)> {
        let kinds = [
            ("docker", "OCI_STORE_TEST_DOCKER_HOST"),
            ("docker-far", "OCI_STORE_TEST_DOCKER_FAR_HOST"),
            ("docker-c8d", "OCI_STORE_TEST_DOCKER_C8D_HOST"),
            ("podman", "OCI_STORE_TEST_PODMAN_HOST"),
        ];
        kinds.into_iter().filter_map(|(kind, variable)| Some((kind, Self { host: service(kind, variable)? }))).collect()
    }

    /// Points a command at the daemon.
    pub(crate) fn configure<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("DOCKER_HOST", &self.host)
    }

    /// Runs Docker's client and demands success.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let (success, stdout, stderr) = self.try_run(arguments, &[]);
        assert!(success, "docker {arguments:?}: {stderr}");
        stdout
    }

    /// Runs Docker's client.
    pub(crate) fn try_run(&self, arguments: &[&str], stdin: &[u8]) -> (bool, String, String) {
        let mut child = Command::new("docker")
            .arg("-H")
            .arg(&self.host)
            .args(arguments)
            .env("DOCKER_CONFIG", "/nonexistent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Docker's client is installed");
        child.stdin.take().expect("it is piped").write_all(stdin).expect("the client reads its input");
        let output = child.wait_with_output().expect("the client ends");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout).trim().to_owned(), text(&output.stderr))
    }

    /// Loads an image in the format of `docker save`.
    pub(crate) fn load(&self, archive: &[u8]) {
        let (success, _, stderr) = self.try_run(&["load"], archive);
        assert!(success, "docker load: {stderr}");
    }

    /// Returns the id of an image, or `None` if there is none of that name.
    pub(crate) fn id(&self, name: &str) -> Option<String> {
        let (success, id, _) = self.try_run(&["image", "inspect", "--format", "{{.Id}}", name], &[]);
        success.then_some(id)
    }

    /// Returns all names that begin with the address of a registry on loopback, as ours do while a command runs.
    pub(crate) fn temporary_names(&self, repository: &str) -> Vec<String> {
        let names = self.list(&["--all", "--digests", "--format", "{{.Repository}}:{{.Tag}}@{{.Digest}}"]);
        let ours = |name: &&str| name.starts_with("127.0.0.1:") && name.contains(repository);
        names.lines().filter(ours).map(str::to_owned).collect()
    }

    /// Lists images. Containerd's store and Podman look at one after the other, and fail altogether if another test removes one of
    /// them meanwhile; then they are asked again.
    fn list(&self, arguments: &[&str]) -> String {
        let arguments = [&["image", "ls"], arguments].concat();
        for _ in 0..20 {
            let (success, stdout, stderr) = self.try_run(&arguments, &[]);
            let is_removed = ["not found", "not known", "No such image"].iter().any(|says| stderr.contains(says));
            assert!(success || is_removed, "docker {arguments:?}: {stderr}");
            if success {
                return stdout;
            }
        }
        panic!("docker {arguments:?} fails each time for an image that is not there");
    }
}

/// An image in a daemon, removed when the test ends.
#[derive(Debug)]
pub(crate) struct LoadedImage {
    docker: Docker,
    /// The repository's name, of this test alone.
    pub(crate) repository: String,
}

impl LoadedImage {
    /// Loads an image of `layers`, each of made-up files of so many bytes, as `<unique>:v1`.
    pub(crate) fn new(docker: &Docker, layers: &[usize]) -> Self {
        let repository = unique("img");
        docker.load(&super::image::docker_save(&format!("{repository}:v1"), &repository, layers));
        Self { docker: docker.clone(), repository }
    }

    /// Waits for an image that will be called `<unique>:v1`, to remove it when the test ends.
    pub(crate) fn expected(docker: &Docker) -> Self {
        Self::of(docker, &unique("img"))
    }

    /// The same under a name that another daemon has too.
    pub(crate) fn of(docker: &Docker, repository: &str) -> Self {
        Self { docker: docker.clone(), repository: repository.to_owned() }
    }

    pub(crate) fn name(&self) -> String {
        format!("{}:v1", self.repository)
    }

    pub(crate) fn id(&self) -> String {
        self.docker.id(&self.name()).expect("it was loaded")
    }

    /// Takes the image out of the daemon, layers and all.
    pub(crate) fn remove(&self) {
        self.docker.run(&["image", "rm", "--force", &self.name()]);
        assert_eq!(self.docker.id(&self.name()), None);
    }
}

impl Drop for LoadedImage {
    fn drop(&mut self) {
        let names = self.docker.list(&["--format", "{{.Repository}}:{{.Tag}}"]);
        for name in names.lines().filter(|name| name.contains(&self.repository)) {
            self.docker.try_run(&["image", "rm", "--force", name], &[]);
        }
    }
}
