//! Copies between all places, and what lists and inspects them.

mod all_tags;
mod by_the_store;
mod interrupted;
mod lists;
mod loss;
mod matrix;
mod referrers;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::docker::{Docker, LoadedImage};
use crate::support::image::docker_save;
use crate::support::registry::Registry;
use crate::support::run::{Ran, oci_store, run};
use crate::support::s3::S3;

/// All places of a test: a folder of its own, Docker's registry, an S3 bucket, a daemon.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) registry: Registry,
    s3: S3,
    docker: Docker,
}

impl World {
    /// Starts a registry in a folder of its own. `None` where a service is missing.
    pub(crate) fn new() -> Option<Self> {
        let (docker, s3) = (Docker::get()?, S3::get()?);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let registry = Registry::dockers_on_folder(&folder.path().join("registry"))?;
        Some(Self { folder, registry, s3, docker })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Points a command at all of them.
    pub(crate) fn command(&self) -> Command {
        let mut command = oci_store();
        self.s3.configure(&mut command);
        self.docker.configure(&mut command);
        command.current_dir(self.path()).env("OCI_STORE_PLAIN_HTTP", "1");
        command
    }

    /// Runs a line whose arguments are split at spaces.
    pub(crate) fn run(&self, line: &str) -> Ran {
        run(self.command().args(line.split(' ')))
    }

    /// Runs a line and returns the JSON document that it prints.
    pub(crate) fn json(&self, line: &str) -> serde_json::Value {
        let ran = self.run(&format!("{line} --format json"));
        serde_json::from_str(ran.line()).expect("one document")
    }

    /// Returns a repository of the registry.
    pub(crate) fn registry(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.registry.address)
    }

    /// Returns a repository of the S3 bucket.
    pub(crate) fn bucket(&self, name: &str) -> String {
        format!("s3://{}/{name}", self.s3.bucket)
    }

    /// Writes `image.tar`, an image as `docker save` writes it, and returns its place.
    pub(crate) fn image(&self, layers: &[usize]) -> &'static str {
        let archive = docker_save("app:v1", &self.s3.root, layers);
        std::fs::write(self.path().join("image.tar"), archive).expect("a file can be written");
        "docker-archive:image.tar"
    }

    /// Returns the file of a blob in the folder `bucket`.
    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let root = self.path().join("bucket").join(&self.s3.root);
        root.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }

    /// Has the daemon load a file, and returns what it says. The image goes again.
    pub(crate) fn loaded(&self, file: &str) -> String {
        let path = self.path().join(file).display().to_string();
        let said = self.docker.run(&["load", "--quiet", "--input", &path]);
        let (_, name) = said.split_once(": ").expect("it names the image");
        self.docker.run(&["image", "rm", name]);
        said
    }

    /// Returns a name for an image in the daemon, removed with the result.
    pub(crate) fn daemon_image(&self) -> LoadedImage {
        LoadedImage::expected(&self.docker)
    }
}

/// Returns the digests in an array of objects.
fn digests(array: &serde_json::Value) -> Vec<&str> {
    array.as_array().expect("an array").iter().map(|item| item["digest"].as_str().expect("a digest")).collect()
}
